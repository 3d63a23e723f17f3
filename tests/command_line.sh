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

# --- usage ---
expect 0 "help" "$qgrad" --help
expect 2 "no subcommand" "$qgrad"
expect 2 "unknown subcommand" "$qgrad" trian
holds "names the nearest one" grep -qF "unknown command 'trian' (did you mean 'train'?)" stderr
expect 2 "unknown case of a benchmark" "$qgrad" bench infrence
holds "names the nearest one, too" grep -qF "unknown command 'infrence' (did you mean 'inference'?)" stderr
expect 2 "unknown option" "$qgrad" train --colour x.json
expect 2 "an option with a typing error" "$qgrad" train --thread 2 x.json
holds "names the nearest option" grep -qF "unknown option '--thread' (did you mean '--threads'?)" stderr
holds "an error is red on a terminal, and without NO_COLOR" python3 - "$qgrad" <<'END'
import os, pty, sys
def seen(**more):
    child, terminal = pty.fork()
    if child == 0:
        os.execve(sys.argv[1], [sys.argv[1], "evaluate", "nowhere.qgi"], {**os.environ, **more})
    text = b""
    try:
        while piece := os.read(terminal, 4096):
            text += piece
    except OSError:  # the other end is closed
        pass
    os.waitpid(child, 0)
    return text
os.environ.pop("NO_COLOR", None)
assert b"\033[31mqgrad:\033[0m nowhere.qgi" in seen()
assert b"[31m" not in seen(NO_COLOR="1") and b"qgrad: nowhere.qgi" in seen(NO_COLOR="1")
END
expect 0 "help of a command that takes no config" "$qgrad" predict --help
holds "is without the classes of configs" sh -c '! grep -q LSQQuantizer stdout'
expect 0 "help of training" "$qgrad" train --help
holds "has examples" grep -q '^  qgrad train --resume ' stdout
for command in $("$qgrad" completion fish | sed -n 's/.*use_subcommand -f -a \([a-z-]*\) .*/\1/p'); do
  expect 0 "help of $command, asked for" "$qgrad" help $command
  cp stdout asked_for
  expect 0 "help of $command" "$qgrad" $command --help
  holds "$command: the same help" diff asked_for stdout
  holds "$command: with examples" grep -q "^Examples:" stdout
done
expect 2 "help of a command with a typing error" "$qgrad" help trian
holds "names the nearest command" grep -qF "no command 'trian' (did you mean 'train'?)" stderr
for kind in quantizers models datasets optimizers schedules; do
  expect 0 "list $kind" "$qgrad" list $kind
  holds "each with a line about it" sh -c '! grep -qvE "^[A-Za-z0-9_]+  +[^ ]" stdout'
done
expect 0 "list for programs" "$qgrad" list datasets --json
holds "has both kinds of data" sh -c 'grep -q "\"class\": \"cifar10\"" stdout && grep -q "\"class\": \"movielens\"" stdout'
expect 2 "list of what is not there" "$qgrad" list dogs
expect 0 "version" "$qgrad" --version
holds "with commit, compiler, instruction set and threads" [ "$(grep -cE '^(qgrad [0-9.]+, commit [0-9a-z-]+|compiler: .+|instruction set: [a-z0-9_]+|threads: [0-9]+)$' stdout)" = 4 ]
expect_error "a wrong instruction set, before anything else" "QGRAD_ISA=sse: expected an instruction set" env QGRAD_ISA=sse "$qgrad" evaluate nowhere.safetensors
# completes WORDS...: what bash would offer in place of the last one.
completes() {
  bash -c 'source <("$0" completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _qgrad; echo "${COMPREPLY[@]}"' "$qgrad" "$@"
}
holds "bash completes a command" [ "$(completes qgrad quan)" = quantize ]
holds "and an option" [ "$(completes qgrad train --res)" = --resume ]
holds "and the name of a file" [ "$(touch complete.json; completes qgrad train comp)" = complete.json ]
for shell in zsh fish; do
  if command -v $shell >/dev/null; then
    expect 0 "completion for $shell is a script" sh -c '"$0" completion $1 >completion && $1 -n completion' "$qgrad" $shell
  else
    skip "$shell is not here"
  fi
done
expect 0 "the manual" "$qgrad" man
holds "has every command" [ "$(grep -c '^.SS qgrad [a-z\\-]*$' stdout)" = "$("$qgrad" completion fish | grep -c use_subcommand)" ]
if command -v groff >/dev/null; then holds "without a warning" [ -z "$(groff -man -ww -z stdout 2>&1)" ]; else skip "groff is not here"; fi
# refused_option NAME ARGUMENTS...: wrong usage, said in a line with the option's name.
refused_option() {
  expect 2 "${*:2}" "$qgrad" "${@:2}"
  holds "${*:2}: the message names it" grep -qF -- "$1" stderr
}
for seed in -1 18446744073709551616 1e20 1.5 010 0x10 x; do refused_option --seed train "$root/configs/digits_compare.json" --seed $seed; done
for threads in 0 -1 257 1.5 010 4294967297; do refused_option --threads compare "$root/configs/digits_compare.json" --threads $threads; done
for option in --out --data --set --resume; do
  refused_option $option train $option ''
  refused_option $option train $option //
done
refused_option --config evaluate x.safetensors --config ''
refused_option --onnx export x.safetensors --onnx ''
refused_option --program export x.safetensors --program ''
refused_option CONFIG quantize ''
refused_option --min-time bench inference --min-time nan

# --- schedules of Distiller ---
cat >schedule.yaml <<'YAML'
quantizers:
  weights:
    class: WRPNQuantizer
    bits_weights: 4
    bits_activations: 8
    overrides: {conv1: {bits_weights: ~, bits_activations: ~}}
policies:
  - quantizer: {instance_name: weights}
    ending_epoch: 90
YAML
expect 0 "a schedule of Distiller becomes a config" "$qgrad" convert-distiller schedule.yaml --arch resnet20_cifar --out converted.json
holds "without a word, where nothing is left out" [ ! -s stderr ]
expect 0 "which other commands take" "$qgrad" inspect converted.json --json
holds "with what the schedule says" grep -q '"class": "WRPNQuantizer"' stdout
expect 0 "to stdout" "$qgrad" convert-distiller schedule.yaml --arch resnet20_cifar
holds "the same" diff stdout converted.json
expect 0 "without the network" "$qgrad" convert-distiller schedule.yaml
holds "what is missing is named" [ "$(grep -cE '^(data|model): to be added' stderr)" = 2 ]
sed -i 's/bits_weights: 4/bits_weight: 4/' schedule.yaml
expect_error "a key that Distiller does not have" "schedule.yaml: quantizers.weights.bits_weight: unknown key \(did you mean 'bits_weights'" \
  "$qgrad" convert-distiller schedule.yaml
echo '{conv1: {inputs: {0: &all {min: -1, max: 2, avg_min: -1, avg_max: 2, mean: 0, std: 1, b: 1}}, output: *all}}' >stats.yaml
echo 'a: !foo 4' >tagged.yaml
expect_error "a tag that is not known" "tagged.yaml: line 1: the tag !foo is not known" "$qgrad" convert-distiller tagged.yaml
echo 'c: {<<: {d: 1}}' >tagged.yaml
expect_error "keys that are merged" "tagged.yaml: line 1: merge keys" "$qgrad" convert-distiller tagged.yaml
echo '{quantizers: {q: {class: PostTrainLinearQuantizer, fp16: True}}, policies: [{quantizer: {instance_name: q}}]}' >half.yaml
expect 0 "an older word of Distiller" "$qgrad" convert-distiller half.yaml
holds "has its later one" grep -q '"fpq_module": 16' stdout
cat >falling.yaml <<'YAML'
lr_schedulers: {falling: {class: CosineAnnealingLR, T_max: 90, eta_min: 0.01}}
policies:
  - {lr_scheduler: {instance_name: falling}, starting_epoch: 0, ending_epoch: 90, frequency: 1}
YAML
expect 0 "a learning rate that falls" "$qgrad" convert-distiller falling.yaml
holds "falls with every step, which is said" grep -q "lr_schedulers.falling: falls with every step; Distiller's" stderr
expect_error "what train would refuse" "falling.yaml: lr_schedulers.falling: .*min_factor: expected 0 to 1, got 2" "$qgrad" convert-distiller falling.yaml --lr 0.005
expect_error "a part of nothing" "falling.yaml: lr_schedulers.falling: eta_min is a part of" "$qgrad" convert-distiller falling.yaml --lr 0
rm tagged.yaml half.yaml falling.yaml
expect 0 "statistics of Distiller become a statistics file" "$qgrad" convert-distiller stats.yaml --out stats.json
holds "with the same numbers" grep -q '"avg_max": 2.0' stats.json
rm schedule.yaml stats.yaml converted.json stats.json

# --- schemas ---
expect 0 "schema" "$qgrad" schema train
holds "every quantizer is in the schema" grep -q '"const": "LSQQuantizer"' stdout
holds "with the help of its settings" grep -q '"description": "bits of activations; null: not quantized"' stdout
holds "and every data set, of ratings too" grep -q '"const": "synthetic_ratings"' stdout
expect_error "a command without a config has no schema" "'evaluate' takes no config" "$qgrad" schema evaluate
{ printf '{"$schema": "train.schema.json",'; tail -c +2 "$digits"; } >with_schema.json
expect 0 "a config may name its schema" "$qgrad" inspect with_schema.json

# --- the config's shorter run ---
sed 's|^{|{"quick": {"name": "in_short", "train": {"epochs": 2}, "quant_aware_train": {"epochs": 1}},|' "$digits" >with_quick.json
printf '# Seeds\n<!-- results -->\n<!-- end of results -->\nAfter\n' >seeds.md
expect 0 "quick" "$qgrad" compare with_quick.json --quick --set 'rows=[{"name":"LSQ","quantizer":{"class":"LSQQuantizer","bits_weights":4,"bits_activations":4},"seeds":[1,2],"train":{"epochs":5}}]' --set max_epochs=2 --set document=seeds.md
holds "--quick merges its settings" grep -q '"name": "in_short"' out/in_short/results.json
holds "every seed has a row" grep -q '"name": "LSQ, seed 2"' out/in_short/results.json
holds "and the document has their mean and deviation" grep -qE '^\| LSQ \| 4/4 \| [0-9.]+ ± [0-9.]+ \|' seeds.md
holds "no fine-tuning is longer than max_epochs" [ "$(grep -c '"epoch":' out/in_short/results.json)" = 6 ]
holds "the document's results lie beside it" cmp seeds.json out/in_short/results.json
holds "the document's charts lie beside it" grep -q '^!\[Training: .*\](seeds_training.svg)$' seeds.md
holds "as pictures that stand alone" grep -q '^<svg xmlns="http://www.w3.org/2000/svg"' seeds_training.svg
holds "between its own text" grep -q '^After$' seeds.md
holds "and another training" sh -c '! cmp -s out/in_short/LSQ__seed_1/model.safetensors out/in_short/LSQ__seed_2/model.safetensors'
sed 's|^{|{"quick": 5,|' "$digits" >wrong_quick.json
expect_error "quick that is no object" "wrong_quick.json: quick: expected an object to merge over the config, got 5" "$qgrad" compare wrong_quick.json --quick
expect_error "also where it is not asked for" "wrong_quick.json: quick: expected an object to merge over the config, got 5" "$qgrad" compare wrong_quick.json
sed 's|^{|{"quick": {"data": {"train_imagse": 10}},|' "$digits" >wrong_quick.json
expect_error "a wrong key of quick where it is not asked for" 'wrong_quick.json with "quick": data.train_imagse: unknown key .did you mean' "$qgrad" compare wrong_quick.json
sed 's|^{|{"quick": {"rows": [{"name": "a", "quantizer": {"class": "LSQQuantizer", "bits_weights": 99}}]},|' "$digits" >wrong_quick.json
expect_error "and a wrong setting of its rows" 'wrong_quick.json with "quick": rows\[0\].quantizer.bits_weights: expected 1 to 32, got 99' "$qgrad" compare wrong_quick.json
expect_error "quick without settings" "'quick' is missing" "$qgrad" compare "$digits" --quick
expect_error "an override of a late row that matches nothing is found before the first epoch" "conv9" "$qgrad" compare "$digits" --out late --set 'rows=[{"name":"LSQ","quantizer":{"class":"LSQQuantizer","overrides":{"conv9":{"bits_weights":4}}}}]'
expect_error "and so is a wrong schedule" "no learning-rate schedule 'cosin'" "$qgrad" compare "$digits" --out late --set quant_aware_train.schedule.class=cosin
lsq='"quantizer":{"class":"LSQQuantizer"}' after='"quantizer":{"class":"PostTrainLinearQuantizer"}'
expect_error "and a wrong setting of a row's training, with the row" "rows\[0\].train.epochz: unknown key" "$qgrad" compare "$digits" --out late --set "rows=[{\"name\":\"LSQ\",\"train\":{\"epochz\":1},$lsq}]"
expect_error "and one that is no object" "rows\[0\].train: expected an object, got 5" "$qgrad" compare "$digits" --out late --set "rows=[{\"name\":\"LSQ\",\"train\":5,\"seeds\":[1],$lsq}]"
expect_error "and a wrong setting that no row needs" "quant_aware_train.*epochz: unknown key" "$qgrad" compare "$digits" --out late --set 'quant_aware_train={"epochz":1}' --set "rows=[{\"name\":\"after\",$after}]"
expect_error "and seeds of a row that is not trained" "row 'after': it is not trained" "$qgrad" compare "$digits" --out late --set "rows=[{\"name\":\"after\",\"seeds\":[1,2],$after}]"
expect_error "and two rows of one name" "row 'LSQ': another one has its name" "$qgrad" compare "$digits" --out late --set "rows=[{\"name\":\"LSQ\",\"seeds\":[1],$lsq},{\"name\":\"LSQ\",\"seeds\":[2],$lsq}]"
expect_error "and a teacher that is never asked" "never be asked, from epoch 4 in a training of 4" "$qgrad" compare "$digits" --out late --set 'quant_aware_train={"epochs":4,"distillation":{"teacher":"out/in_short/float/model.safetensors","from_epoch":4}}' --set "rows=[{\"name\":\"LSQ\",$lsq}]"
printf 'no marks\n' >plain.md
expect_error "and a document without a place for results" "plain.md: expected the lines '<!-- results -->'" "$qgrad" compare "$digits" --out late --set document=plain.md
# late_error NAME PATTERN SETTING...: said before anything is trained or written.
late_error() {
  local name=$1 pattern=$2 settings=()
  shift 2
  for setting in "$@"; do settings+=(--set "$setting"); done
  expect_error "$name" "$pattern" "$qgrad" compare "$digits" --out late "${settings[@]}"
}
post='"class":"PostTrainLinearQuantizer","bits_weights":4,"bits_activations":4'
late_error "a wrong override of a post-training row" "rows\[0\].quantizer.overrides.conv9: matches no module" "rows=[{\"name\":\"a\",\"quantizer\":{$post,\"overrides\":{\"conv9\":{\"bits_weights\":8}}}}]"
late_error "a wrong setting of one" "digits_compare.json: rows\[0\].quantizer.overrides.fc.clip_acts: expected one of NONE, .*got \"NONEx\"" "rows=[{\"name\":\"a\",\"quantizer\":{$post,\"overrides\":{\"fc\":{\"clip_acts\":\"NONEx\"}}}}]"
late_error "statistics that are not there" "nowhere.json: cannot open" calibration.statistics=nowhere.json
late_error "a teacher that is not there" "nowhere.safetensors: cannot open" 'quant_aware_train.distillation={"teacher":"nowhere.safetensors"}'
late_error "a checkpoint that is not there" "nowhere.safetensors: cannot open" train=null checkpoint=nowhere.safetensors
late_error "a document that is a folder" "late.md: is a folder" "document=$(mkdir -p late.md && echo late.md)"
late_error "a document below a file" "digits_compare.json is no folder" "document=$digits/late.md"
late_error "a document that is no Markdown" "document: expected the name of a Markdown file.*got \"late.json\"" document=late.json
late_error "a matrix of no quantizer" "digits_compare.json: matrices\[0\].quantizer: expected an object, got 5" 'matrices=[{"title":"t","quantizer":5,"axes":[{"a":{"bits_weights":4}}]}]'
late_error "an axis of no settings" "matrices\[0\].axes\[0\].a: expected an object, got 4" 'matrices=[{"title":"t","quantizer":{"class":"LSQQuantizer"},"axes":[{"a":4}]}]'
late_error "a wrong cell of a matrix" "matrices\[0\] \(a\).bits_weights: expected an integer, got \"4\"" 'matrices=[{"title":"t","quantizer":{"class":"LSQQuantizer"},"axes":[{"a":{"bits_weights":"4"}}]}]'
late_error "a row named as a file" "rows\[0\].name: a row has a folder of its name, and results.json is a file" 'rows=[{"name":"results.json","quantizer":{"class":"LSQQuantizer"}}]'
late_error "a name of several folders" "name: expected a name that can be that of a folder, without slashes; got \"a/b\"" name=a/b
late_error "a name that leads elsewhere" "name: expected a name that can be that of a folder" name=..
late_error "a seed below 0" "seed: expected an integer from 0 to 18446744073709551615, got -1" seed=-1
late_error "a seed of 2^64" "quant_aware_train.seed: expected an integer from 0 to 18446744073709551615, got 1.8446744073709552e\+19" quant_aware_train.seed=18446744073709551616
late_error "a learning rate beyond float" "train.optimizer.lr: expected 0 or a number of size .* to 3.4.*e\+38, got 1e\+39" train.optimizer.lr=1e39
late_error "one that float takes for 0" "train.optimizer.lr: expected 0 or a number of size 1.*e-45 to .*, got 1e-60" train.optimizer.lr=1e-60
holds "no row was trained" [ ! -e late ]

# --- the comparison, in short ---
expect 0 "compare" "$qgrad" compare "$digits" "${quick[@]}" --out compared --json
holds "results on stdout are those in the file" cmp stdout compared/results.json
has_report compared 4  # by bits, by epoch, by size, by speed
expect_error "a second comparison does not overwrite the first" "compared/results.json is there already: go on with --resume compared" "$qgrad" compare "$digits" "${quick[@]}" --out compared
expect 0 "a quantized row's checkpoint evaluates by itself" "$qgrad" evaluate compared/QAT_4-4/model.safetensors --json
cp stdout qat.json
row=$(grep -A 8 '"name": "QAT 4/4"' compared/results.json | grep '"top1"' | sed 's|.*: ||; s|,||')
holds "with the row's accuracy" grep -q "\"top1\": $row" qat.json
expect 0 "a post-training row's checkpoint evaluates by itself" "$qgrad" evaluate compared/post-training_4-4/model.safetensors --json
cp stdout ptq.json
row=$(grep -A 8 '"name": "post-training 4/4"' compared/results.json | grep '"top1"' | sed 's|.*: ||; s|,||')
holds "with the row's accuracy" grep -q "\"top1\": $row" ptq.json
# --- calibration and post-training quantization ---
cat >quantize.json <<'END'
{"name": "quantize", "seed": 1, "data": {"dataset": {"class": "digits"}, "transforms": {"mean": [0.5], "std": [0.5]}},
 "model": {"class": "convnet"}, "checkpoint": "compared/float/model.safetensors", "calibration": {"images": 200},
 "quantizer": {"class": "PostTrainLinearQuantizer", "bits_activations": 4, "bits_weights": 4,
               "mode": "ASYMMETRIC_UNSIGNED", "clip_acts": "MSE", "also_clip_weights": true}}
END
expect 0 "calibrate" "$qgrad" calibrate quantize.json --out calibrated
stats=calibrated/quantization_stats.json
expect_error "calibrate with statistics" "calibration.statistics: statistics are measured here" "$qgrad" calibrate quantize.json --set calibration.statistics=$stats
expect 0 "quantize" "$qgrad" quantize quantize.json --out quantized --json
holds "quantize's results on stdout are those in the file" cmp stdout quantized/results.json
holds "what each layer got is written" grep -q '"clip": "MSE"' quantized/layer_quant_params.json
cp -r quantized halfway && rm halfway/report.json && mkdir halfway/report.json
expect_error "quantize again, and break in the middle" "halfway/report.json: cannot write" "$qgrad" quantize quantize.json --out halfway --set quantizer.bits_weights=3
holds "which leaves no results beside another model" sh -c '! ls halfway/results.json halfway/report.html'
for command in quantize search evaluate import; do
  case $command in
    evaluate) arguments=(compared/float/model.safetensors) ;;
    import) arguments=(net.onnx) ;;
    *) arguments=(quantize.json) ;;
  esac
  [ $command = search ] && arguments+=(--set 'search={"bits": {"mean_weights": 4}}')
  expect_error "$command into the folder of a comparison" "compared/results.json: is there already, and of another command, or an earlier version: choose another folder" "$qgrad" $command "${arguments[@]}" --out compared
  if [ $command = quantize ]; then continue; fi
  expect_error "$command into that of a quantization" "quantized/results.json: is there already, and of .qgrad quantize.: choose another folder" "$qgrad" $command "${arguments[@]}" --out quantized
done
cp compared/float/model.safetensors own.safetensors && mkdir own_net && mv own.safetensors own_net/model.safetensors
expect_error "train into the folder of its checkpoint" "own_net/model.safetensors: is read here, and would be written" "$qgrad" train quantize.json --out own_net --set checkpoint=own_net/model.safetensors --set calibration=null --set quantizer=null --set 'train={"epochs": 1}'
mkdir own_net/float && mv own_net/model.safetensors own_net/float/
expect_error "compare likewise" "own_net/float/model.safetensors: is read here, and would be written" "$qgrad" compare "$digits" --out own_net --set train=null --set checkpoint=own_net/float/model.safetensors
has_report quantized 12  # the layers' noise; four layers with weights, three without
holds "which shows images that are lost" grep -q 'src="data:image/png;base64,' quantized/report.html
holds "and which classes are confused" grep -q '<table class="matrix">' quantized/report.html
holds "what it says beyond the results is written" grep -q '"confusion"' quantized/report.json
holds "the statistics after preparation are written" grep -q '"histogram"' quantized/quant_stats_after_prepare_model.json
expect 0 "a quantized checkpoint evaluates by itself" "$qgrad" evaluate quantized/model.safetensors --json
row=$(grep -A 8 '"quantized"' quantized/results.json | grep '"top1"' | sed 's|.*: ||; s|,||')
holds "with quantize's accuracy" grep -q "\"top1\": $row" stdout
mkdir -p own && cp compared/float/model.safetensors own/
expect_error "quantize in its float model's place" "own/model.safetensors: is read here, and would be written" "$qgrad" quantize quantize.json --out own --set checkpoint=own/model.safetensors
holds "leaves it as it was" cmp compared/float/model.safetensors own/model.safetensors
cp -r quantized reads
expect_error "quantize over the statistics that it reads" "reads/quant_stats_after_prepare_model.json: is read here, and would be written" "$qgrad" quantize quantize.json --out reads --set calibration.statistics=reads/quant_stats_after_prepare_model.json
expect 0 "equalization without statistics" "$qgrad" quantize quantize.json --out dynamic --set calibration=null --set quantizer.rounding=distiller --set quantizer.clip_acts=NONE --set quantizer.cross_layer_equalization=true
expect 0 "overrides that take long to match" timeout 20 "$qgrad" quantize quantize.json --out nested --set 'quantizer.overrides={"(.*.*)*1":{"bits_weights":4}}'
expect 0 "layers in half precision have no bits of weights" "$qgrad" inspect quantize.json --set quantizer.fpq_module=16 --set quantizer.bits_weights=2
holds "in the list" grep -qE 'conv1 +Conv2d +-/' stdout
learned='--set quantizer.reconstruction={"iterations":2}'
flipped='--set data.transforms.crop_padding=1 --set calibration.augmentations=2'
expect_error "augmentations that nothing learns from" "calibration.augmentations: nothing learns from images here" "$qgrad" quantize quantize.json --out no $flipped
expect_error "the same in calibrate" "calibration.augmentations: nothing learns from images here" "$qgrad" calibrate quantize.json --out no $flipped
expect_error "augmentations that are all equal" "calibration.augmentations: data.transforms change nothing at random" "$qgrad" quantize quantize.json --out no $learned --set calibration.augmentations=2
expect_error "more images than are kept" "calibration.augmentations: 200 images and 30 more of each are 6200, expected 4096 at the most" "$qgrad" quantize quantize.json --out no $learned $flipped --set calibration.augmentations=30
expect 0 "reconstruct" "$qgrad" quantize quantize.json --out learned $learned
expect 0 "reconstruct with augmentations" "$qgrad" quantize quantize.json --out learned_more $learned $flipped
holds "which are other images" [ -n "$(cmp learned/model.safetensors learned_more/model.safetensors 2>&1)" ]
expect 0 "quantize with measured statistics" "$qgrad" quantize quantize.json --out again --set calibration.statistics=$stats
holds "gives the same checkpoint" cmp quantized/model.safetensors again/model.safetensors
sed 's|"conv1": {|"conv9": {|' $stats >stale.json
expect_error "statistics of another model" "stale.json: statistics for 'conv9', which the model does not have \(did you mean 'conv1'" "$qgrad" quantize quantize.json --set calibration.statistics=stale.json
sed 's|"histogram": {|"histogramm": {|' $stats >stale.json
expect_error "statistics with an unknown field" "stale.json: .*histogramm: unknown key" "$qgrad" quantize quantize.json --set calibration.statistics=stale.json
expect_error "PERCENTILE without its percentage" "clip_acts PERCENTILE needs clip_percentile" "$qgrad" quantize quantize.json --set quantizer.clip_acts=PERCENTILE
expect_error "bits out of range" "quantizer.bits_weights: expected 1 to 32, got 33" "$qgrad" quantize quantize.json --set quantizer.bits_weights=33

# --- a finished run's numbers again ---
expect 0 "verify a comparison" "$qgrad" verify compared
holds "with its programs" grep -qE '^QAT 4/4, program: top1 +[0-9.]+ +[0-9.]+$' stdout
holds "and what it was made by" grep -qE '^compiler +(GCC|Clang) .*' stdout
holds "of the same data" grep -qE '^data_crc32c: evaluated +([0-9a-f]{8}) +\1$' stdout
holds "in one line too" grep -qE '^compared: all [0-9]+ numbers are those of the run$' stderr
expect 0 "verify a quantized network" "$qgrad" verify quantized --json
holds "for programs" grep -q '"agrees": true' stdout
cp -r quantized other && cp compared/post-training_4-4/model.safetensors other/
expect_error "verify another checkpoint in its place" "^qgrad: other: [1-9][0-9]* of [0-9]+ numbers are not those of the run$" "$qgrad" verify other
holds "says which differ" grep -qE '^quantized: loss +[0-9.]+ +[0-9.]+ +differs$' stdout
printf '\x01' | dd of=other/model.safetensors bs=1 seek=$(($(stat -c %s other/model.safetensors) - 3)) conv=notrunc 2>/dev/null
expect_error "verify a damaged checkpoint" "other: 1 of 1 numbers are not" "$qgrad" verify other
holds "says why" grep -q '^quantized: .*model.safetensors: fc.bias: the file is damaged' stdout
grep -v '"version"\|"compiler"\|"commit"' quantized/results.json | sed 's|"instruction_set": "[^"]*",|"instruction_set": "abacus",|' >other/results.json
cp quantized/model.safetensors other/
expect 0 "verify where another instruction set computed" "$qgrad" verify other
holds "says so" grep -qE '^instruction_set +abacus +[a-z0-9_]+ +differs$' stdout
holds "and what is not recorded" grep -qE '^version +not known +[0-9.]+ +differs$' stdout
expect_error "verify a folder without results" "calibrated/results.json: cannot open" "$qgrad" verify calibrated
echo '{"name": "x", "probes": []}' >calibrated/results.json
expect_error "verify what left no model" "calibrated/results.json: says nothing of a model: expected" "$qgrad" verify calibrated
rm calibrated/results.json

expect 0 "inspect a checkpoint" "$qgrad" inspect compared/QAT_4-4/model.safetensors
expect 0 "inspect a config" "$qgrad" inspect "$digits"

# --- post-training quantization with corrections, and the searches before it ---
cat >post.json <<JSON
{"name": "p", "data": {"dataset": {"class": "digits"}}, "model": {"class": "convnet"},
 "checkpoint": "compared/float/model.safetensors", "calibration": {"images": 64},
 "quantizer": {"class": "PostTrainLinearQuantizer", "bits_activations": 4, "bits_weights": 3, "mode": "ASYMMETRIC_UNSIGNED",
  "cross_layer_equalization": true, "bias_correction": true, "learned_rounding": {"iterations": 20}}}
JSON
expect 0 "quantize with every correction" "$qgrad" quantize post.json --out corrected --json
holds "the report names layers" grep -q '"sqnr_db"' stdout
top1=$(grep -A 2 '"quantized"' stdout | grep '"top1"' | sed 's|.*: ||; s|,||')
expect 0 "its checkpoint evaluates by itself" "$qgrad" evaluate corrected/model.safetensors --json
holds "with the same accuracy" grep -q "\"top1\": $top1" stdout
expect 0 "search with LAPQ" "$qgrad" search post.json --out lapq --set 'search={"lapq": {"search_clipping": true, "max_evaluations": 20, "init_evaluations": 5}}'
has_report lapq 0
expect 0 "its config quantizes" "$qgrad" quantize lapq/quantize.json --out lapq_quantized
expect 0 "greedy search" "$qgrad" search post.json --out greedy --set 'search={"greedy": {"clip_modes": ["NONE", "AVG"]}}'
expect 0 "its config quantizes too" "$qgrad" quantize greedy/quantize.json --out greedy_quantized
expect_error "both searches" "exactly one of 'lapq', 'greedy' and 'bits'" "$qgrad" search post.json --set 'search={"lapq": {}, "greedy": {}}'
expect_error "equalization after statistics" "statistics" "$qgrad" quantize post.json --set calibration.statistics=nowhere.json

# --- the same bits on any number of threads ---
cat >train.json <<JSON
{"name": "t", "data": {"dataset": {"class": "digits"}, "transforms": {"crop_padding": 1}}, "model": {"class": "convnet"},
 "train": {"epochs": 2, "batch_size": 32}, "quantizer": {"class": "QuantAwareTrainRangeLinearQuantizer", "bits_activations": 4, "bits_weights": 4}}
JSON
for threads in 1 2 3; do
  expect 0 "train with $threads threads" "$qgrad" train train.json --threads $threads --out "threads$threads"
done
has_report threads1 11  # score, loss and learning rate; the weights of four layers, three outputs, the images
holds "which lists what was quantized" grep -q 'What was quantized' threads1/report.html
holds "checkpoints of 1 and 2 threads are equal" cmp threads1/model.safetensors threads2/model.safetensors
holds "checkpoints of 1 and 3 threads are equal" cmp threads1/model.safetensors threads3/model.safetensors

# --- the same bits on any instruction set ---
expect_error "an instruction set that is none" "QGRAD_ISA=sse: expected an instruction set that this processor has: scalar" env QGRAD_ISA=sse "$qgrad" bench conv
instruction_sets=$(sed -n 's/.*has: //; s/,//gp' stderr)
for isa in $instruction_sets; do
  expect 0 "train on $isa" env QGRAD_ISA=$isa "$qgrad" train train.json --out $isa
  holds "$isa: the same checkpoint" cmp threads1/model.safetensors $isa/model.safetensors
done

# --- for TensorBoard ---
expect 0 "train for TensorBoard" "$qgrad" train train.json --out board --set train.tensorboard=true --set train.log_steps=10
holds "the same checkpoint" cmp threads1/model.safetensors board/model.safetensors
holds "and its events" [ -s board/events.out.tfevents.qgrad ]
if python3 -c 'import tensorboard' 2>/dev/null; then
  expect 0 "TensorBoard reads the numbers of the log" python3 "$root/tests/read_events.py" board
else
  skip "TensorBoard reads the events: python3 has no module 'tensorboard'"
fi

# --- streams that can not be written, and threads that the system does not give ---
expect 0 "train with stderr on a full disk" bash -c '"$0" train train.json --out full_stderr 2>/dev/full' "$qgrad"
expect 0 "train with a closed stderr" bash -c '"$0" train train.json --out closed_stderr 2>&-' "$qgrad"
expect 0 "train with a stderr that nobody reads" bash -c '"$0" train train.json --out unread_stderr 2> >(true)' "$qgrad"
expect 0 "train with a log that may not grow" bash -c 'ulimit -f 1024; head -c 1048576 /dev/zero >log; "$0" train train.json --out long_log 2>>log' "$qgrad"
for stream in full_stderr closed_stderr unread_stderr long_log; do
  holds "$stream: the same checkpoint" cmp threads1/model.safetensors $stream/model.safetensors
done
expect 1 "train with a full stdout" bash -c '"$0" train train.json --out full_stdout --json >/dev/full' "$qgrad"
holds "says so" grep -q '^qgrad: .*write' stderr
holds "and keeps the model" cmp threads1/model.safetensors full_stdout/model.safetensors
expect 1 "train with a closed stdout" bash -c '"$0" train train.json --out closed_stdout >&-' "$qgrad"
holds "keeps the model too" cmp threads1/model.safetensors closed_stdout/model.safetensors
expect 1 "help with a full stdout" bash -c '"$0" --help >/dev/full' "$qgrad"
expect 1 "an error with a closed stderr" bash -c '"$0" train nowhere.json 2>&-' "$qgrad"
expect 0 "train where there are few threads" bash -c 'ulimit -s 1000000; ulimit -v 5000000; "$0" train train.json --out few_threads --threads 64' "$qgrad"
holds "says how many there are" grep -qE '^threads: [1-5] of 64, the system gives no more$' stderr
holds "and gives the same checkpoint" cmp threads1/model.safetensors few_threads/model.safetensors

# train_and_kill CONFIG FOLDER: kills a training as soon as it has a state to go on from.
train_and_kill() {
  "$qgrad" train "$1" --out "$2" >/dev/null 2>&1 &
  local victim=$!
  until [ -f "$2/training.safetensors" ]; do sleep 0.02; done
  kill -9 $victim
  wait $victim 2>/dev/null
}

# --- killed and resumed ---
sed 's/"epochs": 2/"epochs": 12/' train.json >long.json
expect 0 "train without a stop" "$qgrad" train long.json --out whole
train_and_kill long.json stopped
holds "the killed training left no model" test ! -f stopped/model.safetensors
expect 0 "resume" "$qgrad" train --resume stopped
holds "a killed and resumed training ends with the same bytes" cmp whole/model.safetensors stopped/model.safetensors
expect_error "a new training does not overwrite it" "stopped/results.json is there already" "$qgrad" train long.json --out stopped
mkdir first_epoch && cp stopped/config.json first_epoch/
expect 0 "resume a training that was stopped in its first epoch" "$qgrad" train --resume first_epoch
holds "ends with the same bytes too" cmp whole/model.safetensors first_epoch/model.safetensors
expect 0 "what a training would do" "$qgrad" train long.json --dry-run --out dry
holds "says steps and bits" sh -c 'grep -q "^steps_per_epoch: [0-9]" stdout && grep -qE "^conv2 +Conv2d +4/-/-" stdout'
expect 0 "what a quantization would do" "$qgrad" quantize quantize.json --dry-run --out dry --json
holds "says the layers" grep -q '"path": "conv2"' stdout
expect 0 "what a comparison would do" "$qgrad" compare "$digits" "${quick[@]}" --dry-run --out dry
holds "says rows and epochs" grep -qE '^QAT 4/4 +quant-aware-train +4/4 +1$' stdout
expect 0 "and of which layers" "$qgrad" compare "$digits" --dry-run --out dry --row 'QAT 4/4' --json
holds "says what they get" grep -q '"path": "conv2"' stdout
holds "none of them does anything" [ ! -e dry ]
expect 2 "resume and a config" "$qgrad" train long.json --resume stopped
expect 2 "resume and other settings" "$qgrad" train --resume stopped --set train.epochs=3

# --- stopped by a signal, and resumed ---
# stop_at_step SIGNAL FOLDER: a training that gets the signal once it has written a line of its log.
stop_at_step() {
  env --default-signal=INT "$qgrad" train long.json --set train.log_steps=1 --out "$2" >stdout 2>stderr &
  local victim=$! status=0
  until [ -s "$2/log.jsonl" ]; do sleep 0.01; done
  kill -"$1" $victim
  wait $victim || status=$?
  return $status
}
for signal in INT:130 TERM:143; do
  stop_at_step ${signal%:*} "stopped by $signal"
  holds "a training that gets ${signal%:*} ends with ${signal#*:}" [ $? -eq ${signal#*:} ]
  holds "and says how to go on" grep -qE "^qgrad: stopped after (step|epoch) [0-9]+( of epoch [0-9]+)?; go on with: qgrad train --resume 'stopped by $signal'$" stderr
  expect 0 "as it says" "$qgrad" train --resume "stopped by $signal"
  for file in model best last; do
    holds "$file: the same bytes" cmp {whole,"stopped by $signal"}/$file.safetensors
  done
done
expect 0 "the last checkpoint evaluates" "$qgrad" evaluate whole/last.safetensors
expect 0 "and the best" "$qgrad" evaluate whole/best.safetensors
holds "the log has a line for every epoch" [ "$(grep -c '"validation":' whole/log.jsonl)" = 12 ]
expect 0 "train longer" "$qgrad" train --resume whole --epochs 14 --keep 1
holds "and keep the last epoch" sh -c 'test -f whole/epoch_0014.safetensors && ! test -e whole/epoch_0013.safetensors'
holds "says that schedules change" grep -q "14 epochs in place of 12: schedules are those of 14" stderr
holds "two epochs more" [ "$(grep -c '"validation":' whole/log.jsonl)" = 14 ]
expect_error "not shorter" "14 epochs are finished, which are more than train.epochs, 3" "$qgrad" train --resume whole --epochs 3

# --- rows of a comparison by their names ---
expect 0 "one row" "$qgrad" compare "$digits" "${quick[@]}" --row 'post-training 4/4' --out some
holds "beside the float one" [ "$(grep -c '"kind":' some/results.json)" = 2 ]
expect 0 "and another" "$qgrad" compare --resume some --row 'post-training 3/3' --row 'post-training 2/2'
holds "in their order" python3 -c 'import json; assert [row["bits_weights"] for row in json.load(open("some/results.json"))["rows"]] == [None, 4, 3, 2]'
expect_error "a row that is not there" "no row 'post-training 4/5' \(did you mean 'post-training 4/4'\?\); have: " "$qgrad" compare --resume some --row 'post-training 4/5'

# --- a comparison killed and resumed ---
"$qgrad" compare "$digits" "${quick[@]}" --set quant_aware_train.epochs=8 --out comparison >/dev/null 2>&1 &
victim=$!
until ls comparison/QAT*/training.safetensors >/dev/null 2>&1; do sleep 0.02; done
kill -9 $victim
wait $victim 2>/dev/null
cp -r comparison stopped_early
"$qgrad" compare "$digits" "${quick[@]}" --set quant_aware_train.epochs=8 --out by_signal >stdout 2>stderr &
victim=$!
until ls by_signal/QAT*/log.jsonl >/dev/null 2>&1; do sleep 0.02; done
kill -TERM $victim
wait $victim
holds "a comparison that gets SIGTERM ends with 143" [ $? -eq 143 ]
holds "and says how to go on" grep -q "^qgrad: stopped .*; go on with: qgrad compare --resume by_signal$" stderr
expect 0 "as it says" "$qgrad" compare --resume by_signal
finished=$(stat -c %Y.%i comparison/float/model.safetensors)
expect 0 "resume a comparison" "$qgrad" compare --resume comparison
holds "finished rows are kept" [ "$finished" = "$(stat -c %Y.%i comparison/float/model.safetensors)" ]
expect 0 "compare without a stop" "$qgrad" compare "$digits" "${quick[@]}" --set quant_aware_train.epochs=8 --out without_stop
for row in QAT_4-4 QAT_2-2; do
  holds "$row of the killed and resumed comparison has the same bytes" cmp {comparison,without_stop}/$row/model.safetensors
  holds "$row of the one stopped by a signal, too" cmp {by_signal,without_stop}/$row/model.safetensors
done
sed 's/"lr": 0.[0-9]*/"lr": 0.5/' comparison/config.json >changed.json
cp -r comparison changed && mv changed.json changed/config.json
expect_error "resume with other settings" "config.json: train is .*what is there was made with" "$qgrad" compare --resume changed
sed 's|"QAT 2/2"|"QAT 2/2 anew"|' comparison/config.json >changed/config.json
expect_error "resume without a row that is finished" "row 'QAT 2/2' is finished, but is not there any more" "$qgrad" compare --resume changed
holds "which loses nothing" cmp {comparison,changed}/results.json
sed '/"name": "QAT 4.4"/,/}/ s|"bits_weights": 4|"bits_weights": 5|' comparison/config.json >stopped_early/config.json
expect_error "resume with another row, begun" "quantizer of row 'QAT 4/4' is .*what is there was made with" "$qgrad" compare --resume stopped_early
sed '/"name": "QAT 2.2"/,/}/ s|"bits_weights": 2|"bits_weights": 5|' comparison/config.json >stopped_early/config.json
expect 0 "resume with another row, not begun" "$qgrad" compare --resume stopped_early
holds "that row is the new one" grep -q '"bits_weights": 5' stopped_early/results.json
holds "and the command that began it" grep -q '"command": "qgrad compare .*quant_aware_train.epochs=8"' comparison/results.json
rm comparison/report.html
expect 0 "resume a finished comparison" "$qgrad" compare --resume comparison
holds "and its report is there" test -s comparison/report.html
holds "rows of one program have one record of what made them" python3 -c 'import json; r = json.load(open("comparison/results.json")); assert all("run" not in row for row in r["rows"]), r'
sed -i 's|"compiler": "[^"]*"|"compiler": "abacus"|' comparison/results.json
expect 0 "resume what another program began" "$qgrad" compare --resume comparison
holds "whose rows say so" python3 -c 'import json; r = json.load(open("comparison/results.json")); assert all(row["run"]["compiler"] == "abacus" != r["run"]["compiler"] for row in r["rows"]), r'
expect 0 "verify them" "$qgrad" verify comparison
holds "shows what made them" grep -qE '^compiler +abacus +(GCC|Clang) .* differs$' stdout
expect_error "a row that diverges" "row 'QAT 2/2': training broke: the loss became nan in epoch 1" "$qgrad" compare "$digits" "${quick[@]}" --out diverged --set 'rows=[{"name": "QAT 2/2", "quantizer": {"class": "LSQQuantizer"}, "train": {"optimizer": {"class": "SGD", "lr": 1e30}}}]'
cat >by_checkpoint.json <<JSON
{"name": "c", "data": {"dataset": {"class": "digits"}, "test_images": 200}, "checkpoint": "start.safetensors", "model": {"class": "convnet"},
 "calibration": {"images": 64}, "rows": [{"name": "8/8", "quantizer": {"class": "PostTrainLinearQuantizer"}}]}
JSON
cp without_stop/float/model.safetensors start.safetensors
expect 0 "compare from a checkpoint" "$qgrad" compare by_checkpoint.json --out from_start
cp by_signal/QAT_4-4/model.safetensors start.safetensors
expect_error "resume from another checkpoint of that name" "what is there was made with others: files_crc32c.start.safetensors is" "$qgrad" compare --resume from_start
expect_error "resume from nowhere" "nowhere/config.json: cannot open" "$qgrad" train --resume nowhere

# --- data and network: what was trained is what is used ---
red=iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4paEBAANqAUvLxAaxAAAAAElFTkSuQmCC
blue=iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGPQ0PgFAAHGAUtB6jsDAAAAAElFTkSuQmCC
# pictures FOLDER RED BLUE: a data set of red and of blue pictures, six and three of each, in folders of these names.
pictures() {
  local part i
  for part in train test; do
    mkdir -p "$1/$part/$2" "$1/$part/$3"
    for i in 1 2 3 4 5 6; do
      if [ $part = test ] && [ $i -gt 3 ]; then break; fi
      base64 -d <<<$red >"$1/$part/$2/$i.png"
      base64 -d <<<$blue >"$1/$part/$3/$i.png"
    done
  done
}
pictures fruit cherry plum
pictures berries currant blueberry
cat >fruit.json <<JSON
{"name": "fruit", "data": {"dataset": {"class": "image_folder", "dir": "berries", "size": [8, 8]}, "transforms": {"mean": [0.4]}, "validation": 0},
 "model": {"class": "convnet", "classes": 2, "channels": 3, "width": 4}, "train": {"epochs": 4, "batch_size": 4}}
JSON
expect 0 "train with --data" "$qgrad" train fruit.json --data fruit --out fruit_net
net=fruit_net/model.safetensors
expect 0 "its checkpoint evaluates on these data" "$qgrad" evaluate $net --json
holds "as it says" grep -q '"dir": "fruit"' stdout
holds "also on stderr" grep -q '^data: .*"dir":"fruit"' stderr
expect 0 "verify it" "$qgrad" verify fruit_net
cp -r fruit fruit_bowl && base64 -d <<<$blue >fruit_bowl/test/cherry/1.png
expect 1 "verify it on data with a picture that changed" "$qgrad" verify fruit_net --data fruit_bowl
holds "says that they are others" grep -qE '^data_crc32c: evaluated .* differs$' stdout
holds "but for the training's" grep -qE '^data_crc32c: training +([0-9a-f]{8}) +\1$' stdout
mv fruit fruit_kept && mv fruit_bowl fruit
expect_error "train longer on them" "training.safetensors: was made with another config.*: data_crc32c.evaluated is \"[0-9a-f]{8}\", but was" "$qgrad" train --resume fruit_net --epochs 5
mv fruit fruit_bowl && mv fruit_kept fruit
expect 0 "train on images that are decoded for every batch" "$qgrad" train fruit.json --data fruit --set data.dataset.memory=0 --out fruit_stream
expect 0 "train longer on them" "$qgrad" train --resume fruit_stream --epochs 5
cp fruit/train/cherry/1.png kept.png && base64 -d <<<$blue >fruit/train/cherry/1.png
expect_error "but not where one of the training's has changed" "data_crc32c.training is \"[0-9a-f]{8}\", but was" "$qgrad" train --resume fruit_stream --epochs 6
mv kept.png fruit/train/cherry/1.png
sed -i 's|^  "run": {|  "ran": {|' fruit_net/results.json
expect 0 "verify results that do not say what made them" "$qgrad" verify fruit_net
holds "says that nobody knows" grep -qE '^data_crc32c: evaluated +not known' stdout
expect 0 "export without the data set" sh -c 'mv fruit away && "$0" export '$net' --program fruit.qgi; status=$?; mv away fruit; exit $status' "$qgrad"
expect 0 "predict with it" "$qgrad" predict fruit.qgi fruit/test/cherry/1.png
holds "the names are those of the training" grep -qE '(cherry|plum)' stdout
holds "not those of the config's folder" sh -c '! grep -qE "(currant|blueberry)" stdout'
residual=(--data fruit --set 'model={"class": "resnet20", "classes": 2}' --set data.dataset.size=32 --set data.transforms.crop_padding=4)
for isa in $instruction_sets; do
  expect 0 "train a ResNet on $isa" env QGRAD_ISA=$isa "$qgrad" train fruit.json "${residual[@]}" --out ${isa}_resnet
  holds "$isa: the same ResNet" cmp scalar_resnet/model.safetensors ${isa}_resnet/model.safetensors
done
touch taken
expect_error "a folder for results that is a file, before anything is evaluated" "taken: can not be made" "$qgrad" evaluate $net --out taken
holds "which says nothing of images" sh -c '! grep -q "data:" stderr'
expect_error "evaluate on other classes" "classes of image_folder in berries \(--data\) are blueberry, currant, those of $net are cherry, plum" "$qgrad" evaluate $net --data berries
expect_error "export with other classes" "classes of .* are blueberry, currant, those of $net are cherry, plum" "$qgrad" export $net --data berries --program berries.qgi
holds "writes no program" [ ! -e berries.qgi ]
expect_error "start from a checkpoint of other classes" "those of $net are cherry, plum" "$qgrad" train fruit.json --set checkpoint=$net --out x
expect_error "a program and other classes" "those of fruit.qgi are cherry, plum" "$qgrad" evaluate fruit.qgi --config fruit.json
expect_error "a program and images of as many numbers" "images of .* are 4x16x3 .*, those of fruit.qgi are 8x8x3" "$qgrad" evaluate fruit.qgi --config fruit.json --data fruit --set 'data.dataset.size=[4,16]'
expect_error "a checkpoint and a config of another model" "fruit.json: model.width: is 8, but $net was saved with 4" "$qgrad" evaluate $net --config fruit.json --data fruit --set model.width=8
cat >fruit8.json <<JSON
{"name": "fruit8", "data": {"dataset": {"class": "image_folder", "dir": "fruit", "size": [8, 8]}, "validation": 0},
 "model": {"class": "convnet", "classes": 2, "channels": 3, "width": 4}, "checkpoint": "$net",
 "quantizer": {"class": "PostTrainLinearQuantizer"}}
JSON
expect 0 "quantize by defaults, on few images" "$qgrad" quantize fruit8.json --out fruit8
holds "says that they are all" grep -q 'calibration: all training images, 12, which are fewer than 512' stderr
holds "and takes the checkpoint's normalisation" grep -q '"mean": \[0.4,0.4,0.4\]' fruit8/config.json
expect_error "quantize with another one" "the mean of image_folder in fruit \(fruit8.json\) is 0.5, 0.5, 0.5, that of $net is 0.4, 0.4, 0.4" "$qgrad" quantize fruit8.json --out x --set 'data.transforms.mean=[0.5]'
expect_error "more calibration images than there are" "fruit8.json: calibration.images: 13 images were asked for, but there are 12 to train on" "$qgrad" quantize fruit8.json --out x --set calibration.images=13
expect_error "from an image on" "calibration.images: 5 images were asked for, but there are 4 from image 8 on" "$qgrad" calibrate fruit8.json --out x --set 'calibration={"images": 5, "first_image": 8}'
sed 's/"quantizer"/"rows": [{"name": "8", "quantizer"/; s/Quantizer"}}/Quantizer"}}], "calibration": {"images": 13}}/' fruit8.json >fruit_compare.json
expect_error "a comparison with more of them" "fruit_compare.json: calibration.images: 13 images were asked for" "$qgrad" compare fruit_compare.json --out x --set checkpoint=null --set 'train={"epochs": 1}'
holds "none of them leaves a folder" [ ! -e x ]
expect 0 "train by defaults, on few images" "$qgrad" train fruit.json --data fruit --out few --set train.batch_size=null --set data.validation=null
holds "says that batches are smaller" grep -q 'training: batches of all 11 training examples, which are fewer than 128' stderr
expect_error "a share of the images that is none" "fruit.json: data.validation: 0.01 of 12 images is none" "$qgrad" train fruit.json --data fruit --out x --set data.validation=0.01
cp -r fruit renamed && mv renamed/train/{cherry,zucchini} && mv renamed/test/{cherry,zucchini}
expect_error "a class that was renamed, and is another one in the order now" "classes of .* are plum, zucchini, those of $net are cherry, plum: only the first has zucchini, only the second has cherry" "$qgrad" evaluate $net --data renamed
cp -r fruit partly && rm -r partly/test/plum && mkdir partly/train/plum/deeper && cp partly/train/plum/1.png partly/train/plum/deeper/ && cp partly/train/plum/1.png partly/train/plum/1.webp
expect 0 "a test set without a class" "$qgrad" evaluate $net --data partly
holds "says so" grep -q "image_folder: partly/test: no folder for class 'plum'" stderr
holds "and which files are left out" grep -q "image_folder: partly/train: 2 files are left out.*: plum/1.webp, plum/deeper/1.png" stderr
mv fruit gone
expect_error "data that are gone" "image_folder: no folder" "$qgrad" evaluate $net
holds "are said to be" grep -q "$net: the folder of its data, fruit, is not there" stderr
mv gone fruit
for size in 48 32; do
  sed "s/\[8, 8\]/[$size, $size]/; s/\"model\": {[^}]*}/\"model\": {\"class\": \"vgg11\", \"classes\": 2}/; s/\"epochs\": 4/\"epochs\": 1/" fruit.json >fruit$size.json
done
expect 0 "train on larger images than the architecture's own" "$qgrad" train fruit48.json --data fruit --out large
expect 0 "inspect its checkpoint" "$qgrad" inspect large/model.safetensors --json
holds "of that size" grep -q '"output_shape": \[1,48,48,64\]' stdout
expect 0 "inspect its config" "$qgrad" inspect fruit48.json --json
holds "of that size too" grep -q '"output_shape": \[1,48,48,64\]' stdout
expect 0 "its program" "$qgrad" export large/model.safetensors --program large.qgi
expect 0 "evaluates on its data" "$qgrad" evaluate large.qgi --config fruit48.json --data fruit
expect_error "and on no others" "images of .* are 32x32x3 .*, those of large.qgi are 48x48x3" "$qgrad" evaluate large.qgi --config fruit32.json --data fruit
expect_error "nor does its checkpoint" "images of .* are 32x32x3 .*, those of large/model.safetensors are 48x48x3" "$qgrad" evaluate large/model.safetensors --config fruit32.json --data fruit

# --- which layers hurt ---
cat >sensitivity.json <<JSON
{"name": "sensitive", "data": {"dataset": {"class": "digits"}, "transforms": {"mean": [0.5], "std": [0.5]}},
 "model": {"class": "convnet"}, "checkpoint": "compared/float/model.safetensors", "calibration": {"images": 128},
 "sensitivity": {"bits": [8, 2], "gradient_images": 16},
 "quantizer": {"class": "PostTrainLinearQuantizer", "bits_activations": 4, "bits_weights": 4, "per_channel_wts": true}}
JSON
expect 0 "sensitivity" "$qgrad" sensitivity sensitivity.json --out sensitive
holds "has a row for every layer" grep -qE '^fc +-?[0-9.]+ +-?[0-9.]+ +-?[0-9.]+ +-?[0-9.]+ +-?[0-9.]+$' stdout
holds "measures every probe alone, at the layer and at the outputs" python3 -c '
import json
for probe in json.load(open("sensitive/results.json"))["probes"]:
  assert probe["divergence"] >= 0 and ("layer_sqnr_db" in probe) == ("bits" in probe), probe'
holds "ranks by gradients" grep -qE '^W2: gradients alone rank the layers as their SQNR does to [01]\.[0-9]+' stdout
has_report sensitive 3  # of weights, of activations, and the estimates
cp sensitive/results.json whole.json
rm -rf stopped && mkdir stopped && cp sensitive/config.json stopped/
python3 -c 'import json
r, c = (json.load(open(f"sensitive/{name}.json")) for name in ("results", "config"))
json.dump({"config": c, "run": r["run"], "probes": r["probes"][:9]}, open("stopped/probes.json", "w"))'
cp -r stopped elsewhere_stopped
expect 0 "sensitivity goes on" "$qgrad" sensitivity --resume stopped
holds "with what was measured" cmp stopped/results.json whole.json
sed 's/"bits_activations": 4/"bits_activations": 5/' sensitive/config.json >elsewhere_stopped/config.json
expect_error "not with another config" "probes.json: was measured with another config.*: quantizer.bits_activations is 5, but was 4" "$qgrad" sensitivity --resume elsewhere_stopped
cp sensitive/config.json elsewhere_stopped/
cp compared/float/model.safetensors kept.safetensors && "$qgrad" train long.json --set quantizer=null --out other_float >/dev/null 2>&1
cp other_float/model.safetensors compared/float/
expect_error "nor of another network" "probes.json: was measured .*: files_crc32c.compared/float/model.safetensors is" "$qgrad" sensitivity --resume elsewhere_stopped
cp kept.safetensors compared/float/model.safetensors
expect 0 "what it would do" "$qgrad" sensitivity sensitivity.json --dry-run --out dry
holds "says bits and layers" sh -c 'grep -q "^sensitivity: {\"bits\":\[8,2\]" stdout && grep -qE "^conv2 +Conv2d +4/4/-" stdout'
expect_error "sensitivity of what trains" "expected one that quantizes after it" "$qgrad" sensitivity sensitivity.json --out x --set 'quantizer={"class": "LSQQuantizer"}'

sed 's/"sensitivity": {[^}]*}/"search": {"bits": {"choices": [2, 4, 8], "mean_weights": 4, "mean_activations": 5}}/' sensitivity.json >bits.json
expect 0 "what a search would do" "$qgrad" search bits.json --dry-run --out dry
holds "says what is searched" grep -q '^search: .*"mean_weights":4' stdout
holds "neither does anything" [ ! -e dry ]
expect 0 "search for bits" "$qgrad" search bits.json --out bits
has_report bits 2  # the front, and the bits of layers
holds "within the budget" grep -qE '^weights: (3\.[0-9]+|4\.000) bits in the mean' stdout
expect 0 "its config quantizes" "$qgrad" quantize bits/quantize.json
holds "into a folder of its own" [ -e out/sensitive_quantized/model.safetensors ]
expect_error "no choices" "expected numbers of bits to try, got none" "$qgrad" search bits.json --out x --set 'search.bits.choices=[]'
expect_error "no budget" "expected a budget: mean_weights or weights_kib, mean_activations or both, or bit_operations; or accuracy_drop" "$qgrad" search bits.json --out x --set 'search.bits={}'
expect_error "two budgets for weights" "two budgets for the same" "$qgrad" search bits.json --out x --set search.bits.weights_kib=4
expect_error "a budget for what has one" "bit_operations is a budget for weights and activations" "$qgrad" search bits.json --out x --set search.bits.bit_operations=0.2
expect_error "budgets and a limit" "accuracy_drop finds the budgets itself" "$qgrad" search bits.json --out x --set search.bits.accuracy_drop=1
expect 0 "a budget in KiB" "$qgrad" search bits.json --out bits_kib --json --set 'search.bits={"weights_kib": 4}'
holds "is kept" python3 -c 'import json; w = json.load(open("stdout"))["weights"]; assert 0 < w["kib"] <= 4, w'
expect 0 "a budget of bit operations" "$qgrad" search bits.json --out bits_operations --json --set 'search.bits={"bit_operations": 0.2}'
holds "is kept, and mostly used" python3 -c 'import json; o = json.load(open("stdout"))["bit_operations"]; assert 0.15 < o["share"] <= 0.2 and o["is_best"] and len(o["front"]) > 5, o'
has_report bits_operations 2
expect 0 "bits by what they may cost" "$qgrad" search bits.json --out bits_drop --json --set 'search.bits={"choices": [2, 4, 8], "accuracy_drop": 3}'
holds "cost no more" python3 -c 'import json; r = json.load(open("stdout")); c = r["chosen"]; assert r["weights"]["mean_bits"] < 8 and c.get("top1", c["agreement"]) >= 90, r'
expect_error "bits that cost more" "at most 0 points, but 2 bits everywhere lose" "$qgrad" search bits.json --out x --set 'search.bits={"choices": [2], "accuracy_drop": 0}'
expect_error "bits twice" "8 bits are listed twice" "$qgrad" sensitivity sensitivity.json --out x --set 'sensitivity.bits=[8,8]'
expect_error "nothing to quantize" "quantizes nothing of this network" "$qgrad" sensitivity sensitivity.json --out x --set quantizer.bits_weights=null --set quantizer.bits_activations=null
expect_error "a budget below all choices" "search.bits: weights: the smallest choices take 2, the budget is 1.5" "$qgrad" search bits.json --out x --set search.bits.mean_weights=1.5
cp -r bits halfway_bits && rm halfway_bits/quantize.json && mkdir -p halfway_bits/quantize.json/x
expect_error "search again, and break in the middle" "halfway_bits/quantize.json: can not be removed" "$qgrad" search bits.json --out halfway_bits
holds "which leaves no results beside another config" [ ! -e halfway_bits/results.json ]

# --- your own images ---
pictures=$root/examples/own_images/pictures
expect 0 "the example of own images" "$root/examples/own_images/run.sh" "$qgrad" . --set train.epochs=8
holds "predicts" grep -qE '(circle|square|triangle)' stdout
cat >shapes.json <<JSON
{"name": "shapes", "data": {"dataset": {"class": "image_folder", "dir": "$pictures", "test": 0.25}, "validation": 0},
 "model": {"class": "resnet20"}, "train": {"epochs": 1, "batch_size": 30}}
JSON
if "${PYTHON:-python3}" -c "import torch, PIL" 2>/dev/null; then
  mkdir -p from_pytorch_results
  expect 0 "the example of a network from PyTorch" "$root/examples/from_pytorch/run.sh" "$qgrad" from_pytorch_results
  holds "has PyTorch's outputs" grep -q "120 of 120 pictures have PyTorch's class" stdout
else
  skip "PyTorch is not here"
fi
expect_error "pictures of several sizes" "images are of [0-9x]+ and .*give \"size\": \[height, width\]" "$qgrad" train shapes.json --out x
expect_error "classes that are no share of the data" "the model has 10 outputs, but image_folder has 3 classes" "$qgrad" train shapes.json --out x --set data.dataset.size=16 --set model.classes=10
for command in "train train.json --set quantizer=null" "quantize quantize.json" "calibrate quantize.json" \
  "search quantize.json --set search={\"lapq\":{}}"; do
  # shellcheck disable=SC2086
  expect_error "$command on images of another size" "images of image_folder in .* are 16x16x3 .*, those of out/shapes/model.safetensors are 24x32x3" \
    "$qgrad" ${command/ / $root/examples/own_images/} --data "$pictures" --out x --set checkpoint=out/shapes/model.safetensors \
    --set data.dataset.resize=null --set data.dataset.center_crop=16
done
expect_error "a comparison on them" "those of out/shapes/model.safetensors are 24x32x3" "$qgrad" compare shapes.json --out x --set train=null \
  --set checkpoint=out/shapes/model.safetensors --set data.dataset.size=16 --set 'rows=[{"name": "8", "quantizer": {"class": "PostTrainLinearQuantizer"}}]'
holds "leave no folder" [ ! -e x ]
expect 0 "evaluate with the checkpoint's size and channels" "$qgrad" evaluate out/shapes/model.safetensors --config shapes.json
holds "that the config leaves open" grep -q '"size":\[24,32\]' stderr
expect 0 "export with them" "$qgrad" export out/shapes_8bit/model.safetensors --config shapes.json --program sized.qgi
holds "on the data's images" grep -q 'the program was run on 16 test images' stdout
expect 0 "calibrate on images without classes" "$qgrad" calibrate "$root/examples/own_images/quantize.json" --data "$pictures" --out unlabelled \
  --set data.dataset.labels=none --set data.dataset.test=null
holds "all of them" grep -q '120 images' stdout
expect_error "but evaluate on none" "images without labels do for calibration alone" "$qgrad" evaluate out/shapes/model.safetensors --config shapes.json --set data.dataset.labels=none
cp -r "$pictures" some_broken && for i in 05 06; do head -c 60 "$pictures/circle/$i.png" >some_broken/circle/$i.png; done
expect_error "pictures that can not be read" "2 of 120 files can not be read: circle/05.png: damaged image .*; circle/06.png: .*\"skip_unreadable\": true" "$qgrad" evaluate out/shapes/model.safetensors --data some_broken
expect 0 "can be left out" "$qgrad" evaluate out/shapes/model.safetensors --config shapes.json --data some_broken --set data.dataset.skip_unreadable=true
holds "which is said" grep -q '2 of 120 files can not be read' stderr

# --- a folder is one run's ---
"$qgrad" train long.json --set train.epochs=100000 --out held >/dev/null 2>&1 &
holder=$!
until [ -f held/training.safetensors ]; do sleep 0.02; done
for command in "train long.json" "train --resume" "compare $digits" "quantize fruit8.json" "calibrate fruit8.json"; do
  if [[ $command == *--resume ]]; then place=held; else place="--out held"; fi
  # shellcheck disable=SC2086
  expect_error "$command into a folder that a run writes to" "held: another run \(process $holder\) writes to this folder" "$qgrad" $command $place
done
until [ "$(grep -c '"best":' held/log.jsonl)" -ge 3 ]; do sleep 0.02; done  # two of these epochs are in the state
mv held elsewhere
got=0; wait $holder 2>/dev/null || got=$?
holds "a run whose folder is gone ends with an error" [ $got = 1 ]
holds "and does not make it again" [ ! -e held ]
expect_error "resume with another config" "run/training.safetensors: was made with another config.*: seed is 7, but was 1; train.batch_size is 16, but was 32" \
  sh -c 'cp -r elsewhere run && sed -i "s/\"seed\": 1/\"seed\": 7/; s/\"batch_size\": 32/\"batch_size\": 16/" run/config.json && "$0" train --resume run' "$qgrad"
sed -i 's/"seed": 7/"seed": 1/; s/"batch_size": 16/"batch_size": 32/; s/"epochs": 100000/"epochs": 0/; s/"epochs": 0/"epochs": 1/' run/config.json
expect_error "resume with fewer epochs than are finished" "epochs are finished, which are more than train.epochs, 1" "$qgrad" train --resume run
expect_error "a training whose last step diverges" "training broke: after epoch 1 \(learning rate .*\): [a-z0-9.]+: number [0-9]+ is (-?inf|nan)" "$qgrad" train long.json --out broken_net --set train.epochs=1 --set data.train_images=1000 --set train.batch_size=1000 --set 'train.optimizer={"class": "SGD", "lr": 1e38, "weight_decay": 100}' --set quantizer=null
expect_error "or whose validation does" "training broke: after epoch 1 .*, on the validation images: loss is (inf|nan)" "$qgrad" train long.json --out broken_net2 --set train.epochs=1 --set data.train_images=1000 --set train.batch_size=1000 --set 'train.optimizer={"class": "SGD", "lr": 1e30}' --set quantizer=null
holds "saves no model" [ ! -e broken_net/model.safetensors ]

# --- schedules, groups and a teacher, killed and resumed ---
cat >course.json <<JSON
{"name": "c", "data": {"dataset": {"class": "digits"}, "transforms": {"crop_padding": 1}}, "model": {"class": "convnet"},
 "checkpoint": "compared/float/model.safetensors",
 "train": {"epochs": 8, "batch_size": 32, "optimizer": {"class": "SGD", "lr": 0.01, "momentum": 0.9},
  "param_groups": [{"name": "steps", "parameters": ".*step", "lr_factor": 0.5, "weight_decay": 0}],
  "quantization": {"quantize_from": 0.5, "freeze_ranges_from": 6, "freeze_batch_norm_from": 5,
   "bits": [{"until": 2, "at_least": 8}, {"until": 3.5, "at_least": 6}, {"until": 4.5, "at_least": 4}]},
  "distillation": {"teacher": "compared/float/model.safetensors", "temperature": 4, "features": ["relu1", "relu2"], "features_until": 6.5}},
 "quantizer": {"class": "LSQQuantizer", "bits_activations": 3, "bits_weights": 3, "bits_first_last": 8}}
JSON
expect 0 "train by a schedule" "$qgrad" train course.json --out course --json
holds "the best epoch has the final bits" grep -qE '"best_epoch": [678],' stdout
train_and_kill course.json course_stopped
holds "the killed training by a schedule left no model" test ! -f course_stopped/model.safetensors
expect 0 "resume by a schedule" "$qgrad" train --resume course_stopped
holds "and end with the same bytes" cmp course/model.safetensors course_stopped/model.safetensors
expect 0 "its checkpoint evaluates by itself" "$qgrad" evaluate course/model.safetensors
expect 0 "verify a distilled, quantized training" "$qgrad" verify course
expect_error "evaluate into the training's folder" "course: holds a training, whose results would be lost" "$qgrad" evaluate course/model.safetensors --out course
expect 0 "train with the quantizer's own group" "$qgrad" train course.json --out own_group --set 'train.param_groups=[]' --set quantizer.learned_lr_factor=0.5
expect 0 "and with one that takes its place" "$qgrad" train course.json --out group --set 'train.param_groups=[{"name": "steps", "parameters": ".*step", "weight_decay": 0}]' --set quantizer.learned_lr_factor=0.5
holds "which leaves the learning rate as it was" cmp {own_group,group}/model.safetensors
expect_error "a group that picks nothing" "'.*stp' matches no parameter" "$qgrad" train course.json --out x --set 'train.param_groups=[{"name": "s", "parameters": ".*stp"}]'
expect_error "ranges frozen before the last bits" "bits\[1\].until is 3.5, which is after freeze_ranges_from, 3" "$qgrad" train course.json --out x --set train.quantization.freeze_ranges_from=3
expect_error "a schedule without quantization" "nothing that is quantized" "$qgrad" train train.json --out x --set quantizer=null --set 'train.quantization={}'
expect_error "a teacher that is not there" "nowhere.safetensors" "$qgrad" train course.json --out x --set train.distillation.teacher=nowhere.safetensors
holds "leaves no folder" test ! -e x
expect_error "features that the teacher has not" "no module 'layer9'" "$qgrad" train course.json --out x --set 'train.distillation.features=["layer9"]'
expect_error "features that never count" "no features would count, with 2 of them, from epoch 7 until epoch 6.5" "$qgrad" train course.json --out x --set train.distillation.from_epoch=7
expect 0 "train with simulated folding, and fold" "$qgrad" train train.json --out folding --json --set quantizer.batch_norm_folding=simulated --set 'fold_batch_norms={"images": 100}'
folded=$(grep -A 4 '"folded"' stdout | grep '"top1"' | sed 's|.*: ||; s|,||')
holds "it computes the same" grep -q "\"top1\": $folded" <(grep -A 4 '"test"' stdout)
expect 0 "the folded model evaluates by itself" "$qgrad" evaluate folding/model_folded.safetensors --json
holds "with the accuracy it had" grep -q "\"top1\": $folded" stdout
expect 0 "verify both" "$qgrad" verify folding
holds "the folded one too" grep -qE '^folded: top1 ' stdout
expect_error "training a folded model" "train with" "$qgrad" train train.json --out x --set quantizer.batch_norm_folding=folded
expect_error "folding without a quantizer" "train.json: fold_batch_norms: there is no quantizer" "$qgrad" train train.json --out x --set quantizer=null --set 'fold_batch_norms={}'

# --- recommendation ---
cat >ncf.json <<JSON
{"name": "ncf", "data": {"dataset": {"class": "synthetic_ratings", "users": 60, "items": 300, "interactions": 1500}},
 "model": {"class": "neumf", "users": 60, "items": 300}, "train": {"epochs": 2, "batch_size": 64, "optimizer": {"class": "Adam"}}}
JSON
expect 0 "train a recommender" "$qgrad" train ncf.json --out ncf
expect 0 "train it with quantization" "$qgrad" train ncf.json --out ncf8 --json --set checkpoint=ncf/model.safetensors --set 'quantizer={"class": "NCFQuantAwareTrainQuantizer", "bits_activations": 8, "bits_weights": 8}'
rate=$(grep -A 3 '"test"' stdout | grep '"hit_rate_at_10"' | sed 's|.*: ||; s|,||')
expect 0 "verify the quantized recommender" "$qgrad" verify ncf8
expect 0 "the quantized recommender evaluates by itself" "$qgrad" evaluate ncf8/model.safetensors --json
holds "with the hit rate it had" grep -q "\"hit_rate_at_10\": $rate" stdout
expect 0 "inspect a recommender" "$qgrad" inspect ncf8/model.safetensors
mkdir ml && for user in 1 2 3; do for item in $(seq 1 150); do echo "$user::$((item * 2))::4::$((item * user % 151))"; done; done >ml/ratings.dat
for item in $(seq 1 2 399); do echo "4::$item::3::$item"; done >>ml/ratings.dat
expect 0 "train on a MovieLens file" "$qgrad" train ncf.json --out ml_out --data ml --set 'data.dataset={"class": "movielens", "dir": "."}' --set model.items=350
expect_error "more items than the model has" "embedding: id" "$qgrad" train ncf.json --out x --data ml --set 'data.dataset={"class": "movielens", "dir": "."}' --set model.items=100
expect_error "ratings that are not there" "no ratings.dat" "$qgrad" train ncf.json --out x --data ncf --set 'data.dataset={"class": "movielens", "dir": "."}'
sed 's/"epochs": 2/"epochs": 12/' ncf.json >ncf_long.json
expect 0 "train a recommender for longer" "$qgrad" train ncf_long.json --out ncf_whole
train_and_kill ncf_long.json ncf_stopped
holds "the killed training left no model" test ! -f ncf_stopped/model.safetensors
expect 0 "resume a recommender" "$qgrad" train --resume ncf_stopped
holds "and end with the same bytes" cmp ncf_whole/model.safetensors ncf_stopped/model.safetensors
expect 0 "compare recommenders" "$qgrad" compare "$root/configs/ncf_compare.json" --out ncf_compared --set train.epochs=1 --set quant_aware_train.epochs=1 --set 'data.dataset={"class": "synthetic_ratings", "users": 60, "items": 300, "interactions": 1500}' --set train.batch_size=64 --set quant_aware_train.batch_size=64
holds "the table has hit rates" grep -q "HR@10 %" stdout
holds "and so has the report" grep -q "NDCG@10 %" ncf_compared/report.html
expect_error "settings of images for ratings" "data.validation is for images" "$qgrad" train ncf.json --out x --set data.validation=0.2
expect_error "a program of a recommender" "one input, but the model takes 2" "$qgrad" export ncf/model.safetensors --program ncf.qgi
holds "the folder of --data is remembered" grep -q '"dir": "ml"' ml_out/config.json
expect_error "calibrating on ratings" "need a data set of images" "$qgrad" train ncf.json --out x --set 'calibration={}' --set 'quantizer={"class": "NCFQuantAwareTrainQuantizer"}'

expect 0 "train from calibrated ranges" "$qgrad" train train.json --out calibrated --set train.epochs=1 --set 'calibration={"images": 64}'

# --- bad configs ---
edit() { sed "$1" "$digits" >edited.json; }
edit 's/"bits_weights": 8/"bits_weigths": 8/'
expect_error "unknown key" "edited.json: rows\[0\].quantizer.bits_weigths: unknown key \(did you mean 'bits_weights'\?\)" "$qgrad" compare edited.json
edit 's/"bits_weights": 8/"bits_weights": "three"/'
expect_error "wrong type" 'edited.json: rows\[0\].quantizer.bits_weights: expected an integer, got "three"' "$qgrad" compare edited.json
edit 's/"bits_weights": 8/"bits_weights": 8, "overrides": {"conv99": {"bits_weights": 4}}/'
expect_error "override that matches nothing" "edited.json: rows\[0\].quantizer.overrides.*conv99" "$qgrad" compare edited.json "${quick[@]}"
edit 's/PostTrainLinearQuantizer/PostTrainQuantizer/'
expect_error "unknown quantizer" "edited.json: rows\[0\].quantizer.class: no quantizer 'PostTrainQuantizer'.*have:.*QuantAwareTrainRangeLinearQuantizer" "$qgrad" compare edited.json --out unknown
edit 's/"seed": 1,/"seed": 1, "seed": 2,/'
expect_error "key that stands twice" "edited.json: seed: the key stands twice" "$qgrad" compare edited.json
edit 's/"seed": 1,/"seed": 1/'
expect_error "rows that share a folder" "the rows 'LSQ 4/4' and 'LSQ 4-4' would share the folder 'LSQ_4-4'" "$qgrad" compare "$digits" --out shared --set 'rows=[{"name":"LSQ 4/4","quantizer":{"class":"LSQQuantizer"}},{"name":"LSQ 4-4","quantizer":{"class":"LSQQuantizer"}}]'
expect_error "syntax error" "edited.json:[0-9]+:[0-9]+: not valid JSON" "$qgrad" compare edited.json
expect_error "missing file" "nowhere.json: cannot open" "$qgrad" compare nowhere.json
expect_error "a model with other outputs than the data's classes" "model: the model has 12 outputs, but digits has 10 classes" "$qgrad" compare "$digits" --set model.classes=12
expect_error "a model that gives an image" "model: the model gives \[1,8,8,10\] for a batch of one, expected \[1, 10\]" "$qgrad" compare "$digits" --set 'model={"class": "network", "inputs": [{"name": "image", "shape": [8, 8, 1]}], "nodes": [{"name": "fc", "class": "Linear", "out": 10}]}'
expect_error "a key that stands twice in --set" "--set train: a: the key stands twice" "$qgrad" compare "$digits" --set 'train={"a": 1, "a": 2}'
expect_error "more training images than there are" "data.train_images: 5000 were asked for" "$qgrad" compare "$digits" --set data.train_images=5000
expect_error "--set of a key that no command has" "only data, model, quantizer of a config are read here" "$qgrad" inspect "$digits" --set trian.epochs=2
edit 's/"train": {/"trian": {/'
expect_error "a key that no command has" "no command's config has a key 'trian' \(did you mean 'train'\?\)" "$qgrad" inspect edited.json
expect_error "--set for a checkpoint" "are for configs" "$qgrad" inspect compared/float/model.safetensors --set model.classes=3
expect 2 "an option without a use" "$qgrad" evaluate compared/float/model.safetensors --seed 5
expect_error "a row without a name" "rows\[0\].name: expected a name of 1 to 200 bytes" "$qgrad" compare "$digits" --out nameless --set 'rows=[{"name":"","quantizer":{"class":"LSQQuantizer"}}]'
expect_error "--set with an unknown key" "unknown key" "$qgrad" compare "$digits" --set train.epoch=3

# --- benchmarks: that they run and answer, not how fast ---
tiny=(--min-time 0 --repeat 2 --threads 1)
# bench_answers CASE ARGUMENTS...: one line of JSON with a positive value.
bench_answers() {
  expect 0 "bench $*" "$qgrad" bench "$@" "${tiny[@]}" --json
  holds "bench $*: one line" test "$(wc -l <stdout)" -eq 1
  holds "bench $*: a positive value" grep -qE '"value":([1-9]|0\.0*[1-9])' stdout
}
for direction in forward backward copy; do bench_answers fake-quant --elements 1000 --direction $direction; done
bench_answers fake-quant --elements 1000 --per-channel 10
for pass in forward input-gradient weight-gradient; do bench_answers conv --shape 3,8,9,3,2 --batch 2 --pass $pass; done
bench_answers inference --batch 2
bench_answers inference --batch 2 --quantizer "$root/configs/cifar10_resnet20_post_train.json"
bench_answers train-step --batch 2
expect 0 "bench step-profile" "$qgrad" bench step-profile --batch 2 --min-time 0
holds "bench step-profile: a line for convolutions, 21 in ResNet-20" grep -qE '^conv2d +21 ' stdout
expect 0 "bench step-profile --json" "$qgrad" bench step-profile --batch 2 --min-time 0 --json
holds "its parts make up the step" python3 -c 'import json; r = json.load(open("stdout")); assert abs(sum(o["percent"] for o in r["ops"]) - 100) < 1e-6 and all(o["forward_ms"] + o["backward_ms"] > 0 for o in r["ops"])'
bench_answers train-step --batch 2 --quantizer "$root/configs/cifar10_resnet20_quant_aware.json"
printf 'go\n\nquit\nmore\n' >requests
expect 0 "bench --serve" bash -c '"$0" bench "$@" <requests' "$qgrad" fake-quant --elements 1000 "${tiny[@]}" --serve
holds "it says when it is ready" grep -qx '{"ready":true}' stdout
holds "and answers each line until quit" test "$(grep -c '"value":' stdout)" -eq 2
expect 2 "bench without a case" "$qgrad" bench
expect 2 "bench with a wrong value" "$qgrad" bench conv --shape 3,8,9,3,0
expect 2 "bench with channels that do not divide" "$qgrad" bench fake-quant --elements 1000 --per-channel 3
expect_error "bench train-step with a post-training quantizer" "does not train" "$qgrad" bench train-step --quantizer "$root/configs/cifar10_resnet20_post_train.json"

# --- JSON without an end ---
deep() { printf "$1%.0s" $(seq 100000); }
{ printf '{"name": "deep", "model": '; deep '['; } >deep.json
expect_error "a config nested too deep" "deep.json:1:[0-9]+: nested too deep: at most 100 brackets" "$qgrad" train deep.json
expect_error "a setting nested too deep" "--set model.*: nested too deep" "$qgrad" inspect "$digits" --set "model=$(deep '[' | head -c 50000)$(deep ']' | head -c 50000)"
expect_error "a key nested too deep" "keys, at most 100" "$qgrad" inspect "$digits" --set "model.$(deep 'a.' | head -c 100000)a=1"
{ printf '\x08\x00\x01\x00\x00\x00\x00\x00{"a": '; deep '[' | head -c 65538; } >deep.safetensors
expect_error "a checkpoint's header nested too deep" "deep.safetensors \(header\):1:[0-9]+: nested too deep" "$qgrad" evaluate deep.safetensors

# --- bad checkpoints ---
good=compared/float/model.safetensors
head -c 3000 $good >truncated.safetensors
expect_error "truncated checkpoint" "truncated.safetensors" "$qgrad" evaluate truncated.safetensors
{ printf '\xff\xff\xff\xff\xff\xff\xff\x7f'; tail -c +9 $good; } >lying.safetensors
expect_error "header length beyond the file" "lying.safetensors" "$qgrad" evaluate lying.safetensors
sed 's/"conv1.weight"/"conv7.weight"/' $good >renamed.safetensors
expect_error "missing and extra tensor" "renamed.safetensors.*conv1.weight" "$qgrad" evaluate renamed.safetensors
printf 'hello' >text.safetensors
sed 's/qgrad_crc32c/others_crc32/' $good >nan.safetensors && printf '\x00\x00\xc0\x7f' | dd of=nan.safetensors bs=1 seek=$(($(stat -c %s $good) - 4)) conv=notrunc 2>/dev/null
expect_error "a checkpoint with NaN" "nan.safetensors: .*: number [0-9]+ is nan, expected a finite one" "$qgrad" evaluate nan.safetensors
cp $good bit.safetensors && printf '\x01' | dd of=bit.safetensors bs=1 seek=$(($(stat -c %s $good) - 3)) conv=notrunc 2>/dev/null
expect_error "a checkpoint with a damaged byte" "bit.safetensors: fc.bias: the file is damaged" "$qgrad" evaluate bit.safetensors
expect_error "export of NaN" "nan.safetensors: .*: number" "$qgrad" export nan.safetensors --onnx nan.onnx
holds "writes no file" [ ! -e nan.onnx ]
expect_error "not a checkpoint" "text.safetensors: expected a safetensors file, got a text file" "$qgrad" evaluate text.safetensors
printf 'PK\003\004\0\0archive/data.pkl' >net.pth
expect 1 "a PyTorch checkpoint" "$qgrad" evaluate net.pth
holds "is called so" grep -q "net.pth: expected a safetensors file, got a PyTorch checkpoint" stderr
holds "with lines that convert it" grep -q "torch.load('net.pth'" stderr
expect_error "a checkpoint in a config's place" "model.safetensors: expected a JSON file, got a safetensors file" "$qgrad" train $good

# --- integer programs ---
expect 0 "export a program" "$qgrad" export quantized/model.safetensors --program digits.qgi --json
holds "with its classes" sh -c "grep -a -q '0.*1.*9' digits.qgi"
holds "which was run on test images" grep -q '"images": 16' stdout
holds "and computes what the layers do" grep -q '"differing": 0' stdout
expect 0 "a program evaluates" "$qgrad" evaluate digits.qgi --config "$digits" --json
top1=$(grep '"top1"' stdout)
"$qgrad" evaluate quantized/model.safetensors --json >simulated.json
holds "as its simulation does" grep -q "$top1" simulated.json
expect_error "--set of what a program does not read" "only data of a config are read here" "$qgrad" evaluate digits.qgi --config "$digits" --set model.classes=3
expect_error "inspect a program" "an integer program; \`qgrad evaluate\`" "$qgrad" inspect digits.qgi
expect_error "a program without data" "digits.qgi: a program does not say its data" "$qgrad" evaluate digits.qgi
expect_error "a program with data of another normalisation" "the mean of digits .*is 0.4, that of digits.qgi is 0.5" \
  "$qgrad" evaluate digits.qgi --config "$digits" --set 'data.transforms.mean=[0.4]'
expect_error "export of two files, one of which has no place" "taken/half.onnx: can not be written: .*taken is no folder" "$qgrad" export quantized/model.safetensors --program half.qgi --onnx taken/half.onnx
holds "writes neither" [ ! -e half.qgi ]
expect 2 "export of nothing" "$qgrad" export quantized/model.safetensors
expect 0 "export a float model" "$qgrad" export $good --program float.qgi
# --- a network of others: here a float export of our own ---
expect 0 "export a float model as ONNX" "$qgrad" export $good --onnx float.onnx
expect 0 "import it" "$qgrad" import float.onnx --out imported
holds "says its layers" grep -q "Conv2d(" stdout
expect 0 "inspect the file itself" "$qgrad" inspect float.onnx
expect 0 "its program needs no data" "$qgrad" export imported/model.safetensors --program imported.qgi
holds "says what normalisation it takes" grep -q "does not say how its images are normalised: a mean and std of 0.5 are taken" stderr
expect_error "without data" "does not say which data|no data" "$qgrad" evaluate float.onnx
echo '{"name": "imported", "checkpoint": "float.onnx", "data": {"dataset": {"class": "digits"}}, "quantizer": {"class": "PostTrainLinearQuantizer"}}' >imported.json
expect 0 "quantize it without saying the model" "$qgrad" quantize imported.json --out imported8
holds "says that the normalisation is a guess" grep -q "float.onnx does not say how its images are normalised: 0.5 is taken" stderr
holds "with a program" sh -c '! grep -q "\"refused\"" imported8/results.json'
mkdir -p shades
cp "$root"/examples/own_images/pictures/circle/0*.png shades/
expect_error "a normalisation is wanted" "give --mean and --std" "$qgrad" quantize float.onnx --images shades
expect_error "bits are 2 to 8" "--bits 9: expected 2 to 8" "$qgrad" quantize float.onnx --images shades --mean 0.5 --std 0.5 --bits 9
expect 0 "one command without a config" "$qgrad" quantize float.onnx --images shades --mean 0.5 --std 0.5 --out one
holds "agreement in place of accuracy" grep -q "have the float network's top-1" stdout
holds "an ONNX file, a program, and the config that repeats it" test -s one/model.onnx -a -s one/model.qgi -a -s one/config.json
holds "which its results name" grep -q "one/model.qgi" one/results.json
mkdir -p blocked/model.onnx
expect 1 "a file that can not be written is an error, no refusal" "$qgrad" quantize float.onnx --images shades --mean 0.5 --std 0.5 --out blocked
expect 0 "the config repeats it" "$qgrad" quantize one/config.json --out again
holds "to the byte" cmp one/model.safetensors again/model.safetensors
expect 0 "verify what was judged by agreement" "$qgrad" verify one
holds "to the digit" grep -qE '^quantized: sqnr_db +([0-9.]+) +\1$' stdout
sed -i 's|"top1_agreement": [0-9.]*|"top1_agreement": 12.5|' again/results.json
expect_error "verify an agreement that is not so" "^qgrad: again: 1 of 5 numbers are not those of the run$" "$qgrad" verify again
expect_error "a size that is none" "--size 3x: expected sizes" "$qgrad" import float.onnx --size 3x
expect_error "a damaged file" "float_half.onnx" sh -c 'head -c 3000 float.onnx >float_half.onnx; "$0" import float_half.onnx' "$qgrad"
expect 0 "export a trained model with a float first layer" "$qgrad" export course/model.safetensors --onnx course.onnx
holds "which is named" grep -q "conv1: sums floats whose results become integers" stdout
expect 0 "export what a runtime fuses" "$qgrad" export quantized/model.safetensors --onnx fused.onnx --fused --json
holds "says so" grep -q '"fused": true' stdout
expect 2 "which is of ONNX files" "$qgrad" export quantized/model.safetensors --program fused.qgi --fused
expect_error "more test data than there are" "100000 were asked for" "$qgrad" export $good --onnx half.onnx --test-data 100000
holds "leave no file" [ ! -e half.onnx ]
cp quantized/model.safetensors kept.safetensors
expect_error "a program in the checkpoint's place" "kept.safetensors: is the checkpoint that is exported" "$qgrad" export kept.safetensors --program ./kept.safetensors
expect_error "one in another checkpoint's place" "kept.safetensors: is there already, and is a safetensors file, expected an integer program or nothing" "$qgrad" export $good --program kept.safetensors
expect_error "two files of one name" "name the same file, half.onnx" "$qgrad" export $good --onnx half.onnx --program half.onnx
holds "which leave it as it was" cmp quantized/model.safetensors kept.safetensors
expect 0 "test data of one model" "$qgrad" export $good --onnx sets/a.onnx --test-data 250
expect_error "and less of another beside it" "sets/test_data_set_1: is there already" "$qgrad" export $good --onnx sets/b.onnx --test-data 3
expect_error "predict with a checkpoint" "is no integer program, but a safetensors file" "$qgrad" predict $good image.png
mkfifo pipe && ln -s pipe to_pipe && ln -s there/linked.qgi linked.qgi
expect_error "a program in the place of a pipe" "pipe: is a device, a pipe or a socket" "$qgrad" export $good --program pipe
expect_error "or of a link to one" "to_pipe: is a device, a pipe or a socket" "$qgrad" export $good --program to_pipe
holds "which stay" test -p pipe -a -L to_pipe
expect 0 "a program behind a symbolic link" "$qgrad" export $good --program linked.qgi
holds "is written where it leads" cmp float.qgi there/linked.qgi
holds "and the link stays" test -L linked.qgi
expect_error "predict without an image" "1 of 1 images could not be classified" "$qgrad" predict digits.qgi nowhere.png
holds "says which" grep -q 'nowhere.png: cannot open' stderr
bench_answers inference --batch 2 --integer 8,8
bench_answers inference --batch 2 --fold
classify=$(dirname "$qgrad")/classify
if [ -x "$classify" ]; then
  { echo P5 8 8 255; head -c 64 /dev/zero | tr '\0' '\200'; } >grey.pgm
  expect 0 "the engine's library from C" "$classify" digits.qgi grey.pgm
  holds "answers with a class and a number" grep -qE '^[0-9] -?[0-9.e-]+$' stdout
  expect_error "the engine's library without a program" "nowhere.qgi: cannot open" "$classify" nowhere.qgi grey.pgm
  expect_error "and without such a picture" "digits.qgi: expected a binary PGM file of 8x8 pixels" "$classify" digits.qgi digits.qgi
  library=$(dirname "$qgrad")/libqgrad_engine.so
  strip -o stripped.so "$library"
  holds "the engine's library is small" test "$(stat -c %s stripped.so)" -lt 500000
  holds "and needs the C++ runtime only" test -z "$(objdump -p stripped.so | grep NEEDED | grep -vE 'lib(stdc\+\+|gcc_s|c|m|pthread)\.so|ld-linux')"
else
  skip "the engine's library is not here"
fi

# --- CIFAR-10, where it is ---
cifar=${QGRAD_DATA:-$root/../shared/cifar-10-batches-bin}
checkpoint=$root/../shared/models/distiller_resnet20_cifar10.safetensors
if [ -d "$cifar" ]; then
  mkdir broken && cp "$cifar"/* broken/ && chmod u+w broken/*
  truncate -s 30000000 broken/data_batch_2.bin
  cat >cifar.json <<JSON
{"name": "c", "data": {"dataset": {"class": "cifar10"}}, "model": {"class": "resnet20"}, "train": {"epochs": 1}}
JSON
  expect_error "truncated CIFAR batch" "data_batch_2.bin: expected 30730000 bytes" "$qgrad" train cifar.json --data broken
  cp "$cifar/data_batch_2.bin" broken/ && printf '\x0c' | dd of=broken/data_batch_2.bin bs=1 seek=$((3073 * 17)) conv=notrunc 2>/dev/null
  expect_error "label out of range" "data_batch_2.bin: record 17: label 12" "$qgrad" train cifar.json --data broken
  rm -r broken
else
  skip "CIFAR-10 is not here"
fi
if [ -d "$cifar" ] && [ -f "$checkpoint" ]; then
  expect 0 "evaluate a PyTorch checkpoint" "$qgrad" evaluate "$checkpoint" --data "$cifar" --json
  holds "with its known accuracy" grep -qE '"top1": 91.7[01]?,' stdout
else
  skip "the trained ResNet-20 is not here"
fi

echo "command line: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
