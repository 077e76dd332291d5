#!/usr/bin/env python3
"""Issues codes from the real binary and lets other people's readers judge them.

    codes.py PATH_TO_SOKKETSU

The barcode's and the QR's pictures are read back by zxing-cpp; the QR's payload is taken apart by
`openssl asn1parse`; the barcode's and the QR's seals are computed again here from the published test keys.
Exit 0 if all agree, 1 if something does not.
"""

import base64
import hashlib
import hmac
import json
import re
import struct
import subprocess
import sys
import tempfile
import urllib.request
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).parent
BARCODE_KEY, QR_KEY = bytes(range(32)), bytes(range(32, 64))
CODES = 5


def call(base, role, method, path, body=None):
    request = urllib.request.Request(base + path, method=method)
    request.add_header("Authorization", f"Bearer sandbox-{role}")
    data = None
    if body is not None:
        request.add_header("Content-Type", "application/json")
        data = json.dumps(body).encode()
    with urllib.request.urlopen(request, data, timeout=10) as answer:
        return answer.read()


def fail(what):
    print(f"FAILED: {what}")
    sys.exit(1)


def check_barcode_seal(code):
    body, seal = code["barcode"][:18], code["barcode"][18:]
    second = int(datetime.fromisoformat(code["issued_at"]).timestamp())
    mac = hmac.new(BARCODE_KEY, b"CPB1" + body.encode() + struct.pack(">Q", second // 600), hashlib.sha256).digest()
    if seal != f"{int.from_bytes(mac[:8], 'big') % 10**6:06d}":
        fail("the barcode's seal is not the reference script's")


def check_qr(code):
    payload = base64.b64decode(code["qr"], validate=True)
    run = subprocess.run(["openssl", "asn1parse", "-inform", "DER"], input=payload, capture_output=True)
    if run.returncode != 0:
        fail(f"openssl cannot read the QR: {run.stderr.decode()}")
    # 85, 61 { 4F 50 5A 63 { 9F36 9F37 9F10 9F26 DF01 } } as openssl names the tags' numbers.
    tags = re.findall(r"(cont|appl|priv)\s*\[\s*(\d+)\s*\]", run.stdout.decode())
    expected = [("cont", "5"), ("appl", "1"), ("appl", "15"), ("appl", "16"), ("appl", "26"), ("appl", "3"),
                ("cont", "54"), ("cont", "55"), ("cont", "16"), ("cont", "38"), ("priv", "1")]
    if tags != expected:
        fail(f"the QR's tags are {tags}")
    start = payload.index(bytes.fromhex("9f3602"))
    end = payload.index(bytes.fromhex("9f2608"))
    pan = payload[payload.index(bytes.fromhex("5a0a")) + 2:][:10].hex()[:19]
    mac = hmac.new(QR_KEY, b"CPQ1" + pan.encode() + payload[start:end], hashlib.sha256).digest()
    if payload[end + 3:end + 11] + payload[end + 14:end + 22] != mac[:16]:
        fail("the QR's seal is not the reference script's")
    if pan[:18] != code["barcode"][:18]:
        fail("barcode and QR do not share a body")


def main():
    binary = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        serve = [binary, "serve", "--sandbox", "--http", "127.0.0.1:0", "--data", f"{folder}/data"]
        server = subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            base = re.search(r"http://\S+", server.stdout.readline()).group()
            cases = []
            for n in range(CODES):
                code = json.loads(call(base, "wallet", "POST", "/v1/codes", {"customer_id": str(2000 + n)}))
                check_barcode_seal(code)
                check_qr(code)
                for kind, text, fmt in (("barcode", code["barcode"], "Code128"), ("qr", code["qr"], "QRCode")):
                    picture = Path(folder) / f"{n}-{kind}.svg"
                    picture.write_bytes(call(base, "wallet", "GET", f"/v1/codes/{code['code_id']}/{kind}.svg"))
                    cases.append({"svg": str(picture), "text": text, "format": fmt})
            (Path(folder) / "cases.json").write_text(json.dumps(cases))
            reader = [sys.executable, str(HERE / "read_pictures.py"), f"{folder}/cases.json"]
            if subprocess.run(reader).returncode != 0:
                fail("a picture does not read as it should")
        finally:
            server.terminate()
            server.wait(10)
    print(f"{CODES} codes, {len(cases)} pictures: all agree")


main()
