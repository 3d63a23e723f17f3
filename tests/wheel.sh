#!/usr/bin/env bash
# The wheel of pyproject.toml, of what a build made, in a fresh environment: its command runs, and a C program is built
# against its library. That pip can compile it, too, is left out: it takes as long as the build.
# Usage: tests/wheel.sh BUILD_FOLDER
set -euo pipefail
build=$(realpath "$1")
root=$(realpath "$(dirname "$0")/..")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'echo "wheel: line $LINENO failed" >&2' ERR
cd "$work"

if ! { "${PYTHON:-python3}" -m venv env && env/bin/pip install -q scikit-build-core; } >pip.log 2>&1; then
  echo "skipped: wheel: python3 has no venv here, or pip does not get scikit-build-core" >&2
  exit 0
fi
{
  for component in command engine; do cmake --install "$build" --component $component --prefix "$work/qgrad"; done
  cp "$root"/python/qgrad/*.py qgrad
  env/bin/pip wheel "$root" --no-build-isolation --no-deps -w wheels --config-settings=wheel.cmake=false \
    --config-settings="wheel.packages=$work/qgrad"
  env/bin/pip install wheels/qgrad-*.whl
} >wheel.log 2>&1 || { cat wheel.log >&2; exit 1; }
rm -rf qgrad

env/bin/qgrad --version >version.txt
grep -q "^qgrad $(sed -n 's/^project(qgrad VERSION \([0-9.]*\).*/\1/p' "$root/CMakeLists.txt")" version.txt
[ "$(env/bin/pip show qgrad | sed -n 's/^Version: //p')" = "$(sed -n '1s/^qgrad \([0-9.]*\).*/\1/p' version.txt)" ]
got=0
env/bin/qgrad evaluate nowhere.qgi 2>refused || got=$?
[ $got = 1 ] && grep -q '^qgrad: nowhere.qgi: cannot open' refused  # arguments and status go through
env/bin/qgrad train "$root/examples/custom_quantizer/digits_ternary.json" --set quantizer=null --set train.epochs=1 --out float >/dev/null 2>&1
env/bin/python -m qgrad export float/model.safetensors --program float.qgi >/dev/null
prefix=$(env/bin/python -m qgrad --prefix)
{ echo P5 8 8 255; head -c 64 /dev/zero; } >black.pgm
cc "$root/examples/run_in_c/classify.c" -I "$prefix/include" -L "$prefix/lib" -lqgrad_engine -Wl,-rpath,"$prefix/lib" -o classify
./classify float.qgi black.pgm >scores.txt
grep -qE '^[0-9] -?[0-9.e-]+$' scores.txt
echo "wheel: $(basename wheels/qgrad-*.whl) installs and runs, and so does a C program with its library"
