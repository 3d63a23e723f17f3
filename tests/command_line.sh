#!/usr/bin/env bash
# The qgrad command from the outside: what it prints, writes and returns. Usage: tests/command_line.sh build/qgrad
set -uo pipefail
qgrad=$(realpath "$1")
root=$(realpath "$(dirname "$0")/..")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
passed=0 failed=0 skipped=0

pass() { passed=$((passed + 1)); }
fail() {
  failed=$((failed + 1))
  echo "FAILED: $1" >&2
  sed 's/^/    /' stdout stderr >&2
}
skip() {
  skipped=$((skipped + 1))
  echo "skipped: $1" >&2
}

# expect STATUS NAME COMMAND...: runs the command; stdout and stderr are kept in files of these names.
expect() {
  local status=$1 name=$2 got=0
  shift 2
  "$@" >stdout 2>stderr || got=$?
  if [ "$got" -eq "$status" ]; then pass; else fail "$name: exit status $got, expected $status"; fi
}
# expect_error NAME PATTERN COMMAND...: exit status 1, and the last line of stderr matches.
expect_error() {
  local name=$1 pattern=$2
  shift 2
  expect 1 "$name" "$@"
  if tail -n 1 stderr | grep -qE -- "$pattern"; then pass; else fail "$name: the error does not match '$pattern'"; fi
}
# holds NAME COMMAND...: the command succeeds.
holds() {
  local name=$1
  shift
  if "$@" >>stdout 2>>stderr; then pass; else fail "$name"; fi
}

# has_report FOLDER DRAWINGS: a page with so many drawings that reads nothing else, and its table for other programs.
has_report() {
  local page=$1/report.html
  holds "$page has $2 drawings" [ "$(grep -o '<svg ' "$page" | wc -l)" = "$2" ]
  holds "$page reads nothing else" sh -c '! grep -qE "(src|href)=\"?([a-z]+:)?//|url\(|@import" "$0"' "$page"
  holds "$page weighs less than 2 MB" [ "$(stat -c %s "$page")" -lt 2000000 ]
  holds "$1 has the table as Markdown" grep -q '^| ---' "$1/report.md"
  holds "$1 has the table as CSV" grep -q ',' "$1/report.csv"
}

digits=$root/configs/digits_compare.json
quick=(--set train.epochs=2 --set quant_aware_train.epochs=1)

# In this order: later parts go on with what earlier ones left.
for part in usage configs quantize streams resume data sensitivity own_images folders recommendation bad_files programs cifar10; do
  source "$root/tests/command_line/$part.sh"
done

echo "command line: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
