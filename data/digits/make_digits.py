#!/usr/bin/env python3
"""Makes digits.bin from the digits.csv.gz that Debian's python3-sklearn ships. The format is in README.md.

usage: make_digits.py [digits.csv.gz]
"""
import gzip
import struct
import sys
import zlib
from pathlib import Path

DEFAULT_SOURCE = "/usr/lib/python3/dist-packages/sklearn/datasets/data/digits.csv.gz"
PIXELS = 64
BITS = 5  # a pixel is 0..16


def record(row):
    """One byte of label, then the pixels as one little-endian number of 64 x 5 bits, the first pixel lowest."""
    pixels, label = row[:PIXELS], row[PIXELS]
    assert all(0 <= p <= 16 for p in pixels) and 0 <= label <= 9
    packed = sum(p << (BITS * i) for i, p in enumerate(pixels))
    return bytes([label]) + packed.to_bytes(PIXELS * BITS // 8, "little")


def main():
    source = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_SOURCE
    with gzip.open(source, "rt") as lines:
        rows = [[int(float(value)) for value in line.split(",")] for line in lines if line.strip()]
    assert all(len(row) == PIXELS + 1 for row in rows)
    records = b"".join(record(row) for row in rows)
    header = b"DIGITS8\n" + struct.pack("<II", len(rows), zlib.crc32(records))
    target = Path(__file__).with_name("digits.bin")
    target.write_bytes(header + records)
    print(f"{target}: {len(rows)} images, {len(header) + len(records)} bytes")


if __name__ == "__main__":
    main()
