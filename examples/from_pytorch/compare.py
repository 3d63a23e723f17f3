"""Compares what `qgrad predict --json` gives with the log-probabilities of train.py.

Usage: compare.py EXPECTED PREDICTED MOST: fails where the largest difference is larger than MOST.
"""
import json
import math
import sys

expected, predicted = (json.load(open(file)) for file in sys.argv[1:3])
largest = agreeing = count = 0
for prediction in predicted["predictions"]:
    of_torch = expected[prediction["image"]]
    agreeing += of_torch[prediction["best"][0]["class"]] == max(of_torch)
    count += 1
    for best in prediction["best"]:
        if best["probability"] > 1e-6:  # of smaller ones few digits are left
            largest = max(largest, abs(math.log(best["probability"]) - of_torch[best["class"]]))
print(f"{agreeing} of {count} pictures have PyTorch's class; log-probabilities differ by up to {largest:.2g}")
sys.exit(largest > float(sys.argv[3]))
