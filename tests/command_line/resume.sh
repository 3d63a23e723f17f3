# shellcheck shell=bash disable=SC2154,SC2034
# Trainings and comparisons that were killed or stopped, and go on.

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
