# shellcheck shell=bash disable=SC2154,SC2034
# Data and network: what was trained is what is used.

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
cp stdout of_program
expect 0 "predict with the checkpoint" sh -c 'mv fruit away && "$0" predict '$net' away/test/cherry/1.png --json; status=$?; mv away fruit; exit $status' "$qgrad"
cp stdout of_checkpoint
expect 0 "and with its program" "$qgrad" predict fruit.qgi fruit/test/cherry/1.png --json
holds "gives the same" sh -c '[ "$(grep probability of_checkpoint)" = "$(grep probability stdout)" ] && grep -q probability stdout'
cp of_program stdout
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
