#!/usr/bin/env bash
# The installed package: two quantizers, a model and a training outside the tree are built against it, trained, saved, loaded,
# described and exported; and the pages of its headers.
# Usage: tests/installed_package.sh BUILD_FOLDER
set -euo pipefail
build=$(realpath "$1")
root=$(realpath "$(dirname "$0")/..")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'echo "installed package: line $LINENO failed" >&2' ERR
cd "$work"

cmake --install "$build" --prefix "$work/installed" >install.log || { cat install.log >&2; exit 1; }
grep -q '^.TH QGRAD' installed/share/man/man1/qgrad.1
for file in bash-completion/completions/qgrad zsh/vendor-completions/_qgrad fish/vendor_completions.d/qgrad.fish; do
  grep -q sensitivity "installed/share/$file"
done
# As a Debian package: it says what it needs, and what is in it runs.
if command -v dpkg-shlibdeps >/dev/null; then
  (cd "$build" && cpack -G DEB -B "$work/deb") >cpack.log 2>&1 || { cat cpack.log >&2; exit 1; }
  dpkg-deb -x deb/qgrad_*.deb unpacked
  dpkg-deb -f deb/qgrad_*.deb Depends >depends.txt
  grep -q libfmt depends.txt
  LD_LIBRARY_PATH=unpacked/usr/lib unpacked/usr/bin/qgrad --version >version.txt
  grep -q "^qgrad " version.txt
fi
{
  cmake -S "$root/examples/custom_quantizer" -B example -DCMAKE_PREFIX_PATH="$work/installed" -DCMAKE_BUILD_TYPE=Release &&
    cmake --build example
} >example.log 2>&1 || { cat example.log >&2; exit 1; }
ternary=example/ternary config=$root/examples/custom_quantizer/digits_ternary.json

"$ternary" list quantizers >listed.txt
grep -q TernaryQuantizer listed.txt
"$ternary" schema train >schema.json  # not through a pipe, which grep -q would close before all is written
grep -q '"threshold"' schema.json
"$ternary" train "$config" --set train.epochs=4 --out trained --json >trained.json 2>/dev/null
"$ternary" evaluate trained/model.safetensors --json >evaluated.json 2>/dev/null
top1() { sed -n 's/.*"top1": \([0-9.]*\).*/\1/p' "$1" | head -n 1; }
[ "$(top1 evaluated.json)" = "$(sed -n '/"test"/,$p' trained.json | top1 /dev/stdin)" ]
awk -v top1="$(top1 evaluated.json)" 'BEGIN { exit !(top1 > 85) }'
"$ternary" inspect trained/model.safetensors >inspected.txt
grep -q TernaryWeight inspected.txt
# It takes part in a schedule, and what it trained is exported.
"$ternary" train "$config" --set train.epochs=4 --set 'train.quantization={"quantize_from": 1, "freeze_ranges_from": 2}' --out scheduled >/dev/null 2>&1
"$ternary" export trained/model.safetensors --program ternary.qgi --onnx ternary.onnx >exported.txt
grep -q ' 16 of 16 images get the class' exported.txt
# The command without the class names it and refuses, and so does a wrong setting.
if installed/bin/qgrad evaluate trained/model.safetensors >/dev/null 2>refused; then false; fi
grep -q TernaryQuantizer refused
if "$ternary" train "$config" --set quantizer.treshold=0.5 --out wrong >/dev/null 2>refused; then false; fi
grep -q "did you mean 'threshold'" refused
# One that quantizes after training: calibrated, compared, searched, and exported, to the bit.
powers=example/powers config=$root/examples/custom_quantizer/digits_powers.json
"$ternary" train "$root/examples/custom_quantizer/digits_ternary.json" --set quantizer=null --set train.epochs=6 \
  --out out/digits_float >/dev/null 2>&1
"$powers" quantize "$config" >powers.txt 2>/dev/null
awk '/^(float|quantized|program)/ { if ($2 < 85) exit 1; rows++ } END { exit rows != 3 }' powers.txt
grep -q '>Scores<' out/digits_powers/report.html
if grep -q '>Layers<' out/digits_powers/report.html; then false; fi  # which it has no errors of
"$powers" export out/digits_powers/model.safetensors --program powers.qgi --onnx powers.onnx >exported.txt
grep -q ': 0 of 160 outputs differ' exported.txt
"$powers" search "$config" --set 'search={"bits": {"choices": [2, 3, 4], "mean_weights": 3.5}}' --out searched >/dev/null 2>&1
"$powers" quantize searched/quantize.json --out found >/dev/null 2>&1
sed 's/"name": "digits_powers"/"name": "rows"/; s/"quantizer": {/"rows": [{"name": "powers", "quantizer": {/; s/^  }$/  }}]/' \
  "$config" >rows.json
"$powers" compare rows.json >rows.txt 2>/dev/null
"$powers" search "$config" --set 'search={"bits": {"choices": [2, 3, 4], "bit_operations": 1.5}}' --out budget >budget.txt 2>/dev/null
grep -qE 'bit operations: (0|1\.[0-4])' budget.txt
for search in greedy lapq; do
  if "$powers" search "$config" --set "search={\"$search\": {}}" --out wrong_search >/dev/null 2>refused; then false; fi
  grep -q PostTrainLinearQuantizer refused
done
if "$powers" quantize "$config" --set quantizer.bits_weights=8 --out wrong_bits >/dev/null 2>refused; then false; fi
grep -q 'expected 2 to 4 bits' refused
[ "$(awk '/^powers/ { print $3 }' rows.txt)" = "$(awk '/^program/ { print $2 }' powers.txt)" ]
# A model of one's own: its layers without an activation before them are quantized, in both ways.
{
  cmake -S "$root/examples/custom_model" -B model -DCMAKE_PREFIX_PATH="$work/installed" -DCMAKE_BUILD_TYPE=Release &&
    cmake --build model
} >model.log 2>&1 || { cat model.log >&2; exit 1; }
bottlenecks=model/bottlenecks config=$root/examples/custom_model/digits.json
"$bottlenecks" train "$config" --set train.epochs=6 >/dev/null 2>&1
"$bottlenecks" quantize "$root/examples/custom_model/digits_post_train.json" >quantized.txt 2>/dev/null
awk '/^(float|quantized|program)/ { if ($2 < 85) exit 1; rows++ } END { exit rows != 3 }' quantized.txt
"$bottlenecks" train "$config" --set train.epochs=2 --out lsq --set checkpoint=out/digits_bottlenecks/model.safetensors \
  --set 'quantizer={"class": "LSQQuantizer", "bits_weights": 4, "bits_activations": 4, "quantized_activations": "inputs"}' \
  >/dev/null 2>lsq.log
if grep -q "left in float" lsq.log; then false; fi
"$bottlenecks" export lsq/model.safetensors --program lsq.qgi --onnx lsq.onnx >/dev/null
# A program that trains by itself.
{
  cmake -S "$root/examples/train_in_cpp" -B train -DCMAKE_PREFIX_PATH="$work/installed" -DCMAKE_BUILD_TYPE=Release &&
    cmake --build train
} >train.log 2>&1 || { cat train.log >&2; exit 1; }
train/train >trained.txt 2>/dev/null
awk '/top1/ { if ($0 !~ /top1 9[0-9]/) exit 1; rows++ } END { exit rows != 3 }' trained.txt
echo '{"data": {"dataset": {"class": "digits"}}}' >digits.json
installed/bin/qgrad evaluate digits.qgi --config digits.json --json >program.json 2>/dev/null
grep -q "program *top1 $(printf %.2f "$(top1 program.json)")" trained.txt
[ -s digits.onnx ]
# The engine's library by itself, from C, shared and static.
installed/bin/qgrad export out/digits_float/model.safetensors --program float.qgi >/dev/null
library=$(dirname "$(find installed -name libqgrad_engine.so)")
[ -e "$library"/libqgrad_engine.so.*.*.* ]
source=$root/examples/run_in_c/classify.c
{ echo P5 8 8 255; head -c 64 /dev/zero; } >black.pgm
cc "$source" -I installed/include -L "$library" -lqgrad_engine -Wl,-rpath,"$library" -o classify
./classify float.qgi black.pgm >shared.txt
grep -qE '^[0-9] -?[0-9.e-]+$' shared.txt
cc "$source" -I installed/include "$library/libqgrad_engine.a" -lstdc++ -lm -lpthread -o classify_static
./classify_static float.qgi black.pgm | cmp - shared.txt
# The same by a CMake project in C, which finds nothing else of qgrad.
mkdir -p in_c
cp "$source" in_c
cat >in_c/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.22)
project(in_c LANGUAGES C)
find_package(qgrad REQUIRED COMPONENTS engine)
foreach(library qgrad_engine qgrad_engine_static)
  add_executable(classify_${library} classify.c)
  target_link_libraries(classify_${library} PRIVATE qgrad::${library})
endforeach()
if(TARGET qgrad::qgrad)
  message(FATAL_ERROR "more than the engine was found")
endif()
END
cmake --install "$build" --prefix "$work/engine" --component engine >>install.log
for prefix in installed engine; do
  cmake -S in_c -B "in_c_$prefix" -DCMAKE_PREFIX_PATH="$work/$prefix" >in_c.log
  cmake --build "in_c_$prefix" >>in_c.log
  for library in qgrad_engine qgrad_engine_static; do
    "in_c_$prefix/classify_$library" float.qgi black.pgm | cmp - shared.txt
  done
done
for component in foo library; do  # unknown, and not in this prefix
  sed "s/COMPONENTS engine/COMPONENTS $component/" in_c/CMakeLists.txt >CMakeLists.txt
  mkdir -p wrong_component && mv CMakeLists.txt wrong_component
  if cmake -S wrong_component -B wrong_build -DCMAKE_PREFIX_PATH="$work/engine" >wrong.log 2>&1; then false; fi
  grep -q "$component" wrong.log
done
# Installed headers are found among folders of a user's own that have the names of qgrad's. (That each stands alone is
# tested in the tree.)
mkdir -p user/core user/data user/nn user/quant user/tasks user/apps user/engine
for header in $(cd installed/include/qgrad && find . -name '*.h' | sort); do
  case $header in
    *vector.h | *tiles.h | */band.h | *_tiled.h) ;;  # of one instruction set
    *) echo "#include <qgrad/${header#./}>" ;;
  esac
done >user/main.cpp
for folder in core data nn quant tasks apps engine; do touch "user/$folder/tensor.h" "user/$folder/module.h"; done
(cd user && c++ -std=c++20 -fsyntax-only -I. -I ../installed/include main.cpp)
# Pages of what the headers say, without a complaint of Doxygen's.
if command -v doxygen >/dev/null; then
  cmake --build "$build" --target qgrad_docs >docs.log 2>&1 || { cat docs.log >&2; exit 1; }
  grep -q "Where a training keeps the state" "$build/docs/html/structqgrad_1_1ResumePoint.html"
else
  echo "skipped: pages of the headers: there is no doxygen" >&2
fi
echo "installed package: custom quantizers and a custom model were built, trained to $(top1 evaluated.json), saved and loaded"
