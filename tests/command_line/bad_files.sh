# shellcheck shell=bash disable=SC2154,SC2034
# Bad configs and checkpoints, JSON without an end; and that benchmarks answer.

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
expect 0 "bench kernels" "$qgrad" bench kernels --family reduce --family norm --shape 2,3,16 --min-time 0
holds "bench kernels: a line for each kernel" test "$(grep -cE '^reduce +(sum|dot|squared_distance|sum_columns) ' stdout)" -eq 4
expect 0 "bench kernels --json" "$qgrad" bench kernels --family pool --family pool_gradient --shape 2,3,16 --min-time 0 --json
holds "bench kernels --json: times of every row" python3 -c 'import json; r = json.load(open("stdout")); assert len(r["kernels"]) == 4 and all(list(k["microseconds"]) == r["rows"] for k in r["kernels"])'
expect 2 "bench kernels: an image that is too large" "$qgrad" bench kernels --shape 4096,4096,512
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
