"""The benchmark of docs/performance.md: measures, prints the table, writes results.json and roofline.png.

Measurements are made of interleaved rounds and kept in results.json, so that one row can be measured again alone;
bench/run.sh calls this with everything it needs."""
import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time

from measure import Inputs, Runtime, Tool, middle, spread
import models
import roofline

HERE = os.path.dirname(os.path.abspath(__file__))
TIMES = ("forward", "backward", "rollout")
MODELS = ("vit_b16", "bert_base")


class Bench:
    """What measurements share: programs, models, inputs, how often to repeat."""

    def __init__(self, options):
        self.tool = Tool(options.build, options.work)
        self.inputs = Inputs(os.path.join(options.work, "inputs"))
        self.rounds, self.repeat = (3, 3) if options.quick else (5, 4)
        folder = os.path.join(options.work, "models")
        # elsewhere: a process that starts another passes its own peak of memory on to it
        subprocess.run([sys.executable, models.__file__, folder], check=True)
        self.paths = {name: os.path.join(folder, name, "model.onnx") for name in (*MODELS, "tokens")}
        for given in options.model:
            name, _, path = given.partition("=")
            self.paths[name] = path
        self.folder = options.work

    def feeds(self, name):
        return self.inputs.pixels() if name == "vit_b16" else self.inputs.tokens(128, 30522)

    def weights(self, name):
        folder = os.path.dirname(self.paths[name])
        return sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder) if not os.path.isdir(f))


def measure_forward(bench, name):
    """Rounds of onnxruntime and the program in turn, with one and two threads."""
    arguments, packed = bench.feeds(name)
    runtimes = {t: Runtime(bench.paths[name], t, packed) for t in (2, 1)}
    rounds = []
    for _ in range(bench.rounds):
        one = {}
        for threads in (2, 1):
            # onnxruntime before and after, so that a drift of the machine's speed is in both
            before = runtimes[threads].forward(bench.repeat)
            report = bench.tool.explain(bench.paths[name], arguments, threads, bench.repeat)
            after = runtimes[threads].forward(bench.repeat)
            one[threads] = {"onnxruntime": (before + after) / 2, **report["timings"]}
        rounds.append(one)
    version = runtimes[1].version
    for runtime in runtimes.values():
        runtime.close()
    return {"onnxruntime": version, "rounds": rounds}


def measure_classes(bench, name):
    """One class and three, in turn."""
    arguments, _ = bench.feeds(name)
    rounds = []
    for _ in range(bench.rounds):
        few, many = (bench.tool.explain(bench.paths[name], arguments, 2, bench.repeat, *c)["timings"]
                     for c in (["--class", "0"], ["--class", "0", "--class", "1", "--class", "0"]))
        rounds.append({"one": few, "three": many})
    return {"rounds": rounds}


def measure_memory(bench, name):
    """Peak memory of a whole explanation with its picture, JSON and all."""
    if name == "vit_b16":
        picture = os.path.join(bench.inputs.pictures(34), "000.jpg")
        extra = [picture, "-o", os.path.join(bench.folder, "map.png")]
    else:
        extra = bench.feeds(name)[0]
    peaks = [bench.tool.command(bench.paths[name], *extra, "--json", os.path.join(bench.folder, "map.json"), "--threads", 2)[2]
             for _ in range(3)]
    return {"peaks": peaks, "weights": bench.weights(name)}


def measure_start(bench, name):
    arguments, _ = bench.feeds(name)
    rounds = [bench.tool.explain(bench.paths[name], arguments, 2, 1)["timings"] for _ in range(bench.rounds)]
    return {"seconds": [t["open"] + t["bind"] + t["plan"] for t in rounds]}


def measure_batch(bench, name):
    """34 pictures less 2 in `batch`, against a picture that is repeated in one process."""
    few, many = bench.inputs.pictures(2), bench.inputs.pictures(34)
    out = os.path.join(bench.folder, "batch")
    rounds = []
    for _ in range(max(3, bench.rounds - 2)):
        t = bench.tool.explain(bench.paths[name], [os.path.join(many, "000.jpg")], 2, bench.repeat)["timings"]
        seconds = []
        for folder in (few, many):
            shutil.rmtree(out, ignore_errors=True)
            seconds.append(bench.tool.command("batch", bench.paths[name], folder, "-O", out)[1])
        rounds.append({"single": sum(t[k] for k in ("input", *TIMES, "render") if k in t),
                       "batch": (seconds[1] - seconds[0]) / 32})
    shutil.rmtree(out, ignore_errors=True)
    return {"rounds": rounds}


def measure_tokens(bench, name):
    """The same model at growing lengths: seconds, and the work that grows with N and with N^2."""
    lengths = {}
    for n in (64, 96, 128, 192, 256, 384, 512, 768, 1024):
        arguments, _ = bench.inputs.tokens(n, 1000)
        rounds = [bench.tool.explain(bench.paths[name], arguments, 2, max(2, bench.repeat - n // 300))["timings"]
                  for _ in range(2)]
        width, depth = 768, 4
        lengths[n] = {**{k: min(t[k] for t in rounds) for k in TIMES},
                      "forward_gflop": 1e-9 * depth * (24 * n * width**2 + 4 * n * n * width)}
    return {"lengths": lengths}


def measure_precision(bench, name):
    """float32 and the converted models in turn; the program and onnxruntime."""
    arguments, packed = bench.feeds(name)
    paths = {"float32": bench.paths[name], **{k: models.convert(bench.paths[name], k, packed) for k in models.KINDS}}
    runtimes = {k: Runtime(path, 2, packed) for k, path in paths.items()}
    rounds = []
    for _ in range(max(3, bench.rounds - 2)):
        rounds.append({k: {"onnxruntime": runtimes[k].forward(bench.repeat),
                           **bench.tool.explain(path, arguments, 2, bench.repeat)["timings"]}
                       for k, path in paths.items()})
    for runtime in runtimes.values():
        runtime.close()
    return {"rounds": rounds}


def measure_roofline(bench, name):
    """What the machine can do, and what each phase and kind of operator does, with one and two threads."""
    arguments, _ = bench.feeds(name)
    return {str(t): {"peak": bench.tool.peak(t),
                     "profile": bench.tool.explain(bench.paths[name], arguments, t, bench.repeat, "--profile")["profile"]}
            for t in (1, 2)}


MEASUREMENTS = {"forward": (measure_forward, MODELS), "classes": (measure_classes, MODELS),
                "memory": (measure_memory, MODELS), "start": (measure_start, MODELS),
                "batch": (measure_batch, ("vit_b16",)), "tokens": (measure_tokens, ("tokens",)),
                "precision": (measure_precision, MODELS), "roofline": (measure_roofline, MODELS)}


# ------------------------------------------------------------------------------------------ rows

def total(t):
    return sum(t[k] for k in TIMES)


def rows_of(results):
    """(measurement, what, values, must, aim, unit) for everything that has been measured."""
    def each(kind):
        return [(m, r) for m in MODELS for r in [results.get(f"{kind}/{m}")] if r]
    for m, r in each("forward"):
        for threads in ("2", "1"):
            ratio = [x[threads]["forward"] / x[threads]["onnxruntime"] for x in r["rounds"]]
            yield "forward", f"{m}: forward / onnxruntime {r['onnxruntime']}, {threads} threads", ratio, 1.15, 1.0, "x"
    for m, r in each("forward"):
        for threads in ("2", "1"):
            ratio = [total(x[threads]) / x[threads]["forward"] for x in r["rounds"]]
            yield "forward", f"{m}: whole explanation / forward, {threads} threads", ratio, 5.2, 4.7, "x"
    for m, r in each("classes"):
        ratio = [(total(x["three"]) - total(x["one"])) / 2 / x["one"]["forward"] for x in r["rounds"]]
        yield "classes", f"{m}: each further class / forward, 2 threads", ratio, 3.1, 2.7, "x"
    for m, r in each("memory"):
        more = [(p - r["weights"]) / 1e6 for p in r["peaks"]]
        yield "memory", f"{m}: peak memory over weights of {r['weights'] / 1e6:.0f} MB", more, 250, 120, "MB"
    for m, r in each("start"):
        yield "start", f"{m}: open + bind + plan, file cached", r["seconds"], 0.30, 0.10, "s"
    for m, r in each("batch"):
        ratio = [x["batch"] / x["single"] for x in r["rounds"]]
        yield "batch", f"{m}: batch of 32 pictures, each / a single one", ratio, 0.95, 0.85, "x"
    for m, r in each("forward"):
        for key in ("forward", "explanation"):
            work = total if key == "explanation" else lambda t: t["forward"]
            ratio = [work(x["1"]) / work(x["2"]) for x in r["rounds"]]
            yield "forward", f"{m}: one thread / two, {key}", ratio, -1.8, -1.8, "x"
    for m, r in each("precision"):
        for kind in models.KINDS:
            for key in ("forward", "explanation"):
                work = total if key == "explanation" else lambda t: t["forward"]
                ratio = [work(x[kind]) / work(x["float32"]) for x in r["rounds"]]
                yield "precision", f"{m}: {kind} / float32, {key}", ratio, 1.0, 1.0, "x"


def verdict(value, must, aim):
    if must < 0: # at least
        return "ok" if value >= -must else "SHORT"
    return "aim" if value <= aim else "ok" if value <= must else "SHORT"


def print_table(results):
    print(f"\n{'what':68} {'median':>8} {'spread':>17} {'must':>8} {'aim':>7}")
    for _, what, values, must, aim, unit in rows_of(results):
        low, high = spread(values)
        sign = ">=" if must < 0 else "<="
        print(f"{what:68} {middle(values):8.3f} {low:8.3f}-{high:<8.3f} {sign}{abs(must):<6g} {sign}{abs(aim):<6g} {unit:3}"
              f"{verdict(middle(values), must, aim)}")
    for m in MODELS:
        r = results.get(f"forward/{m}")
        for threads in ("2", "1"):
            if r:
                t = {k: middle([x[threads][k] for x in r["rounds"]]) for k in ("onnxruntime", *TIMES)}
                print(f"{m}, {threads} threads, seconds: " + ", ".join(f"{k} {v:.4f}" for k, v in t.items()))
    r = results.get("batch/vit_b16")
    if r:
        print("batch, seconds for a picture: " + ", ".join(
            f"{k} {middle([x[k] for x in r['rounds']]):.4f}" for k in ("single", "batch")))
    r = results.get("tokens/tokens")
    if r:
        print("\ntokens at width 768, 4 layers, 2 threads: milliseconds, and GFLOP/s by the products' 24 N D^2 + 4 N^2 D")
        print(f"{'tokens':>7} {'forward':>9} {'GFLOP/s':>8} {'backward':>9} {'rollout':>8} {'whole / forward':>16}")
        for n, t in r["lengths"].items():
            print(f"{n:>7} {1e3 * t['forward']:9.2f} {t['forward_gflop'] / t['forward']:8.1f} {1e3 * t['backward']:9.2f}"
                  f" {1e3 * t['rollout']:8.2f} {total(t) / t['forward']:16.2f}")
    print_roofline(results)
    for m in MODELS:
        r = results.get(f"precision/{m}")
        for kind in ("float32", *models.KINDS):
            if r:
                t = {k: middle([x[kind][k] for x in r["rounds"]]) for k in ("onnxruntime", "forward", "backward")}
                print(f"{m} {kind}, seconds: " + ", ".join(f"{k} {v:.4f}" for k, v in t.items()))


def print_roofline(results):
    """Achieved GFLOP/s of the products of each phase, and of the operators that have most of the time."""
    for m in MODELS:
        for threads, r in results.get(f"roofline/{m}", {}).items():
            peak = r["peak"]
            print(f"\n{m}, {threads} threads: SGEMM does {peak['gflops']:.0f} GFLOP/s, memory reads {peak['gbytes_per_second']:.0f} GB/s")
            for phase in ("forward", "backward"):
                whole = next(p for p in r["profile"]["phases"] if p["phase"] == phase)
                rows = [o for o in r["profile"]["operators"] if o["phase"] == phase][:5]
                for name, x in [(phase, whole)] + [("  " + o["operator"], o) for o in rows]:
                    speed = f"{x['gflop'] / x['seconds']:7.1f} GFLOP/s ({100 * x['gflop'] / x['seconds'] / peak['gflops']:3.0f} %)" \
                        if x["gflop"] else " " * 23
                    print(f"  {name:24} {1e3 * x['seconds']:8.2f} ms {speed} {1e-9 * x['bytes'] / x['seconds']:7.1f} GB/s")


def compare(results, stored):
    """Warns of rows that are worse than they were when bench/expected.json was written."""
    expected = json.load(open(stored))
    for _, what, values, must, _, unit in rows_of(results):
        before, now = expected.get(plain(what)), middle(values)
        if before is None:
            continue
        worse = before / now if must < 0 else now / before
        if worse > 1.15 and (unit == "x" or abs(now - before) > 0.02 * must):
            print(f"warning: {what}: {now:.3f}, was {before:.3f}")


def plain(what):
    """A row's name without onnxruntime's version."""
    return re.sub(r"onnxruntime \S+", "onnxruntime", what)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, help="folder of the built program")
    parser.add_argument("--work", required=True, help="folder for models, inputs, results")
    parser.add_argument("--only", action="append", choices=MEASUREMENTS, default=[], help="measure this only; repeatable")
    parser.add_argument("--missing", action="store_true", help="measure what results.json lacks: go on after a stop")
    parser.add_argument("--show", action="store_true", help="measure nothing, print what is there")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=FILE",
                        help="take this file for vit_b16, bert_base or tokens instead of the skeleton")
    parser.add_argument("--store", action="store_true", help="write the medians to bench/expected.json, for later runs")
    options = parser.parse_args()
    path = os.path.join(options.work, "results.json")
    results = json.load(open(path)) if os.path.exists(path) else {}
    if not options.show:
        bench = Bench(options)
        results["machine"] = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(),
                              "kernel": platform.release(), "python": platform.python_version()}
        for kind, (function, names) in MEASUREMENTS.items():
            for name in names:
                key = f"{kind}/{name}"
                if (options.only and kind not in options.only) or (options.missing and key in results):
                    continue
                start = time.perf_counter()
                results[key] = json.loads(json.dumps(function(bench, name)))
                print(f"measured {key} in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
                with open(path + ".part", "w") as f:
                    json.dump(results, f, indent=1)
                os.replace(path + ".part", path)
    print_table(results)
    stored = os.path.join(HERE, "expected.json")
    if options.store:
        with open(stored, "w") as f:
            json.dump({plain(what): round(middle(values), 3) for _, what, values, *_ in rows_of(results)}, f, indent=1)
            f.write("\n")
    elif os.path.exists(stored):
        compare(results, stored)
    if any(key.startswith("roofline/") for key in results):
        roofline.draw(results, MODELS, os.path.join(options.work, "roofline.png"))
    print(f"\n{path}" + (f" {os.path.join(options.work, 'roofline.png')}" if "roofline/vit_b16" in results else ""))


if __name__ == "__main__":
    main()
