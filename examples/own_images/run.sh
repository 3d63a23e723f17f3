#!/usr/bin/env bash
# Pictures of circles, squares and triangles: train, quantize, export, predict.
# Usage: run.sh QGRAD [FOLDER for results, by default this one [further options of the training]]
set -euo pipefail
qgrad=$(realpath "$1")
example=$(realpath "$(dirname "$0")")
cd "${2:-.}"
rm -rf out/shapes out/shapes_8bit
"$qgrad" train "$example/train.json" --data "$example/pictures" "${@:3}"
"$qgrad" quantize "$example/quantize.json" --data "$example/pictures"
"$qgrad" export out/shapes_8bit/model.safetensors --program shapes.qgi --onnx shapes.onnx
"$qgrad" predict shapes.qgi "$example"/pictures/{circle,square,triangle}/00.png
