#!/usr/bin/env python3
"""Reads our code pictures with an independent decoder (zxing-cpp).

    read_pictures.py cases.json
    read_pictures.py SVG TEXT FORMAT [SVG TEXT FORMAT ...]

cases.json is [{"svg": PATH, "text": EXPECTED, "format": "Code128" | "QRCode"}, ...], paths
relative to the file. Exit 0 if every picture reads as expected, 1 if one does not, 2 for a wrong
call.

The pictures hold white and black rectangles only: <rect> for the ground and one <path> of
"Mx yhWvHh-Wz" runs, all in whole modules. So they are drawn here, exactly, without an SVG
library; anything else in them is an error. Nothing is added around the picture, so a missing
quiet zone is for the decoder to stumble over.
"""

import json
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import zxingcpp
from PIL import Image, ImageDraw

SVG = "{http://www.w3.org/2000/svg}"
# Pixels for one module: 1 is too coarse for any camera, 4 is a small picture on a good screen.
PIXELS = 4
# White modules that must be left on every side that has a quiet zone.
QUIET = {"Code128": 10, "QRCode": 4}
RUN = re.compile(r"M(\d+) (\d+)h(\d+)v(\d+)h-(\d+)z")
FORMATS = {"Code128": zxingcpp.BarcodeFormat.Code128, "QRCode": zxingcpp.BarcodeFormat.QRCode}


class Mismatch(Exception):
    """A picture that is not what it should be."""


def rectangles(path):
    """The runs of a path as (x, y, width, height) in modules; the whole path must be runs."""
    runs, end = [], 0
    for run in RUN.finditer(path):
        x, y, width, height, back = map(int, run.groups())
        if run.start() != end or width != back:
            raise Mismatch(f"a path that is not made of rectangles, at character {end}")
        runs.append((x, y, width, height))
        end = run.end()
    if end != len(path) or not runs:
        raise Mismatch(f"a path that is not made of rectangles, at character {end}")
    return runs


def render(source, quiet, kind):
    """The picture as a grey bitmap."""
    root = ET.fromstring(source)
    if root.tag != f"{SVG}svg" or root.get("role") != "img" or not root.findtext(f"{SVG}title"):
        raise Mismatch("not an SVG with role and title")
    left, top, width, height = map(int, root.get("viewBox").split())
    if (left, top) != (0, 0):
        raise Mismatch("the viewBox does not start at 0 0")
    image = Image.new("L", (width * PIXELS, height * PIXELS), 128)
    draw = ImageDraw.Draw(image)
    for shape in root:
        if shape.tag == f"{SVG}title":
            continue
        if shape.tag == f"{SVG}rect":
            runs = [(0, 0, int(shape.get("width")), int(shape.get("height")))]
        elif shape.tag == f"{SVG}path":
            runs = rectangles(shape.get("d"))
        else:
            raise Mismatch(f"an unexpected element {shape.tag}")
        shade = {"#fff": 255, "#000": 0}[shape.get("fill")]
        for x, y, w, h in runs:
            draw.rectangle(
                (x * PIXELS, y * PIXELS, (x + w) * PIXELS - 1, (y + h) * PIXELS - 1), fill=shade
            )
            if shade == 0:
                sides = (x, width - x - w) + ((y, height - y - h) if kind == "QRCode" else ())
                if min(sides) < quiet:
                    raise Mismatch(f"black in the quiet zone of {quiet} modules")
    return image


def check(svg, text, kind):
    if kind not in FORMATS:
        raise Mismatch(f"format {kind!r} is not one of {', '.join(FORMATS)}")
    image = render(Path(svg).read_text(encoding="utf-8"), QUIET[kind], kind)
    found = zxingcpp.read_barcodes(image)
    if len(found) != 1:
        raise Mismatch(f"{len(found)} codes found, expected one")
    if found[0].format != FORMATS[kind]:
        raise Mismatch(f"read as {found[0].format}, expected {kind}")
    if found[0].text != text:
        raise Mismatch(f"reads {found[0].text!r}, expected {text!r}")


def cases(arguments):
    if len(arguments) == 1:
        listed = Path(arguments[0])
        for case in json.loads(listed.read_text(encoding="utf-8")):
            yield listed.parent / case["svg"], case["text"], case["format"]
    else:
        yield from zip(arguments[0::3], arguments[1::3], arguments[2::3])


def main():
    arguments = sys.argv[1:]
    if len(arguments) != 1 and (not arguments or len(arguments) % 3):
        print(__doc__, file=sys.stderr)
        return 2
    read, failed = 0, 0
    for svg, text, kind in cases(arguments):
        try:
            check(svg, text, kind)
            read += 1
        except (Mismatch, OSError, ET.ParseError, ValueError, KeyError, AttributeError, TypeError) as problem:
            print(f"{svg}: {problem}", file=sys.stderr)
            failed += 1
    if read + failed == 0:
        print("no pictures were listed", file=sys.stderr)
        return 1
    print(f"{read} pictures read as expected, {failed} not")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
