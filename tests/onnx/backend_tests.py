"""Writes ONNX's own tests of operators, of PyPI's package onnx (1.23): backend_tests.py FOLDER

FOLDER/node/test_*/ has model.onnx, and input_*.pb and output_*.pb in test_data_set_0: for the test "[onnx-backend]" and for
tests/fuzz/run.sh, with QGRAD_ONNX_BACKEND=FOLDER. Tests whose values are no plain tensors are left out.
"""
import pathlib
import sys

import numpy as np
import onnx
from onnx.backend.test.case import node


def write(folder, kind, values, infos):
    for i, (value, info) in enumerate(zip(values, infos)):
        is_tensor = isinstance(value, onnx.TensorProto)
        tensor = value if is_tensor else onnx.numpy_helper.from_array(np.asarray(value), info.name)
        (folder / f"{kind}_{i}.pb").write_bytes(tensor.SerializeToString())


for case in node.collect_testcases(None):
    graph = case.model.graph
    if not all(value.type.HasField("tensor_type") for value in [*graph.input, *graph.output]):
        continue
    folder = pathlib.Path(sys.argv[1]) / "node" / case.name
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    inputs, outputs = case.data_sets[0]
    write(data, "input", inputs, graph.input)
    write(data, "output", outputs, graph.output)
    onnx.save(case.model, folder / "model.onnx")
