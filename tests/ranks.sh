#!/usr/bin/env bash
# Trainings and comparisons that several processes share end with the bytes and the numbers of one process, also when a
# process dies. Usage: tests/ranks.sh build/qgrad, of a build with QGRAD_MPI; skipped where there is no mpirun.
set -uo pipefail
qgrad=$(realpath "$1") root=$(realpath "$(dirname "$0")/..")
command -v mpirun >/dev/null || { echo "several processes: skipped, there is no mpirun" >&2; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
passed=0 failed=0
fail() {
  failed=$((failed + 1))
  echo "FAILED: $1" >&2
  tail -n 15 stderr | sed 's/^/    /' >&2
}
pass() { passed=$((passed + 1)); }
# on N ARGUMENTS..: qgrad by so many processes, more than there are cores too.
on() {
  local count=$1
  shift
  mpirun --oversubscribe -np "$count" "$qgrad" "$@" >stdout 2>stderr
}
same() {  # NAME FILE OTHER..
  local name=$1 file=$2
  shift 2
  for other in "$@"; do cmp -s "$file" "$other" || { fail "$name: $other is not $file"; return; }; done
  pass
}
expect_error() {  # NAME TEXT N ARGUMENTS..: said once
  local name=$1 text=$2
  shift 2
  if on "$@"; then fail "$name: exit status 0"; return; fi
  [ "$(grep -c -- "$text" stderr)" -eq 1 ] || { fail "$name: expected '$text' once"; return; }
  pass
}
# Results without what a clock says.
numbers() { grep -vE '"(seconds|images_per_second|simulated_images_per_second|threads|command|config)":' "$1"; }
same_numbers() {  # NAME FOLDER FOLDER
  if [ "$(numbers "$2/results.json" | sed "s/$2/OUT/")" = "$(numbers "$3/results.json" | sed "s/$3/OUT/")" ]; then pass; else fail "$1: other results"; fi
}

cat >qat.json <<JSON
{"name": "t", "data": {"dataset": {"class": "digits"}, "transforms": {"crop_padding": 1}}, "model": {"class": "convnet"},
 "train": {"epochs": 4, "batch_size": 32, "log_steps": 10, "tensorboard": true, "schedule": {"class": "cosine"}},
 "quantizer": {"class": "LSQQuantizer", "bits_activations": 4, "bits_weights": 4}}
JSON
kept="model.safetensors best.safetensors last.safetensors log.jsonl events.out.tfevents.qgrad"
alike() { for file in $kept; do same "$2" "whole/$file" "$1/$file"; done; }

"$qgrad" train qat.json --out whole >stdout 2>stderr || fail "one process"
for count in 2 3; do
  on $count train qat.json --out "r$count" || fail "$count processes"
  alike "r$count" "$count processes"
done
for quantizer in '{"class": "QuantAwareTrainRangeLinearQuantizer", "bits_activations": 4, "bits_weights": 4}' \
  '{"class": "PACTQuantizer", "bits_activations": 3, "bits_weights": 3}' \
  '{"class": "APoTQuantizer", "bits_activations": 3, "bits_weights": 3}' \
  '{"class": "N2UQQuantizer", "bits_activations": 2, "bits_weights": 2}' null; do
  rm -rf one three
  "$qgrad" train qat.json --set train.epochs=1 --set "quantizer=$quantizer" --out one >stdout 2>stderr || fail "$quantizer"
  on 3 train qat.json --set train.epochs=1 --set "quantizer=$quantizer" --out three || fail "$quantizer, three processes"
  for file in $kept; do same "$quantizer" one/$file three/$file; done
done

# Stopped, and killed: a process in the middle of an epoch, and all that is left goes on with another number of them.
stop_in() {  # FOLDER SIGNAL WHOM
  rm -rf "$1"
  # mpirun sends SIGTERM after that many seconds, and SIGKILL after as many more.
  mpirun --oversubscribe --mca odls_base_sigkill_timeout 3 -np 2 "$qgrad" train qat.json --set train.epochs=4000 --out "$1" >stdout 2>stderr &
  local job=$!
  until [ -f "$1/training.safetensors" ] || ! kill -0 $job 2>/dev/null; do sleep 0.05; done
  sleep 0.3
  local first
  first=$(cat "$1/.lock")
  if [ "$3" = job ]; then kill "-$2" $job; else kill "-$2" "$first"; fi
  if wait $job; then fail "$1: exit status 0"; else pass; fi
  for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$first" 2>/dev/null && sleep 0.2; done
  if kill -0 "$first" 2>/dev/null; then fail "$1: a process is left"; else pass; fi
}
stop_in killed 9 one
stop_in stopped TERM job
for state in killed stopped; do
  epochs=$(($(grep -c '"best"' "$state/log.jsonl") + 2))
  cp -r "$state" "$state.one" && cp -r "$state" "$state.three"
  "$qgrad" train --resume "$state.one" --epochs $epochs >stdout 2>stderr || fail "$state, resumed by one"
  on 3 train --resume "$state.three" --epochs $epochs || fail "$state, resumed by three"
  for file in $kept; do same "$state" "$state.one/$file" "$state.three/$file"; done
done

# An error of one process, which has a picture of a batch that is gone, ends all; the state before it is whole.
cat >pictures.json <<JSON
{"name": "p", "data": {"dataset": {"class": "image_folder", "dir": "pictures", "test": 0.25, "size": [8, 8], "memory": 0},
                       "validation": 0}, "model": {"class": "convnet", "classes": 3}, "train": {"epochs": 4000, "batch_size": 32}}
JSON
cp -r "$root/examples/own_images/pictures" pictures
mpirun --oversubscribe -np 2 "$qgrad" train pictures.json --out broken >stdout 2>stderr &
job=$!
until [ -f broken/training.safetensors ] || ! kill -0 $job 2>/dev/null; do sleep 0.05; done
mv pictures/circle elsewhere
if wait $job; then fail "a picture that is gone: exit status 0"; else pass; fi
[ "$(grep -c 'pictures/circle/.*cannot open: No such file' stderr)" -ge 1 ] && pass || fail "a picture that is gone is not named"
mv elsewhere pictures/circle
epochs=$(($(grep -c '"best"' broken/log.jsonl) + 1))
"$qgrad" train --resume broken --epochs $epochs >stdout 2>stderr || fail "after a picture was gone"
"$qgrad" train pictures.json --out unbroken --epochs $epochs >stdout 2>stderr || fail "the same without an error"
same "after an error of one process" unbroken/model.safetensors broken/model.safetensors

# Numbers that blow up do so for all.
sgd() { echo "--set=train.optimizer={\"class\":\"SGD\",\"lr\":$1} --set=quantizer=null --set=train.on_divergence=$2"; }
"$qgrad" train qat.json $(sgd 64 rollback) --out back_alone >stdout 2>stderr || fail "a rollback"
on 2 train qat.json $(sgd 64 rollback) --out back_together || fail "a rollback of two processes"
if grep -q rollback back_alone/log.jsonl; then pass; else fail "nothing was rolled back"; fi
for file in $kept; do same "rolled back" "back_alone/$file" "back_together/$file"; done
expect_error "a training that breaks" "training broke: the loss became .* in epoch 1, step .* the numbers of .* are the first that are not finite" \
  2 train qat.json $(sgd 1e30 stop) --out broke

cat >compare.json <<JSON
{"name": "c", "data": {"dataset": {"class": "digits"}, "test_images": 200}, "model": {"class": "convnet"},
 "train": {"epochs": 2, "batch_size": 32}, "calibration": {"images": 128},
 "quant_aware_train": {"epochs": 1, "batch_size": 32},
 "rows": [{"name": "8/8", "quantizer": {"class": "PostTrainLinearQuantizer", "bits_activations": 8, "bits_weights": 8}},
          {"name": "4/4", "quantizer": {"class": "PostTrainLinearQuantizer", "bits_activations": 4, "bits_weights": 4}},
          {"name": "LSQ", "quantizer": {"class": "LSQQuantizer", "bits_activations": 4, "bits_weights": 4}},
          {"name": "DoReFa", "quantizer": {"class": "DorefaQuantizer", "bits_activations": 4, "bits_weights": 4}}]}
JSON
"$qgrad" compare compare.json --out by_one >stdout 2>stderr || fail "a comparison by one process"
on 3 compare compare.json --out by_three || fail "a comparison by three processes"
same_numbers "a comparison by three processes" by_one by_three
for row in 8-8 LSQ; do same "row $row" "by_one/$row/model.safetensors" "by_three/$row/model.safetensors"; done
sed -e 's/"quant_aware_train": .*/"quant_aware_train": {"epochs": 1, "batch_size": 32},/' -e '/"4\/4"\|"LSQ"/d' compare.json >few.json
"$qgrad" compare few.json --out by_two >stdout 2>stderr || fail "a comparison of fewer rows"
cp by_three/config.json by_two/config.json
on 2 compare --resume by_two || fail "a comparison that two processes resume"
same_numbers "a comparison that two processes resume" by_two by_three

# A process that is stopped, and is not the first, is no reason to give up a row in silence.
sed 's/"epochs": 1, "batch_size": 32},/"epochs": 400, "batch_size": 32},/' compare.json >long.json
mpirun --oversubscribe --mca odls_base_sigkill_timeout 3 -np 3 "$qgrad" compare long.json --out long >stdout 2>stderr &
job=$!
until ls long/*/training.safetensors >/dev/null 2>&1 || ! kill -0 $job 2>/dev/null; do sleep 0.05; done
sleep 1
kill -TERM $job
if wait $job; then fail "a comparison that is stopped: exit status 0"; else pass; fi
if [ -e long/.lock ]; then fail "a comparison that is stopped: a lock is left"; else pass; fi
on 2 compare --resume long || fail "a comparison that was stopped"
"$qgrad" compare long.json --out long_alone >stdout 2>stderr || fail "the same comparison by one process"
same_numbers "a comparison that was stopped" long long_alone

cat >sensitivity.json <<JSON
{"name": "s", "checkpoint": "by_three/float/model.safetensors", "data": {"dataset": {"class": "digits"}},
 "quantizer": {"class": "PostTrainLinearQuantizer", "bits_activations": 4, "bits_weights": 4},
 "calibration": {"images": 64}, "sensitivity": {"bits": [8, 2], "gradient_images": 16}}
JSON
sed 's/"sensitivity": {.*}}/"search": {"bits": {"choices": [2, 4, 8], "mean_weights": 4, "mean_activations": 5}}}/' sensitivity.json >bits.json
for command in sensitivity search; do
  config=$command.json
  [ $command = search ] && config=bits.json
  "$qgrad" $command $config --out "$command.by_one" >stdout 2>stderr || fail "$command by one process"
  on 2 $command $config --out "$command.by_two" || fail "$command by two processes"
  same_numbers "$command by two processes" "$command.by_one" "$command.by_two"
done

# Processes that were not started alike.
apart() {  # NAME TEXT FIRST.. : OTHER..
  local name=$1 text=$2
  shift 2
  local arguments=()
  for word in "$@"; do if [ "$word" = : ]; then arguments+=(: -np 1 "$qgrad"); else arguments+=("$word"); fi; done
  if mpirun --oversubscribe -np 1 "$qgrad" "${arguments[@]}" >stdout 2>stderr; then fail "$name: exit status 0"; return; fi
  if grep -q -- "process 1 does not run what the first one runs: .*$text" stderr; then pass; else fail "$name: expected '$text'"; fi
}
apart "another seed" "config.seed is 7, but was 1" train qat.json --out apart : train qat.json --out apart --seed 7
cp -r pictures mirrored && cp mirrored/circle/05.png mirrored/circle/06.png
apart "other data" "run.data_crc32c.training is" train pictures.json --set data.dataset.memory=9 --epochs 1 --out apart : \
  train pictures.json --set data.dataset.memory=9 --epochs 1 --out apart --data mirrored
apart "other rows" "config.rows is" compare compare.json --out apart : compare few.json --out apart
for command in sensitivity search; do
  config=$command.json
  [ $command = search ] && config=bits.json
  apart "another checkpoint of $command" "config.checkpoint is" $command $config --out apart : \
    $command $config --out apart --set checkpoint=by_one/float/model.safetensors
done

expect_error "a batch that does not divide" "expected a batch_size that is a multiple of 16, got 100" 2 train qat.json --set train.batch_size=100 --out x
expect_error "too many processes" "expected 1 to 16 of them" 17 train qat.json --out x
expect_error "too few examples" "gives each 2 examples, got 16" 9 train qat.json --set train.batch_size=16 --out x
expect_error "a command for one process" "does not share its work: run it without mpirun" 2 evaluate whole/model.safetensors
expect_error "an unknown key" "unknown key" 2 train qat.json --set model.nonsense=1 --out x
expect_error "a folder that is used" "is there already" 2 train qat.json --out whole
if [ -e x ]; then fail "a run that was refused leaves a folder"; else pass; fi

echo "several processes: $passed passed, $failed failed"
[ $failed -eq 0 ]
