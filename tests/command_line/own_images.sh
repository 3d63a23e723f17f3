# shellcheck shell=bash disable=SC2154,SC2034
# Your own images.

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
