#!/usr/bin/env bash
# Builds qgrad and runs every test: ./test.sh [Catch2 options, e.g. a test name]
set -euo pipefail
cd "$(dirname "$0")"
source ./setup.sh
packages+=(openmpi-bin libopenmpi-dev)
build_preset release all -DQGRAD_TESTS=ON -DQGRAD_MPI=ON -DQGRAD_WERROR="${QGRAD_WERROR:-OFF}"
./build/qgrad_tests "$@"
if [ $# -eq 0 ]; then
  tests/command_line.sh ./build/qgrad
  tests/report_pages.sh ./build/qgrad
  tests/crash_safety.sh ./build/qgrad
  tests/ranks.sh ./build/qgrad
  tests/installed_package.sh build
  tests/wheel.sh build
fi
