#!/usr/bin/env python3
"""The inference speed of qgrad beside ONNX Runtime's and OpenVINO's, on this machine.

    pip install onnxruntime openvino numpy
    docs/peers/inference.py net.onnx --threads 2 -- build/qgrad bench inference --model resnet20 --batch 128 --program

net.onnx is the same network, in float or as QDQ, with one input of a fixed size. All are asked in turn, so that what
disturbs one disturbs the others, and the ratio to qgrad is the median over the rounds. Peers that are not installed are
left out; --peer names one alone: ONNX Runtime and OpenVINO loaded together have crashed.
"""
import argparse
import json
import statistics
import subprocess
import time

import numpy as np


class Qgrad:
    name = "qgrad"

    def __init__(self, command, threads, seconds):
        command = command + ["--threads", str(threads), "--min-time", str(seconds), "--serve"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer()  # it is ready

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("qgrad ended with status %d" % self.process.wait())
        return json.loads(line)

    def rate(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.answer()["value"]


class Peer:
    """Anything that computes a whole batch when it is called."""

    def __init__(self, name, run, batch, seconds):
        self.name, self.run, self.batch, self.seconds = name, run, batch, seconds
        for _ in range(3):
            run()

    def rate(self):
        begin, calls = time.perf_counter(), 0
        while time.perf_counter() - begin < self.seconds:
            self.run()
            calls += 1
        return calls * self.batch / (time.perf_counter() - begin)


def onnxruntime_run(path, threads):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (first,) = session.get_inputs()
    x = np.random.default_rng(1).standard_normal(first.shape).astype(np.float32)
    return "ONNX Runtime " + ort.__version__, lambda: session.run(None, {first.name: x}), first.shape[0]


def openvino_run(path, threads):
    import openvino as ov

    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = ov.Core().compile_model(path, "CPU", settings).create_infer_request()
    shape = list(request.get_input_tensor().shape)
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    request.set_input_tensor(ov.Tensor(x, shared_memory=True))
    return "OpenVINO " + ov.__version__.split("-")[0], request.infer, shape[0]


def after_pause(program, seconds):
    """Threads of what ran before may wait for work without sleeping, and take a core from what runs next."""
    time.sleep(seconds)
    return program.rate()


PEERS = {"onnxruntime": onnxruntime_run, "openvino": openvino_run}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("onnx", help="the network for the peers")
    parser.add_argument("qgrad", nargs="+", help="after --: qgrad's own command")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each program in a round, at least")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between programs")
    parser.add_argument("--peer", choices=PEERS, help="default: both")
    args = parser.parse_args()

    programs = [Qgrad(args.qgrad, args.threads, args.seconds)]
    for make in PEERS.values() if args.peer is None else (PEERS[args.peer],):
        try:
            programs.append(Peer(*make(args.onnx, args.threads), args.seconds))
        except ImportError as missing:
            print("left out:", missing)
    rates = [[after_pause(program, args.pause) for program in programs] for _ in range(args.rounds)]
    for i, program in enumerate(programs):
        ratios = [row[0] / row[i] for row in rates]
        low, _, high = statistics.quantiles(ratios, n=4)
        print("%-20s %9.1f images/s   qgrad is %.2f times as fast (quartiles %.2f, %.2f)" % (
            program.name, statistics.median(row[i] for row in rates), statistics.median(ratios), low, high))


if __name__ == "__main__":
    main()
