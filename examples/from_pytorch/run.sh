#!/usr/bin/env bash
# A network trained in PyTorch: exported, imported, compared, quantized, compared again.
# Needs Python with torch, onnx and Pillow. Usage: run.sh QGRAD [FOLDER for results, by default this one]
set -euo pipefail
qgrad=$(realpath "$1")
example=$(realpath "$(dirname "$0")")
pictures=$example/../own_images/pictures
python=${PYTHON:-python3}
cd "${2:-.}"
mkdir -p out
"$python" "$example/train.py" "$pictures" out
"$qgrad" import out/net.onnx --out out/net
"$qgrad" export out/net/model.safetensors --config "$example/images.json" --data "$pictures" --program out/float.qgi
"$qgrad" quantize out/net.onnx --images "$pictures" --mean 0.5 --std 0.5 --out out/net8
for program in float.qgi net8/model.qgi; do
  "$qgrad" predict "out/$program" "$pictures"/*/*.png --json >out/predicted.json
  most=0.001
  [ "$program" = float.qgi ] || most=1
  "$python" "$example/compare.py" out/expected.json out/predicted.json "$most"
done
