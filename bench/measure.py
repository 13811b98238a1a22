"""Running the program and onnxruntime and reading what they took. Every function here returns plain numbers;
what is compared with what is said in run.py."""
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


class Tool:
    """The program under measurement."""

    def __init__(self, build, work):
        self.path, self.peak_path, self.work = (os.path.join(build, "tiba-onnx"),
                                                os.path.join(build, "bench", "bench_peak"), work)

    def command(self, *arguments):
        """Runs it; (its standard output, seconds, peak resident bytes)."""
        start = time.perf_counter()
        process = subprocess.Popen([self.path, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   cwd=self.work)
        out, err = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"tiba-onnx {' '.join(map(str, arguments))}: exit {process.returncode}: "
                             f"{err.decode(errors='replace').strip()}")
        return out, seconds, usage.ru_maxrss * 1024

    def explain(self, model, inputs, threads, repeat, *more):
        """The report of an explanation that is repeated in one process."""
        out, _, peak = self.command(model, *inputs, "--threads", threads, "--repeat", repeat, "--json", "-", *more)
        report = json.loads(out)
        report["peak_bytes"] = peak
        return report

    def peak(self, threads):
        """What the machine can do: GFLOP/s and GB/s."""
        return json.loads(subprocess.run([self.peak_path, str(threads)], capture_output=True, check=True).stdout)


class Runtime:
    """onnxruntime with one model and a number of threads, in a process of its own."""

    def __init__(self, model, threads, feeds):
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "ort_worker.py"), model, str(threads), feeds],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        words = self.process.stdout.readline().split()
        if not words or words[0] != "ready":
            raise SystemExit(f"onnxruntime cannot run {model}")
        self.version = words[1]

    def forward(self, repeat):
        self.process.stdin.write(f"{repeat}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Inputs:
    """The same inputs for both programs, made once: arrays as .npy and .npz, photographs as .jpg."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)

    def arrays(self, key, feeds):
        """(arguments for the program, .npz for onnxruntime)"""
        packed = os.path.join(self.folder, key + ".npz")
        np.savez(packed, **feeds)
        arguments = []
        for name, array in feeds.items():
            path = os.path.join(self.folder, f"{key}.{name}.npy")
            np.save(path, array)
            arguments.append(f"{name}={path}")
        return arguments, packed

    def pixels(self):
        x = np.random.default_rng(1).standard_normal((1, 3, 224, 224), dtype=np.float32)
        return self.arrays("pixels", {"pixel_values": x})

    def tokens(self, count, words):
        ids = np.random.default_rng(count).integers(0, words, (1, count))
        return self.arrays(f"tokens-{count}", {"input_ids": ids, "attention_mask": np.ones_like(ids),
                                               "token_type_ids": np.zeros_like(ids)})

    def pictures(self, count):
        """A folder of `count` different photographs, 640 x 480."""
        from PIL import Image
        folder = os.path.join(self.folder, f"pictures-{count}")
        if len(glob.glob(folder + "/*.jpg")) == count:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        for i in range(count):
            small = np.random.default_rng(i).integers(0, 256, (24, 32, 3), dtype=np.uint8)
            Image.fromarray(small).resize((640, 480), Image.BICUBIC).save(os.path.join(folder, f"{i:03}.jpg"), quality=90)
        return folder


def middle(values):
    return statistics.median(values)


def spread(values):
    return [min(values), max(values)]
