#!/usr/bin/env bash
# Trains a small network on real handwritten digits, quantizes it after training and with quantization in the training,
# and shows the three side by side. Takes a few minutes, most of them for the build.
set -euo pipefail
cd "$(dirname "$0")"
source ./setup.sh
build_preset release qgrad_command -DQGRAD_TESTS=OFF
rm -rf out/digits_compare
./build/qgrad compare configs/digits_compare.json --out out/digits_compare "$@"
