"""An event file by TensorBoard's own reader: its curves are the numbers of log.jsonl beside it, and its histograms hold
what they say. Usage: tests/read_events.py FOLDER"""
import json
import math
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

folder = sys.argv[1]
events = EventAccumulator(folder, size_guidance={"scalars": 0, "histograms": 0, "tensors": 0})
events.Reload()
lines = [json.loads(line) for line in open(folder + "/log.jsonl")]


def as_float32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def check_curve(tag, expected):
    found = [scalar.value for scalar in events.Scalars(tag)]
    assert found == [as_float32(x) for x in expected], (tag, found, expected)


epochs = [line for line in lines if "best" in line]
steps = [line for line in lines if "step" in line]
for key in ("loss", "top1", "lr"):
    check_curve("epochs/" + key, [line[key] for line in epochs])
    check_curve("steps/" + key, [line[key] for line in steps])
for key in epochs[0]["validation"] or {}:
    check_curve("validation/" + key, [line["validation"][key] for line in epochs])

tags = events.Tags()
histograms = tags["histograms"]
for group in ("weights/", "activations/"):
    assert any(tag.startswith(group) for tag in histograms), histograms
for tag in histograms:
    per_epoch = events.Histograms(tag)
    assert len(per_epoch) == len(epochs), tag
    for event in per_epoch:
        values = event.histogram_value
        assert sum(values.bucket) == values.num > 0, tag
        assert values.min <= values.max <= values.bucket_limit[-1], tag
        assert math.isfinite(values.sum) and values.sum_squares >= 0, tag
assert any(tag.startswith("quantization/") for tag in tags["scalars"]), tags["scalars"]
print(len(tags["scalars"]), "curves,", len(histograms), "histograms")
