#!/usr/bin/env bash
# Exported ONNX files against ONNX Runtime: every integer of every quantized tensor has to be the engine's, and the ONNX
# checker has to accept the file. Usage: tests/onnx/run.sh build/qgrad [images of CIFAR-10, 200 unless given]
# ONNX Runtime is looked for in $QGRAD_ONNXRUNTIME (a folder with node_modules/onnxruntime-node), else installed by npm
# into a temporary folder. What can not be had is skipped with a message.
set -uo pipefail
qgrad=$(realpath "$1")
images=${2:-200}
here=$(realpath "$(dirname "$0")")
root=$here/../..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0

skip() {
  echo "skipped: $1" >&2
  exit 0
}

modules=${QGRAD_ONNXRUNTIME:-}
if [ -z "$modules" ]; then
  command -v npm >/dev/null || skip "no npm to install onnxruntime-node with"
  npm i onnxruntime-node --ignore-scripts >npm.log 2>&1 || skip "onnxruntime-node can not be installed"
  modules=$work
fi
checker=/usr/bin/python3
"$checker" -c 'import onnx' 2>/dev/null || { checker=; echo "skipped: the ONNX checker (python3-onnx)" >&2; }

# run FOLDER: checks model.onnx and compares it with the engine's results beside it.
run() {
  [ -z "$checker" ] || "$checker" -c 'import onnx, sys; onnx.checker.check_model(onnx.load(sys.argv[1]), full_check=True)' \
    "$1/model.onnx" || failed=1
  node "$here/compare.mjs" "$modules" "$1/model.onnx" exact || failed=1
  node "$here/compare.mjs" "$modules" "$1/model.onnx" default || true # may differ, see docs/deployment.md
  rm -rf "$1"
}

# compare COMMAND NAME IMAGES: quantizes, or trains, as NAME.json says, exports, runs.
compare() {
  if ! "$qgrad" "$1" "$2.json" --out "$2" >log 2>&1 ||
    ! "$qgrad" export "$2/model.safetensors" --onnx "$2/model.onnx" --all-tensors --test-data "$3" >log 2>&1; then
    tail -n 1 log
    failed=1
    return
  fi
  run "$2"
}

# quantizers FILE_WITH_EXPERIMENT NAME IMAGES: all widths, modes, and per tensor and per channel.
quantizers() {
  for bits in "8 8" "4 8" "4 4"; do
    for mode in SYMMETRIC ASYMMETRIC_UNSIGNED; do
      for per_channel in false true; do
        set -- "$1" "$2" "$3" ${bits}
        name=$2-W$4A$5-$mode-$([ $per_channel = true ] && echo channel || echo tensor)
        quantizer="{\"class\": \"PostTrainLinearQuantizer\", \"rounding\": \"onnx\", \"mode\": \"$mode\", \"per_channel_wts\": $per_channel"
        sed "s|QUANTIZER|$quantizer, \"bits_weights\": $4, \"bits_activations\": $5}|" "$1" >"$name.json"
        compare quantize "$name" "$3"
      done
    done
  done
}

# The embedded digits, anywhere.
cat >float.json <<'END'
{"name": "float", "data": {"dataset": {"class": "digits"}, "transforms": {"mean": [0.5], "std": [0.5]}},
 "model": {"class": "convnet"}, "train": {"epochs": 2, "optimizer": {"class": "SGD", "lr": 0.05, "momentum": 0.9}}}
END
"$qgrad" train float.json --out float >log 2>&1 || { tail -n 1 log; exit 1; }
"$qgrad" export float/model.safetensors --onnx float/model.onnx --test-data 200 >log 2>&1 || { tail -n 1 log; failed=1; }
node "$here/compare.mjs" "$modules" float/model.onnx default || failed=1
cat >digits.in <<'END'
{"name": "digits", "data": {"dataset": {"class": "digits"}, "transforms": {"mean": [0.5], "std": [0.5]}}, "model": {"class": "convnet"}, "checkpoint": "float/model.safetensors", "calibration": {"images": 200}, "quantizer": QUANTIZER}
END
tr -d '\n' <digits.in >digits.template
quantizers digits.template digits 300

# Trained with quantization: biases of any value, activations of few bits. N2UQ's thresholds are looked up in more of them,
# where a first layer in float would have ties.
for quantizer in LSQ PACT Dorefa WRPN TQT N2UQ QuantAwareTrainRangeLinear; do
  quantized=outputs
  [ $quantizer = N2UQ ] && quantized=inputs
  for bits in 4 2; do
    cat >"$quantizer-$bits.json" <<END
{"name": "trained", "data": {"dataset": {"class": "digits"}, "transforms": {"mean": [0.5], "std": [0.5]}}, "model": {"class": "convnet"}, "checkpoint": "float/model.safetensors",
 "quantizer": {"class": "${quantizer}Quantizer", "bits_weights": $bits, "bits_activations": $bits, "bits_first_last": 8, "quantized_activations": "$quantized"}, "train": {"epochs": 1, "optimizer": {"class": "SGD", "lr": 0.01, "momentum": 0.9}}}
END
    compare train "$quantizer-$bits" 300
  done
done

# ResNet-20 on CIFAR-10, where its data and Distiller's checkpoint are.
data=${QGRAD_DATA:-$root/../shared/cifar-10-batches-bin}
checkpoint=$root/../shared/models/distiller_resnet20_cifar10.safetensors
if [ -d "$data" ] && [ -f "$checkpoint" ]; then
  export QGRAD_DATA=$data
  echo "{\"name\": \"resnet20\", \"data\": {\"dataset\": {\"class\": \"cifar10\"}, \"transforms\": {\"mean\": [0.5], \"std\": [0.5]}, \"test_images\": $images}, \"model\": {\"class\": \"resnet20\"}, \"checkpoint\": \"$checkpoint\", \"calibration\": {\"images\": 256}, \"quantizer\": QUANTIZER}" >resnet.template
  quantizers resnet.template resnet20 "$images"
else
  echo "skipped: ResNet-20, no CIFAR-10 or no checkpoint in ../shared" >&2
fi
# Random nets with weights that are hard to represent, and, on CIFAR-10, one of every layer that has an integer form,
# where the tests are built.
tests=$(dirname "$qgrad")/qgrad_tests
[ -x "$tests" ] && QGRAD_ONNX_FILES=$work/nets "$tests" "[onnx-files]" >log 2>&1
for folder in nets/*; do [ -d "$folder" ] && run "$folder"; done
[ $failed = 0 ] && echo "all integers agree"
exit $failed
