# shellcheck shell=bash disable=SC2154,SC2034
# Networks that recommend.

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
