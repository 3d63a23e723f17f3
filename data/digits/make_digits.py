#!/usr/bin/env python3
"""Makes digits.bin from the digits.csv.gz that Debian's python3-sklearn ships. The format is in README.md.

usage: make_digits.py [digits.csv.gz]
"""
import gzip
import sys
from pathlib import Path

DEFAULT_SOURCE = "/usr/lib/python3/dist-packages/sklearn/datasets/data/digits.csv.gz"
PIXELS = 64


def record(row):
    """Bytes: the label, then the pixels."""
    pixels, label = row[:PIXELS], row[PIXELS]
    assert len(row) == PIXELS + 1 and all(0 <= p <= 16 for p in pixels) and 0 <= label <= 9
    return bytes([label, *pixels])


def main():
    source = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_SOURCE
    with gzip.open(source, "rt") as lines:
        records = [record([int(float(value)) for value in line.split(",")]) for line in lines if line.strip()]
    target = Path(__file__).with_name("digits.bin")
    target.write_bytes(b"".join(records))
    print(f"{target}: {len(records)} images")


if __name__ == "__main__":
    main()
