#!/bin/sh
# Downloads CIFAR-10 (binary version, 170 MB) from its home page into data/cifar-10-batches-bin and checks it.
# An interrupted download goes on where it stopped. QGRAD_CIFAR10_URL names another place to take the archive from.
set -eu

url=${QGRAD_CIFAR10_URL:-https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz}
md5=c32a1d4ab5d03f1284b67883e8d87530
here=$(cd "$(dirname "$0")" && pwd)
folder=$here/cifar-10-batches-bin
archive=$here/cifar-10-binary.tar.gz.part
unpacking=$here/cifar-10.part

fail() {
  printf 'get_cifar10.sh: %s\n' "$*" >&2
  exit 1
}

is_complete() {
  for name in data_batch_1 data_batch_2 data_batch_3 data_batch_4 data_batch_5 test_batch; do
    [ -f "$1/$name.bin" ] && [ "$(wc -c <"$1/$name.bin")" -eq 30730000 ] || return 1
  done
  [ -s "$1/batches.meta.txt" ]
}

md5_of() {
  if command -v md5sum >/dev/null; then
    md5sum "$1" | cut -d ' ' -f 1
  elif command -v md5 >/dev/null; then
    md5 -q "$1"
  else
    fail "needs md5sum (package coreutils) to check the download"
  fi
}

download() {
  if command -v curl >/dev/null; then
    curl --fail --location --continue-at - --output "$archive" "$url"
  elif command -v wget >/dev/null; then
    wget --continue --output-document="$archive" "$url"
  else
    fail "needs curl or wget (Debian and Ubuntu packages of these names)"
  fi
}

if is_complete "$folder"; then
  echo "$folder is there and complete"
  exit 0
fi

# A finished archive that was not unpacked needs no second download.
if ! { [ -f "$archive" ] && [ "$(md5_of "$archive")" = "$md5" ]; }; then
  download || fail "could not download $url; try again to go on where it stopped, or unpack the archive into $here"
fi
got=$(md5_of "$archive")
if [ "$got" != "$md5" ]; then
  rm -f "$archive"
  fail "$url: expected md5 $md5, got $got; the file was removed, so try again"
fi

rm -rf "$unpacking"
mkdir "$unpacking"
tar -xzf "$archive" -C "$unpacking" || fail "could not unpack $archive"
is_complete "$unpacking/cifar-10-batches-bin" || fail "the archive does not hold the six batch files of 30730000 bytes"
mkdir -p "$folder"
mv -f "$unpacking"/cifar-10-batches-bin/* "$folder"
rm -rf "$unpacking" "$archive"
echo "$folder"
