#!/usr/bin/env python3
"""Writes tests/data/lower/*.onnx, the cases of test_lower.c (needs numpy, onnx and onnxruntime).

Each file is a one-operator model with its own test data: the graph outputs `feed.NAME` are the
inputs and `want.NAME` what onnxruntime computed for output NAME. With arguments: the parts to write, by name
(functions marked @part in tests/lower_cases).
"""
import os
import sys

from lower_cases import attention, base, basic, delta, experts, fused, heads, quantised  # noqa: F401: each registers its parts

if __name__ == "__main__":
    os.makedirs(base.FOLDER, exist_ok=True)
    print(base.write(sys.argv[1:]), "cases in", base.FOLDER)
