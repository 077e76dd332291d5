#!/usr/bin/env python3
"""deploy/cluster/compose.yaml agrees with itself, with docs/cluster.md, and with what a node demands of its database.

    python3 tests/interop/compose.py target/release/sokketsu
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/cluster"
SERVERS = ["s0", "s1", "s2"]
NODES = ["a", "b", "c"]


def same(what, one, other):
    if one != other:
        sys.exit(f"{what}:\n  {one}\nis not\n  {other}")


def read(path):
    return (ROOT / path).read_text()


def roles(text):
    """CREATE ROLE and CREATE DATABASE, each with what it is granted."""
    lines = (line.split("--")[0].strip() for line in text.splitlines())
    created = [line for line in lines if line.startswith(("CREATE ROLE", "CREATE DATABASE"))]
    return [re.sub(r"PASSWORD \S+?(?=[ ;])", "PASSWORD", line) for line in created]


def parameters(command):
    same("the program", command[0], "postgres")
    same("the switches", set(command[1::2]), {"-c"})
    return dict(pair.split("=", 1) for pair in command[2::2])


def documented(page):
    """What the page puts into each server's sokketsu.conf, the line for the standbys too."""
    block = re.search(r"```conf\n(.*?)```", page, re.S).group(1)
    found = dict(re.findall(r"^ *(\w+) = '?([^'\n]+)'?$", block, re.M))
    found["synchronous_standby_names"] = re.search(r"echo \"synchronous_standby_names = '([^']+)'\"", page).group(1)
    return found


def demanded():
    """What src/journal/postgres/settings.rs tells people to set, with the values that it takes."""
    product = read("src/journal/postgres/settings.rs").split("#[cfg(test)]")[0]
    found = {name: {value} for name, value in re.findall(r"`(?:ALTER ROLE … SET )?(\w+) = (\w+)`", product)}
    for name in ["synchronous_commit", "client_min_messages"]:
        taken = re.search(rf"matches!\(\s*found\.{name}\.as_str\(\),([^)]*)\)", product).group(1)
        found[name] |= set(re.findall(r'"(\w+)"', taken))
    same("what is demanded", set(found), {"fsync", "full_page_writes", "synchronous_commit", "client_min_messages"})
    return found


def check_servers(services, page):
    pages = documented(page)
    names = re.search(r"SET synchronous_standby_names = '([^']+)'", read("deploy/cluster/roles.sh")).group(1)
    same("who confirms", names, pages.pop("synchronous_standby_names"))
    same("the servers that confirm", re.findall(r"\bs\d\b", names), SERVERS)
    for name in SERVERS:
        found = parameters(services[name]["command"])
        same("the host's name, by which a standby is known", services[name]["hostname"], name)
        for setting, values in demanded().items():
            if found[setting] not in values:
                sys.exit(f"{name}: {setting} is {found[setting]}, and a node takes {sorted(values)}")
        same("TLS", (found.pop("ssl"), found.pop("ssl_cert_file"), found.pop("ssl_key_file")), ("on", "/tls/server.pem", "/tls/server.key"))
        same("the file of who may come", found.pop("hba_file"), "/cluster/pg_hba.conf")
        same(f"the parameters of {name}", found | {"listen_addresses": pages["listen_addresses"]}, pages)
    same("the roles", roles(read("deploy/cluster/roles.sh")), roles(page))
    users = lambda text: re.findall(r"^ *host(?:ssl)? +(\S+ +\S+)", text, re.M)
    normal = lambda text: [" ".join(line.split()) for line in users(text)]
    same("who may come", normal(read("deploy/cluster/pg_hba.conf")), normal(page))


def check_address(name, service, user, password):
    environment = service["environment"]
    url = urlsplit(environment["SOKKETSU_JOURNAL__URL"])
    same(f"{name}'s servers", url.netloc.rsplit("@", 1)[1].split(","), SERVERS)
    same(f"{name}'s role", url.netloc.rsplit("@", 1)[0], f"{user}:{password}")
    same(f"{name}'s database", (url.path, parse_qs(url.query)), ("/sokketsu", {"sslmode": ["verify-full"]}))
    return environment


def check_nodes(services, binary):
    passwords = services["s0"]["environment"]
    check_address("init", services["init"], "sokketsu_owner", passwords["OWNER_PASSWORD"])
    for name in NODES:
        environment = check_address(name, services[name], "svc_sokketsu", passwords["NODE_PASSWORD"])
        same("the node's name", environment["SOKKETSU_JOURNAL__NODE"], name)
        with tempfile.TemporaryDirectory() as data:
            known = {key: value for key, value in os.environ.items() if not key.startswith("SOKKETSU_")}
            command = [binary, "check-config", "--sandbox", "--data", data]
            ran = subprocess.run(command, env=known | environment, capture_output=True, text=True, cwd=data)
        if ran.returncode != 0 or f"by TLS, as {name}" not in ran.stdout:
            sys.exit(f"{name}: {ran.stdout}{ran.stderr}")
    reached = [services[name]["environment"]["SOKKETSU_JOURNAL__ADDRESS"] for name in NODES]
    same("the addresses", reached, [f"http://127.0.0.1:{port}" for port in (8080, 8081, 8082)])
    ports = [services[name]["ports"] for name in NODES]
    same("the ports", ports, [[f"127.0.0.1:{port}:8080"] for port in (8080, 8081, 8082)])


def check_files(compose):
    named = set()
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
            if source.startswith("./"):
                if not (FOLDER / source).exists():
                    sys.exit(f"{name} mounts {source}, which is not there")
            else:
                named.add(source)
        for word in service.get("entrypoint", []) + list(service["command"] if "command" in service else []):
            if "/cluster/" in word and not (FOLDER / word.split("/cluster/")[1]).exists():
                sys.exit(f"{name} uses {word}, which is not there")
        if "build" in service:
            same("the build", (FOLDER / service["build"]["context"]).resolve(), ROOT)
            if not (ROOT / service["build"]["dockerfile"]).exists():
                sys.exit(f"{name} is built from a file that is not there")
        for other in service.get("depends_on", {}):
            if other not in compose["services"]:
                sys.exit(f"{name} waits for {other}, which is not there")
    same("the volumes", named, set(compose["volumes"]))
    for script in FOLDER.glob("*.sh"):
        subprocess.run(["bash", "-n", script], check=True)


def check_certificates():
    with tempfile.TemporaryDirectory() as folder:
        ran = subprocess.run(["bash", FOLDER / "certificates.sh", folder, *SERVERS], capture_output=True, text=True)
        if ran.returncode != 0:
            sys.exit(ran.stderr)
        for name in SERVERS:
            command = ["openssl", "verify", "-CAfile", f"{folder}/clients/ca.pem", "-verify_hostname", name, f"{folder}/{name}/server.pem"]
            ran = subprocess.run(command, capture_output=True, text=True)
            if ran.returncode != 0:
                sys.exit(ran.stdout + ran.stderr)


def main():
    binary = str(Path(sys.argv[1]).resolve())
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    same("the services", set(compose["services"]), {"certificates", "init", *SERVERS, *NODES})
    check_files(compose)
    check_servers(compose["services"], read("docs/cluster.md"))
    check_nodes(compose["services"], binary)
    check_certificates()
    print("the cluster of containers agrees with its page")


main()
