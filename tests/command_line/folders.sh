# shellcheck shell=bash disable=SC2154,SC2034
# Folders for results, and what a training does in one that was begun.

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
  "distillation": {"teachers": [{"checkpoint": "compared/float/model.safetensors"}], "temperature": 4, "features": ["relu1", "relu2"], "features_until": 6.5}},
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
expect_error "a teacher that is not there" "nowhere.safetensors" "$qgrad" train course.json --out x --set 'train.distillation.teachers=[{"checkpoint":"nowhere.safetensors"}]'
holds "leaves no folder" test ! -e x
expect_error "features that the teacher has not" "no module 'layer9'" "$qgrad" train course.json --out x --set 'train.distillation.features=["layer9"]'
expect_error "features that never count" "no features would count, with 2 of them, from epoch 7 until epoch 6.5" "$qgrad" train course.json --out x --set train.distillation.from_epoch=7
expect 0 "train with simulated folding, and fold" "$qgrad" train train.json --out folding --json --set quantizer.batch_norm_folding=simulated --set 'fold_batch_norms={"images": 100}'
folded=$(grep -A 4 '"folded"' stdout | grep '"top1"' | sed 's|.*: ||; s|,||')
holds "it computes the same" grep -q "\"top1\": $folded" <(grep -A 4 '"test"' stdout)
expect 0 "the one that is not folded becomes a program" "$qgrad" export folding/model.safetensors --program folding.qgi
expect 0 "which runs" "$qgrad" evaluate folding.qgi --config train.json --json
expect 0 "the folded model evaluates by itself" "$qgrad" evaluate folding/model_folded.safetensors --json
holds "with the accuracy it had" grep -q "\"top1\": $folded" stdout
expect 0 "verify both" "$qgrad" verify folding
holds "the folded one too" grep -qE '^folded: top1 ' stdout
expect_error "training a folded model" "train with" "$qgrad" train train.json --out x --set quantizer.batch_norm_folding=folded
expect_error "folding without a quantizer" "train.json: fold_batch_norms: there is no quantizer" "$qgrad" train train.json --out x --set quantizer=null --set 'fold_batch_norms={}'
