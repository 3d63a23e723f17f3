# shellcheck shell=bash disable=SC2154,SC2034
# Which layers hurt.

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
