# shellcheck shell=bash disable=SC2154,SC2034
# Where configs come from and what they become: schedules of Distiller, schemas, shorter runs.

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
expect_error "and a teacher that is never asked" "never be asked, from epoch 4 in a training of 4" "$qgrad" compare "$digits" --out late --set 'quant_aware_train={"epochs":4,"distillation":{"teachers":[{"checkpoint":"out/in_short/float/model.safetensors"}],"from_epoch":4}}' --set "rows=[{\"name\":\"LSQ\",$lsq}]"
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
late_error "a teacher that is not there" "nowhere.safetensors: cannot open" 'quant_aware_train.distillation={"teachers":[{"checkpoint":"nowhere.safetensors"}]}'
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
