"""The command `qgrad`, and the library and header of its integer engine for C, below `prefix`."""
import os
import sys

prefix = os.path.dirname(os.path.abspath(__file__))  # bin/qgrad, lib/libqgrad_engine.so, include/qgrad/engine


def main():
    command = os.path.join(prefix, "bin", "qgrad")
    os.execv(command, [command, *sys.argv[1:]])
