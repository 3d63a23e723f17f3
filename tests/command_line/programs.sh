# shellcheck shell=bash disable=SC2154,SC2034
# Integer programs, and networks of others.

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
expect_error "predict with what is neither" "config.json: expected a program of .qgrad export. or a checkpoint .*, got a JSON file" "$qgrad" predict one/config.json image.png
expect_error "a config beside a program" "a program says all that it needs" "$qgrad" predict digits.qgi image.png --config imported.json
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
# --- what is shipped ---
trained=$root/examples/cifar10_resnet20
for width in w8a8 w4a4 w2a2; do
  expect 0 "export $width, which is shipped" "$qgrad" export "$trained/$width.safetensors" --program $width.qgi --onnx $width.onnx
  holds "$width: the files beside it" sh -c "cmp $width.qgi '$trained/$width.qgi' && cmp $width.onnx '$trained/$width.onnx'"
done
