# shellcheck shell=bash
# Shared by demo.sh and test.sh: installs missing Debian/Ubuntu packages, configures and builds.

packages=(g++ cmake ninja-build libfmt-dev nlohmann-json3-dev libcli11-dev libyaml-cpp-dev libstb-dev catch2)

install_missing_packages() {
  if ! command -v dpkg-query >/dev/null; then
    echo "not a Debian or Ubuntu system: make sure the equivalents of these are installed: ${packages[*]}" >&2
    return 0
  fi
  local missing=() package
  for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "qgrad needs these packages, and neither root nor sudo is here to install them: ${missing[*]}" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  echo "installing ${missing[*]}" >&2
  local log
  log=$(mktemp)
  if ! { "${as_root[@]}" apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "could not install: ${missing[*]}" >&2
    exit 1
  fi
  rm -f "$log"
}

# build_preset PRESET TARGET [CMake options]: configures (once) and builds, quietly unless something fails.
build_preset() {
  local preset=$1 target=$2 log
  shift 2
  install_missing_packages
  log=$(mktemp)
  echo "building ($preset)" >&2
  if ! { cmake --preset "$preset" "$@" && cmake --build --preset "$preset" --target "$target"; } >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
  fi
  rm -f "$log"
}
