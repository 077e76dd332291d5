#!/usr/bin/env python3
"""Speaks to the real binary's ISO 8583 link with other people's libraries and tools.

    link.py PATH_TO_SOKKETSU

Messages are written by pyiso8583; answers are read by pyiso8583 and by starkbank-iso8583, which must see the same; the
worked frames of the profile are sent byte for byte. iso8583sim is run as a tool of its own: its client sends a purchase,
its load tester a few thousand requests, in the default dialect and in hexadecimal bitmaps with a TPDU.
Exit 0 if all agree, 1 if something does not.
"""

import base64
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import iso8583
from iso8583.specs import default, default_ascii
from starkbank import iso8583 as stark

SENT, ACQUIRER = "1123084530", "353001"
# The shop of the worked frames is ours under another name.
ENVIRONMENT = {
    "SOKKETSU_ACQUIRER__0__ID": ACQUIRER,
    "SOKKETSU_ACQUIRER__0__MERCHANTS": "*",
    "SOKKETSU_ACQUIRER__0__MAY_REFUND": "true",
    "SOKKETSU_ACQUIRER__0__MERCHANT_IDS": '{ "JPM000000001234" = "mrc_konbini" }',
}
PURCHASE = (
    "00c7303230307238448108e0800431393930303039393939313331343135393236353730303030303030303030303030303139383031313233"
    "303834353330303034323137313734353330313132333534393130333030303036333533303031363332373038303034323137504f53303030"
    "31374a504d3030303030303030313233344b4f4e42494e49205348494e4a554b5520332020202020544f4b594f202020202020202020204a50"
    "333932303234393030303939393931333134313539323635303035363332")
REVERSAL = (
    "00b830343230f23844810ac080000000004000000000313939303030393939393133313431353932363537303030303030303030303030303031"
    "393830313132333038343633303030343231383137343533303131323335343131303330303030363335333030313633323730383030343231"
    "373638504f5330303031374a504d303030303030303031323334333932303230303030343231373131323330383435333030303030303335"
    "333030313030303030303030303030")
ECHO = "0027303830308220000000000000040000000000000031313233303834373030303030303031333031"
SPEC = default


def fail(what):
    print(f"FAILED: {what}")
    sys.exit(1)


def expect(seen, wanted, what):
    if seen != wanted:
        fail(f"{what}: {seen!r} and not {wanted!r}")


class Service:
    def __init__(self, binary, folder, more=()):
        environment = {**os.environ, **ENVIRONMENT, **dict(more)}
        command = [binary, "serve", "--sandbox", "--http", "127.0.0.1:0", "--iso8583", "127.0.0.1:0", "--data", folder,
                   "--sandbox-start", "2026-11-23T17:46:00+09:00"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        self.http = re.search(r"http://\S+", self.process.stdout.readline()).group()
        self.port = int(re.search(r"iso8583://127.0.0.1:(\d+)", self.process.stdout.readline()).group(1))

    def call(self, role, method, path, body=None):
        request = urllib.request.Request(self.http + path, method=method)
        request.add_header("Authorization", f"Bearer sandbox-{role}")
        data = None
        if body is not None:
            request.add_header("Content-Type", "application/json")
            data = json.dumps(body).encode()
        with urllib.request.urlopen(request, data, timeout=10) as answer:
            return json.loads(answer.read())

    def code(self, customer):
        return self.call("wallet", "POST", "/v1/codes", {"customer_id": customer})

    def stop(self):
        self.process.terminate()
        expect(self.process.wait(10), 0, "the end of the service")


class Link:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)

    def exchange(self, frame):
        self.socket.sendall(frame)
        header = self.read(2)
        return self.read(struct.unpack(">H", header)[0])

    def read(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                fail("the link was closed")
            data += piece
        return data

    def ask(self, mti, elements, code):
        """Sends, and reads the answer twice."""
        document = {"t": mti, **{str(number): value for number, value in elements.items()}}
        raw, _ = iso8583.encode(document, SPEC)
        answer = self.exchange(struct.pack(">H", len(raw)) + raw)
        seen = both_read(bytes(answer))
        expect((seen["39"], seen["11"]), (code, elements[11]), f"{mti} {elements[11]}")
        return seen


def both_read(answer):
    """The answer by pyiso8583; starkbank-iso8583 must see the same."""
    seen, _ = iso8583.decode(answer, SPEC)
    other = stark.parse(answer, template=stark.mastercard, encoding="ascii")
    expect(other["MTI"], seen["t"], "the type")
    for number, value in seen.items():
        if number.isdigit() and number != "1":
            # It gives numbers without what fills them up, and text as it stands.
            theirs = str(other[f"DE{int(number):03}"])
            if theirs != value and theirs.strip() != value.strip() and theirs.lstrip("0") != value.lstrip("0"):
                fail(f"element {number}: {value!r} for one, {theirs!r} for the other")
    return seen


def sale(stan, code, yen=1980, **changes):
    elements = {3: "000000", 4: f"{yen:012}", 7: SENT, 11: f"{stan:06}", 12: "174530", 13: "1123", 22: "033",
                32: ACQUIRER, 37: f"632708{stan:06}", 41: "POS00017", 42: "JPM000000001234", 49: "392", 62: code}
    elements.update({int(name[1:]): value for name, value in changes.items()})
    return {number: value for number, value in sorted(elements.items()) if value is not None}


def original(mti, stan):
    return f"{mti}{stan:06}{SENT}{ACQUIRER:0>11}{'':0>11}"


def tok19(barcode):
    body = barcode[:18]
    total = sum(sum(divmod(int(c) * (2 if at % 2 == 0 else 1), 10)) for at, c in enumerate(reversed(body)))
    return body + str(-total % 10)


def order(service, stan):
    key = f"{SENT}{stan:06}{ACQUIRER:0>11}POS00017"
    return service.call("register", "GET", f"/v1/authorizations?merchant_id=mrc_konbini&order_id={key}")


def by_libraries(service):
    link = Link(service.port)
    network = lambda stan, code: {7: SENT, 11: f"{stan:06}", 70: code}
    link.ask("0800", network(1, "001"), "00")
    codes = [service.code(str(2000 + n)) for n in range(8)]
    # By barcode, with the account number beside it; then by QR, whole and in two parts.
    first = sale(2, codes[0]["barcode"], d2=tok19(codes[0]["barcode"]))
    approved = link.ask("0200", first, "00")
    expect(link.ask("0201", first, "00"), approved, "a repeat")
    expect(order(service, 2)["approval_code"], approved["38"], "the approval code over HTTP")
    link.ask("0200", sale(3, codes[1]["qr"]), "00")
    payload = base64.b64decode(codes[2]["qr"])
    template = payload[payload.index(bytes.fromhex("9f3602")):]
    link.ask("0200", sale(4, None, d2=tok19(codes[2]["barcode"]), d55=template.hex().upper()), "00")
    link.ask("0200", sale(5, None, d2=tok19(codes[3]["barcode"])), "14")
    # A hold, its capture, a refund of part of it.
    link.ask("0100", sale(6, codes[4]["barcode"], 3000), "00")
    link.ask("0220", sale(7, None, 2000, d90=original("0100", 6)), "00")
    refund = sale(8, None, 500, d3="200000", d90=original("0100", 6))
    link.ask("0200", refund, "00")
    link.ask("0201", refund, "00")
    told = order(service, 6)
    expect((told["status"], told["captured_amount"], told["refunded_amount"]), ("partially_refunded", 2000, 500), "6")
    # Reversals: of a sale, again, of an unknown one, whose late sale is then denied.
    for mti in ("0420", "0421", "0400", "0401"):
        link.ask(mti, sale(9, None, d39="68", d90=original("0200", 2)), "00")
    expect(order(service, 2)["status"], "cancelled", "2")
    link.ask("0420", sale(10, None, d90=original("0200", 11)), "00")
    late = link.ask("0200", sale(11, codes[5]["barcode"]), "12")
    expect(late["44"][:4], "1201", "the reason of the late one")
    # The same basket, then confirmed under another number.
    link.ask("0200", sale(12, codes[5]["barcode"]), "00")
    twin = service.code("2005")["barcode"]
    link.ask("0200", sale(13, twin), "94")
    link.ask("0200", sale(14, twin, d48="R90011"), "00")
    over = link.ask("0200", sale(15, codes[6]["barcode"], 15001), "51")
    expect(over["44"], "5101C5U4", "over the limit")
    link.ask("0800", network(16, "301"), "00")
    link.ask("0800", network(17, "002"), "00")
    return link


def by_bytes(service):
    """The worked frames; sizes of the answers as the profile's sheet gives them."""
    link = Link(service.port)
    for frame in (PURCHASE, REVERSAL, ECHO):
        raw = bytes.fromhex(frame)
        decoded, _ = iso8583.decode(raw[2:], SPEC)
        again, _ = iso8583.encode(decoded, SPEC)
        expect(bytes(again), raw[2:], "a worked frame written again")
    expect(link.exchange(bytes.fromhex(ECHO)).hex(),
           "3038313082200000020000000400000000000000313132333038343730303030303030313030333031", "0810")
    # Its barcode is days old and no record of ours is beside it: by its digits alone nobody can tell it from a guess.
    denied = link.exchange(bytes.fromhex(PURCHASE))
    expect((len(denied), denied[4:12].hex().upper(), both_read(denied)["39"]), (135, "723800010AD08000", "14"), "0210")
    reversed_ = link.exchange(bytes.fromhex(REVERSAL))
    expect((len(reversed_), both_read(reversed_)["39"]), (165, "00"), "0430")
    code = service.code("2007")["barcode"]
    raw = bytes.fromhex(PURCHASE)[2:].replace(b"900099991314159265005632", code.encode())
    raw = raw.replace(b"9000999913141592657", tok19(code).encode()).replace(b"004217", b"004299")
    approved = link.exchange(struct.pack(">H", len(raw)) + raw)
    expect((len(approved), approved[4:12].hex().upper(), both_read(approved)["39"]), (131, "723800010EC08000", "00"), "0210")


def simulator(*arguments):
    tool = Path(sys.executable).parent / "iso8583sim"
    run = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    if run.returncode != 0:
        fail(f"iso8583sim {arguments[0]}: {run.stdout}{run.stderr}")
    return run.stdout


def by_simulator(service, folder, *dialect):
    fields = {str(number): value for number, value in sale(20, service.code("2006")["barcode"], 700).items()}
    (Path(folder) / "fields.json").write_text(json.dumps(fields))
    built = Path(folder) / "message.txt"
    simulator("build", "--mti", "0200", "--fields", Path(folder) / "fields.json", "--output", built)
    said = simulator("send", "--port", service.port, *dialect, built.read_text().strip())
    if order(service, 20)["decision"] != "approved":
        fail(f"iso8583sim's purchase: {said}")
    said = simulator("load", "--port", service.port, "--count", 3000, "--concurrency", 64, "--connections", 4, *dialect)
    figures = {name: value for name, value in re.findall(r"(Responses|Timeouts|Errors)\s*│\s*([\d,]+)", said)}
    expect(figures, {"Responses": "3,000", "Timeouts": "0", "Errors": "0"}, said)


def main():
    binary = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        service = Service(binary, f"{folder}/one")
        try:
            by_libraries(service)
            by_bytes(service)
            by_simulator(service, folder)
        finally:
            service.stop()
        hex_bitmaps = {"SOKKETSU_ISO8583__HEX_BITMAP": "true", "SOKKETSU_ISO8583__LENGTH": "ascii",
                       "SOKKETSU_ISO8583__TPDU": "true"}
        service = Service(binary, f"{folder}/two", hex_bitmaps.items())
        try:
            by_simulator(service, folder, "--format", "ascii-hex", "--header", "4a", "--tpdu", "6000010000")
            raw, _ = iso8583.encode({"t": "0800", "7": SENT, "11": "000001", "70": "301"}, default_ascii)
            link = Link(service.port)
            link.socket.sendall(b"%04d" % (len(raw) + 5) + bytes.fromhex("6000010203") + raw)
            answer = link.read(int(link.read(4)))
            expect(answer[:5].hex(), "6002030001", "the way back")
            expect(iso8583.decode(answer[5:], default_ascii)[0]["39"], "00", "an echo in hexadecimal")
        finally:
            service.stop()
    print("pyiso8583, starkbank-iso8583 and iso8583sim: all agree")


main()
