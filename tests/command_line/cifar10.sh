# shellcheck shell=bash disable=SC2154,SC2034
# CIFAR-10, where it is.

cifar=${QGRAD_DATA:-$root/../shared/cifar-10-batches-bin}
checkpoint=$root/../shared/models/distiller_resnet20_cifar10.safetensors
if [ -d "$cifar" ]; then
  mkdir broken && cp "$cifar"/* broken/ && chmod u+w broken/*
  truncate -s 30000000 broken/data_batch_2.bin
  cat >cifar.json <<JSON
{"name": "c", "data": {"dataset": {"class": "cifar10"}}, "model": {"class": "resnet20"}, "train": {"epochs": 1}}
JSON
  expect_error "truncated CIFAR batch" "data_batch_2.bin: expected 30730000 bytes" "$qgrad" train cifar.json --data broken
  cp "$cifar/data_batch_2.bin" broken/ && printf '\x0c' | dd of=broken/data_batch_2.bin bs=1 seek=$((3073 * 17)) conv=notrunc 2>/dev/null
  expect_error "label out of range" "data_batch_2.bin: record 17: label 12" "$qgrad" train cifar.json --data broken
  rm -r broken
else
  skip "CIFAR-10 is not here"
fi
if [ -d "$cifar" ] && [ -f "$checkpoint" ]; then
  expect 0 "evaluate a PyTorch checkpoint" "$qgrad" evaluate "$checkpoint" --data "$cifar" --json
  holds "with its known accuracy" grep -qE '"top1": 91.7[01]?,' stdout
else
  skip "the trained ResNet-20 is not here"
fi
