#!/usr/bin/env bash
# Runs every fuzz target, or those that are named, for so many seconds each, as many at once as there are processors:
# tests/fuzz/run.sh SECONDS [TARGET..]
# They begin with files made of what is here, and where $QGRAD_ONNX_BACKEND names ONNX's own tests, with these. What finds
# something new stays in build-fuzz/corpus, what fails in build-fuzz/findings.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v clang++ >/dev/null || { echo "fuzzing: skipped, there is no clang++" >&2; exit 0; }
seconds=$1
shift
targets=(config safetensors checkpoint program onnx statistics cifar10 movielens image)
[ $# -eq 0 ] || targets=("$@")

mkdir -p build-fuzz
# The seeds come from an ordinary build, which needs neither clang nor sanitizers.
if ! { cmake --preset release -DQGRAD_TESTS=ON && cmake --build --preset release --target fuzz_seeds &&
  cmake --preset fuzz && cmake --build --preset fuzz --target "${targets[@]/#/fuzz_}"; } >build-fuzz/log 2>&1; then
  cat build-fuzz/log >&2
  exit 1
fi
build/fuzz_seeds build-fuzz/seeds

# One target to its end; says what it did, or where it failed.
fuzz() {
  local target=$1 failed=0
  local corpus=build-fuzz/corpus/$target findings=build-fuzz/findings/$target dictionary=build-fuzz/seeds/$target.dict
  local options=(-max_total_time="$seconds" -max_len=16384 -rss_limit_mb=6000 -timeout=20 -print_final_stats=1
    -artifact_prefix="$findings/")
  mkdir -p "$corpus" "$findings"
  [ ! -f "$dictionary" ] || options+=(-dict="$dictionary")
  build-fuzz/fuzz_"$target" "${options[@]}" "$corpus" "build-fuzz/seeds/$target" >"$findings/log" 2>&1 || {
    failed=1
    echo "FAILED: fuzz_$target" >&2
    tail -n 50 "$findings/log" >&2
  }
  awk -v target="$target" '/ cov: / {edges = $4} /number_of_executed_units/ {runs = $2} /peak_rss/ {memory = $2}
    END {printf "%-12s %10d runs %8d edges %6d MB\n", target, runs, edges, memory}' "$findings/log"
  return $failed
}
export -f fuzz
export seconds
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c 'fuzz {}'
