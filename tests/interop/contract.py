#!/usr/bin/env python3
"""Reads /openapi.json of the real binary as integrators do.

    contract.py PATH_TO_SOKKETSU PATH_TO_NODE_MODULES

openapi-python-client and openapi-typescript (under a strict tsc) make a client each, and each pays. schemathesis then
sends every call what the schema allows and what it does not, with the key of each role: no answer may be one that the file
does not declare, by status, type of content, headers and body. Exit 0 if all is well, 1 if something is not.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent / "clients"
ROLES = ["wallet", "register", "office", "ops"]
CHECKS = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
          "response_schema_conformance", "unsupported_method", "allow_header_conformance", "ignored_auth"]
# The same cases each time: what is found is found by everybody. 8 s a role here; the limit is for slow machines.
BOUNDS = ["--phases", "examples,coverage,fuzzing", "--max-examples", "8", "--generation-deterministic",
          "--request-timeout", "5", "--continue-on-failure"]
LIMIT = 120


def run(what, command, **more):
    began = time.monotonic()
    done = subprocess.run([str(part) for part in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=LIMIT, **more)
    if done.returncode != 0:
        print(done.stdout)
        print(f"FAILED: {what}")
        sys.exit(1)
    print(f"{what}: {time.monotonic() - began:.1f} s")
    return done.stdout


def python_client(address, file, folder):
    made = folder / "python"
    run("openapi-python-client", [
        sys.executable, "-m", "openapi_python_client", "generate", "--path", file, "--config", HERE / "generate.yml",
        "--output-path", made, "--fail-on-warning"])
    print(run("its payment", [sys.executable, HERE / "pay.py", address], env={"PYTHONPATH": str(made)}).strip())


def typescript_client(address, file, modules, folder):
    made = folder / "typescript"
    made.mkdir()
    (made / "node_modules").symlink_to(modules.resolve())
    for name in ("package.json", "pay.ts"):
        shutil.copy(HERE / name, made)
    tool = made / "node_modules" / ".bin"
    run("openapi-typescript", [tool / "openapi-typescript", file, "--output", made / "api.ts"])
    run("tsc", [tool / "tsc", "--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--target", "es2022",
                "--module", "nodenext", "--lib", "es2022,dom,dom.iterable", "pay.ts"], cwd=made)
    print(run("its payment", ["node", "pay.js", address], cwd=made).strip())


def undeclared(address, role, folder):
    # The module has no `python -m` of its own.
    tool = Path(sys.executable).parent / "schemathesis"
    said = run(f"schemathesis as {role}", [
        tool, "run", f"{address}/openapi.json", "--header", f"Authorization: Bearer sandbox-{role}", "--checks",
        ",".join(CHECKS), *BOUNDS, "--no-color", "--warnings", "off"], cwd=folder)
    cases = re.search(r"(\d+) generated, (\d+) passed", said)
    if cases is None or int(cases.group(1)) < 500 or cases.group(1) != cases.group(2):
        print(said)
        print(f"FAILED: schemathesis as {role} tried too little")
        sys.exit(1)


def main():
    binary, modules = sys.argv[1], Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [binary, "serve", "--sandbox", "--http", "127.0.0.1:0", "--data", str(folder / "data")]
        service = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            address = re.search(r"http://\S+", service.stdout.readline()).group()
            file = folder / "openapi.json"
            file.write_bytes(urllib.request.urlopen(f"{address}/openapi.json", timeout=10).read())
            python_client(address, file, folder)
            typescript_client(address, file, modules, folder)
            # The key that sets the clock comes last.
            for role in ROLES:
                undeclared(address, role, folder)
            if service.poll() is not None:
                print("FAILED: the service has ended")
                sys.exit(1)
        finally:
            service.terminate()
            service.wait(timeout=10)
    print("The OpenAPI file says what the service does.")


main()
