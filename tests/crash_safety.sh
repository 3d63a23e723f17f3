#!/usr/bin/env bash
# Trainings that are killed at random moments, or whose disk is full at a random write, end with the bytes of one that
# nothing happened to once they are resumed; so do the other commands once they are run again. Usage: tests/crash_safety.sh build/qgrad [KILLS [FULL_DISKS [SEED]]]
set -uo pipefail
qgrad=$(realpath "$1")
kills=${2:-5} full_disks=${3:-5} seed=${4:-1}
work=$(mktemp -d)
disk=$work/disk
cleanup() {
  mountpoint -q "$disk" 2>/dev/null && umount "$disk"
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work" || exit 1
RANDOM=$seed
fail() {  # counted in a file, for limits need a process of their own
  echo "$1" >>"$work/failures"
  echo "FAILED: $1" >&2
  sed 's/^/    /' stderr >&2
}
below() { echo $(((RANDOM * 32768 + RANDOM) % $1)); }

cat >config.json <<JSON
{"name": "t", "data": {"dataset": {"class": "digits"}, "transforms": {"crop_padding": 1}}, "model": {"class": "convnet"},
 "train": {"epochs": 6, "batch_size": 32, "log_steps": 10, "keep_epochs": 2, "tensorboard": true, "schedule": {"class": "cosine"},
           "quantization": {"quantize_from": 1, "bits": [{"until": 2, "at_least": 8}]}},
 "quantizer": {"class": "LSQQuantizer", "bits_activations": 4, "bits_weights": 4}}
JSON
train() { "$qgrad" train config.json --threads 1 --out "$1" >stdout 2>stderr; }
# A run that was ended before it wrote its config has nothing to resume.
resume() {
  if [ -f "$1/config.json" ]; then "$qgrad" train --threads 1 --resume "$1" >stdout 2>stderr; else train "$1"; fi
}
kept="model.safetensors best.safetensors last.safetensors epoch_0005.safetensors epoch_0006.safetensors log.jsonl events.out.tfevents.qgrad"
# ends_alike FOLDER NAME: resumes the run, and compares all that it leaves.
ends_alike() {
  resume "$1" || { fail "$2: can not be resumed"; return; }
  for file in $kept; do cmp -s "whole/$file" "$1/$file" || { fail "$2: another $file"; return; }; done
  if [ "$(ls -A "$1")" != "$(ls -A whole)" ]; then fail "$2: other files: $(ls -A "$1")"; fi
}

start=$(date +%s%N)
train whole || { fail "a training that nothing happens to"; exit 1; }
milliseconds=$((($(date +%s%N) - start) / 1000000))

killed=0 begun=0 parts=0 late=0
while [ $killed -lt "$kills" ]; do
  moment=$(below "$milliseconds")
  "$qgrad" train config.json --threads 1 --out killed >stdout 2>stderr &
  victim=$!
  sleep "$(printf '%d.%03d' $((moment / 1000)) $((moment % 1000)))"
  kill -9 $victim 2>/dev/null
  wait $victim 2>/dev/null
  if [ $? -eq 137 ]; then killed=$((killed + 1)); else late=$((late + 1)); fi
  [ -f killed/training.safetensors ] && [ ! -f killed/results.json ] && begun=$((begun + 1))
  ls killed/*.part >/dev/null 2>&1 && parts=$((parts + 1))
  ends_alike killed "killed after $moment ms"
  rm -rf killed
done
echo "crash safety: $killed killed within $milliseconds ms, $begun had a state, $parts left a part ($late more had ended)"

# A disk of so many KiB, by a file system of its own, or else by a limit of the process on the size of a file.
mkdir disk
if mount -t tmpfs -o size=4k none disk 2>/dev/null; then
  has_disk=1 whole_kib=$(($(du -sk whole | cut -f1) + $(stat -c %s whole/training.safetensors) / 1024))
  with_room() { mount -o "remount,size=${1}k" none disk && "${@:2}"; }
else
  has_disk=0 whole_kib=$(($(stat -c %s whole/training.safetensors) / 1024))
  with_room() { (ulimit -f "$1" && "${@:2}"); }
fi
full=0
for i in $(seq "$full_disks"); do
  kib=$((4 + $(below "$whole_kib")))
  if ! with_room $kib train disk/run; then
    full=$((full + 1))
    grep -qE 'qgrad: (disk/run|.*disk/run.*: .*(write|made))' stderr || fail "a disk of $kib KiB: the error names no file"
    grep -qE 'No space left|File too large' stderr || fail "a disk of $kib KiB: the error gives another reason"
    if ls disk/run/*.part >/dev/null 2>&1; then fail "a disk of $kib KiB: a part is left"; fi
  fi
  with_room 65536 ends_alike disk/run "a disk of $kib KiB"
  rm -rf disk/run
done
echo "crash safety: $full_disks disks of 4 to $((whole_kib + 3)) KiB ($([ $has_disk = 1 ] && echo tmpfs || echo limits)), $full of them too small"

# What goes on by no state, or by one of its own: every command a fifth as often.
"$qgrad" train config.json --set quantizer=null --set train.quantization=null --out float >stdout 2>stderr &&
  "$qgrad" export float/model.safetensors --onnx float.onnx >stdout 2>stderr || { fail "a float network"; exit 1; }
cat >post.json <<JSON
{"name": "t", "data": {"dataset": {"class": "digits"}}, "checkpoint": "float/model.safetensors", "calibration": {"images": 64},
 "quantizer": {"class": "PostTrainLinearQuantizer", "bits_activations": 4, "bits_weights": 4}}
JSON
sed '$s/}$/, "search": {"bits": {"choices": [2, 8], "mean_weights": 4}}}/' post.json >search.json
sed '$s/}$/, "sensitivity": {"bits": [8, 2], "gradient_images": 16}}/' post.json >sensitivity.json
sed '$s/"quantizer": \(.*\)}$/"quant_aware_train": {"epochs": 1}, "rows": [{"name": "q", "quantizer": {"class": "LSQQuantizer"}},\
  {"name": "4", "quantizer": \1}]}/' post.json >compare.json
"$qgrad" quantize post.json --out quantized >stdout 2>stderr || { fail "a quantized network"; exit 1; }
# once COMMAND FOLDER: the files that it makes, in the folder.
once() {
  local command=$1 to=$2
  case $command in
    export) set -- export quantized/model.safetensors --onnx "$to/net.onnx" --program "$to/net.qgi" ;;
    import) set -- import float.onnx --out "$to" ;;
    quantize | calibrate) set -- "$command" post.json --out "$to" ;;
    *) set -- "$command" "$command.json" --out "$to" ;;
  esac
  if [[ $command == [cs]*[ey] ]] && [ -f "$to/config.json" ]; then set -- "$command" --resume "$to"; fi
  "$qgrad" "$@" --threads 1 >stdout 2>stderr
}
# ends COMMAND FOLDER NAME: run again, and compared with an undisturbed one but for what a clock says.
ends() {
  once "$1" "$2" || { fail "$3: can not be run again"; return; }
  (cd "$1.whole" && find . -name '*.safetensors' -o -name '*.onnx' -o -name '*.qgi' -o -name 'quant*.json' -o -name 'layer*.json') |
    while read -r file; do cmp -s "$1.whole/$file" "$2/$file" || echo "$file"; done >others
  [ ! -s others ] || fail "$3: another $(cat others)"
  [ "$(cd "$1.whole" && find . | sort)" = "$(cd "$2" && find . | sort)" ] || fail "$3: other files: $(cd "$2" && find . | sort | tr "\n" " ")"
}
killed=0 full=0
for command in calibrate export import quantize search sensitivity compare; do
  start=$(date +%s%N)
  once $command $command.whole || fail "$command"
  milliseconds=$((($(date +%s%N) - start) / 1000000))
  for i in $(seq $(((kills + 4) / 5))); do
    moment=$(below "$milliseconds")
    mkdir -p broken
    once $command broken 2>/dev/null &
    victim=$!
    sleep "$(printf '%d.%03d' $((moment / 1000)) $((moment % 1000)))"
    if pkill -$((i % 2 ? 15 : 9)) -P $victim; then killed=$((killed + 1)); fi
    wait $victim 2>/dev/null
    ends $command broken "$command killed after $moment ms"
    rm -rf broken
  done
  for i in $(seq $(((full_disks + 4) / 5))); do
    kib=$((4 + $(below "$(du -sk $command.whole | cut -f1)")))
    mkdir -p disk/run
    if ! with_room $kib once $command disk/run; then
      full=$((full + 1))
      grep -qE 'No space left|File too large' stderr || fail "$command on a disk of $kib KiB: the error gives another reason"
      if find disk -name '*.part' | grep -q .; then fail "$command on a disk of $kib KiB: a part is left"; fi
    fi
    with_room 65536 ends $command disk/run "$command on a disk of $kib KiB"
    rm -rf disk/run
  done
done
echo "crash safety: of the other commands $killed killed, $full on disks too small"
if [ $has_disk = 1 ]; then
  mount -o remount,ro none disk
  if train disk/run; then fail "a disk that is read-only"; fi
  grep -q 'qgrad: disk/run: .*Read-only file system' stderr || fail "a disk that is read-only: another error"
fi
echo "crash safety: $(cat failures 2>/dev/null | wc -l) failed"
[ ! -e failures ]
