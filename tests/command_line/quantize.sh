# shellcheck shell=bash disable=SC2154,SC2034
# Calibration, quantization after training, its numbers again, and the same bits everywhere.

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
expect 0 "quantize with them" "$qgrad" quantize quantize.json --out from_file --set calibration.statistics=$stats
expect 0 "another network" "$qgrad" train quantize.json --out second --set calibration=null --set quantizer=null --set 'train={"epochs": 1}'
expect_error "quantize another network with them" "$stats: statistics of a network whose numbers have the checksum" "$qgrad" quantize quantize.json --out other --set calibration.statistics=$stats --set checkpoint=second/model.safetensors
given="\"$stats\""
expect 0 "look at a quantization with them" "$qgrad" quantize quantize.json --dry-run --set quantizer.model_activation_stats="$given"
expect 0 "sensitivity with them" "$qgrad" sensitivity quantize.json --out sensitive_from --set quantizer.model_activation_stats="$given" --set 'sensitivity={"bits": [4]}'
expect 0 "search for bits with them" "$qgrad" search quantize.json --out searched_from --set quantizer.model_activation_stats="$given" --set 'search={"bits": {"mean_weights": 6, "mean_activations": 6}}'
expect_error "sensitivity of another network with them" "$stats: statistics of a network whose numbers have the checksum" "$qgrad" sensitivity quantize.json --out x --set quantizer.model_activation_stats="$given" --set 'sensitivity={"bits": [4]}' --set checkpoint=second/model.safetensors
ranges='{"class": "QuantAwareTrainRangeLinearQuantizer", "bits_activations": 4, "bits_weights": 4, "model_activation_stats": "'$stats'"}'
cat >rows.json <<END
{"name": "rows", "seed": 1, "data": {"dataset": {"class": "digits"}, "transforms": {"mean": [0.5], "std": [0.5]}},
 "model": {"class": "convnet"}, "checkpoint": "compared/float/model.safetensors", "quant_aware_train": {"epochs": 1},
 "rows": [{"name": "4/4", "quantizer": $ranges}]}
END
expect 0 "a row of a comparison with them" "$qgrad" compare rows.json --out compared_from
expect_error "of another network, before anything runs" "$stats: statistics of a network whose numbers have the checksum" "$qgrad" compare rows.json --out x --set checkpoint=second/model.safetensors
expect 0 "train with them" "$qgrad" train quantize.json --out trained_from --set calibration=null --set "quantizer=$ranges" --set 'train={"epochs": 2}'
expect 0 "its result is evaluated without them" "$qgrad" evaluate trained_from/model.safetensors
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
long='--set quantizer.reconstruction={"iterations":60}'
expect 0 "reconstruct for longer" "$qgrad" quantize quantize.json --out long $long
"$qgrad" quantize quantize.json --out killed $long >/dev/null 2>&1 &
victim=$!
until [ -f killed/corrections.safetensors ]; do sleep 0.02; done
kill -9 $victim
wait $victim 2>/dev/null
expect 0 "again after it was killed" "$qgrad" quantize quantize.json --out killed $long
holds "which goes on" grep -q "killed/corrections.safetensors: corrections go on from there" stderr
holds "to the same bytes" cmp long/model.safetensors killed/model.safetensors
holds "and leaves nothing of it" test ! -e killed/corrections.safetensors
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
