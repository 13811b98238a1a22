#!/usr/bin/env python3
"""Builds small randomly initialised transformers of many families, exports each by several exporters,
rewrites the files as optimisers do, and stores what onnxruntime computes with every file.

    make_families.py OUT [FAMILY...]       FULL=1: more variants; ONLY="ts17 dyn18": these alone; SEED=N: other weights;
                                           EXPORTS="ts7 ts9 ts17 dyn20": exporters with their opsets

A developer's tool: it needs torch, transformers, timm, onnx, onnxruntime, onnxscript, onnxslim and onnxsim.
OUT/FAMILY/ holds VARIANT.onnx, VARIANT.npz (outputs), input.NAME.npy and family.json. What an exporter or a
rewriting tool refuses is noted in family.json. check_families.py reads all of it.
"""
import contextlib, io, json, os, sys, traceback, warnings
warnings.filterwarnings("ignore")
os.environ.setdefault("OMP_NUM_THREADS", "1")
import logging
logging.disable(logging.WARNING)
import numpy as np
import onnx
import onnxruntime as ort
import torch
torch.set_num_threads(1)
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import families  # noqa: E402
import families_more  # noqa: E402, F401: their rows

ort.set_default_logger_severity(4)
FULL = bool(os.environ.get("FULL"))
ONLY = os.environ.get("ONLY", "").split()
EXPORTS = [(e, int(e.lstrip("tsdyn"))) for e in os.environ.get("EXPORTS", "ts11 ts14 ts17 dyn18 dyn23").split()]


def randomise(model, seed):
    """Weights large enough that no output is degenerate."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if not p.is_floating_point():
                continue
            noise = torch.randn(p.shape, generator=g)
            if p.ndim >= 2:
                fan = p[0].numel() if p.ndim > 2 else p.shape[1]
                p.copy_(noise * (0.2 if "mbed" in name or fan < 8 else 1.1 / fan ** 0.5))
            elif name.endswith("bias") or "bias" in name.split(".")[-1]:
                p.copy_(noise * 0.1)
            else:
                p.copy_(1 + noise * 0.1)
        for name, b in model.named_buffers():
            if "running_mean" in name:
                b.copy_(torch.randn(b.shape, generator=g) * 0.1)
            if "running_var" in name:
                b.copy_(torch.rand(b.shape, generator=g) + 0.5)
    return model.eval()


class Positional(torch.nn.Module):
    """Calls the model by keyword, returns a tuple of the named outputs."""
    def __init__(self, model, names, outputs):
        super().__init__()
        self.m, self.names, self.outputs = model, names, outputs

    def forward(self, *args):
        r = self.m(**dict(zip(self.names, args))) if self.names[0] != "*" else self.m(*args)
        if isinstance(r, torch.Tensor):
            return (r,)
        if isinstance(r, (tuple, list)):
            return tuple(r[:len(self.outputs)])
        return tuple(getattr(r, k) if hasattr(r, k) else r[k] for k in self.outputs)


def quiet():
    stack = contextlib.ExitStack()
    for redirect in (contextlib.redirect_stdout, contextlib.redirect_stderr):
        stack.enter_context(redirect(io.StringIO()))
    return stack


def export(fam, model, inputs, kind, opset, path, static=False):
    names = list(inputs)
    keys = ["*"] if fam.positional else names
    wrapper = Positional(model, keys, fam.outputs).eval()
    args = tuple(inputs.values())
    with torch.no_grad(), quiet():
        if kind.startswith("ts"):
            axes = {} if static else {k: {0: "batch", **({1: "tokens"} if fam.text else {})} for k in names}
            torch.onnx.export(wrapper, args, path, input_names=names, output_names=list(fam.outputs), opset_version=opset,
                              dynamo=False, dynamic_axes=axes)
        else:
            torch.onnx.export(wrapper, args, path, input_names=names, output_names=list(fam.outputs), opset_version=opset,
                              dynamo=True, external_data=False, optimize=True)


def session(path, level=ort.GraphOptimizationLevel.ORT_DISABLE_ALL, save=None):
    o = ort.SessionOptions()
    o.graph_optimization_level = level
    o.intra_op_num_threads = 1
    o.log_severity_level = 4
    if save:
        o.optimized_model_filepath = save
    return ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])


def rewrite_slim(a, b, fam, inputs):
    import onnxslim
    with quiet():
        onnx.save(onnxslim.slim(a), b)


def rewrite_sim(a, b, fam, inputs):
    import onnxsim
    with quiet():
        m, ok = onnxsim.simplify(onnx.load(a))
    onnx.save(m, b)


def rewrite_simfix(a, b, fam, inputs):
    """as people do for fixed shapes"""
    import onnxsim
    with quiet():
        m, ok = onnxsim.simplify(onnx.load(a), overwrite_input_shapes={k: list(v.shape) for k, v in inputs.items()})
    onnx.save(m, b)


def rewrite_ort(level):
    def f(a, b, fam, inputs):
        session(a, level, b)
    return f


def rewrite_fused(a, b, fam, inputs):
    from onnxruntime.transformers import optimizer
    with quiet():
        m = optimizer.optimize_model(a, model_type=fam.ort_type, num_heads=fam.heads, hidden_size=fam.width, opt_level=fam.ort_level)
        m.save_model_to_file(b)


def rewrite_fp16(a, b, fam, inputs):
    from onnxruntime.transformers.float16 import convert_float_to_float16
    with quiet():
        onnx.save(convert_float_to_float16(onnx.load(a), keep_io_types=True), b)


def rewrite_int8(a, b, fam, inputs):
    from onnxruntime.quantization import quantize_dynamic, QuantType
    with quiet():
        quantize_dynamic(a, b, weight_type=QuantType.QInt8)


def rewrite_qdq(a, b, fam, inputs):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    names = {i.name for i in onnx.load(a, load_external_data=False).graph.input}  # what is not read is no input any more

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.it = iter([{k: v.numpy() for k, v in inputs.items() if k in names}])

        def get_next(self):
            return next(self.it, None)
    with quiet():
        quantize_static(a, b, Reader(), quant_format=QuantFormat.QDQ, per_channel=True)


L = ort.GraphOptimizationLevel
REWRITES = {"slim": rewrite_slim, "sim": rewrite_sim, "simfix": rewrite_simfix, "ortbasic": rewrite_ort(L.ORT_ENABLE_BASIC),
            "ortext": rewrite_ort(L.ORT_ENABLE_EXTENDED), "ortfused": rewrite_fused, "fp16": rewrite_fp16,
            "int8dyn": rewrite_int8, "qdq": rewrite_qdq}


def store(folder, variant, inputs, notes):
    """inputs: {name: tensor}, or a function of the file's path that gives them"""
    path = f"{folder}/{variant}.onnx"
    inputs = inputs(path) if callable(inputs) else inputs
    s = session(path, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)  # as people run it
    half = {i.name for i in s.get_inputs() if i.type == "tensor(float16)"}
    feeds = {k: v.half().numpy() if k in half else v.numpy() for k, v in inputs.items() if k in {i.name for i in s.get_inputs()}}
    names = [o.name for o in s.get_outputs()]
    np.savez(f"{folder}/{variant}.npz", **dict(zip(names, s.run(None, feeds))))
    notes[variant] = "ok"


def attempt(notes, variant, folder, inputs, make):
    if ONLY and (variant not in ONLY or notes.get(variant) == "ok"):
        return
    path = f"{folder}/{variant}.onnx"
    try:
        make(path)
        store(folder, variant, inputs, notes)
    except Exception as e:  # whatever a tool throws is its answer
        said = (str(e).strip().splitlines() or [""])[0]
        notes[variant] = f"{type(e).__name__}: " + (said if len(said) < 250 else said[:100] + " … " + said[-150:])
        if os.path.exists(path):
            os.remove(path)


def make_family(fam, out):
    folder = f"{out}/{fam.name}"
    os.makedirs(folder, exist_ok=True)
    old = f"{folder}/family.json"
    notes = json.load(open(old))["notes"] if ONLY and os.path.exists(old) else {}  # what is there stays
    torch.manual_seed(1)
    inputs = fam.inputs()
    for k, v in inputs.items():
        np.save(f"{folder}/input.{k}.npy", v.numpy())
    base = None
    for attention in fam.attentions:
        torch.manual_seed(2)
        try:
            model = randomise(fam.build(attention), 3 + int(os.environ.get("SEED", 0)))
        except ValueError as e:  # not every model knows every implementation
            if attention == fam.attentions[0]:
                raise
            notes[attention] = str(e)[:100]
            continue
        suffix = "" if attention == fam.attentions[0] else f"-{attention}"
        for kind, opset in EXPORTS:
            if kind in fam.skip or (suffix and kind in ("ts11", "ts14")):
                continue
            if not FULL and not ONLY and kind + suffix in ("ts11", "dyn23", "dyn18-sdpa"):
                continue
            variant = kind + suffix
            attempt(notes, variant, folder, inputs, lambda p: export(fam, model, inputs, kind, opset, p))
            if FULL and not suffix and kind == "ts17":
                attempt(notes, "ts17static", folder, inputs, lambda p: export(fam, model, inputs, kind, opset, p, True))
        if base is None:
            base = next((b for b in ("ts17", "ts14", "dyn18") if notes.get(b) == "ok"), None)
    if base:
        for name, f in REWRITES.items():
            if (name == "ortfused" and not fam.ort_type) or (not FULL and not ONLY and name in ("sim", "simfix", "ortbasic", "int8dyn")):
                continue
            attempt(notes, f"{base}-{name}", folder, inputs, lambda p: f(f"{folder}/{base}.onnx", p, fam, inputs))
        if (FULL or ONLY) and notes.get("dyn18") == "ok":
            attempt(notes, "dyn18-ortext", folder, inputs, lambda p: REWRITES["ortext"](f"{folder}/dyn18.onnx", p, fam, inputs))
            attempt(notes, "dyn18-slim", folder, inputs, lambda p: rewrite_slim(f"{folder}/dyn18.onnx", p, fam, inputs))
    describe(fam, folder, inputs, base, notes)
    report(fam.name, notes)


def describe(fam, folder, inputs, base, notes):
    json.dump({"family": fam.name, "text": fam.text, "inputs": list(inputs), "outputs": list(fam.outputs), "target": fam.target,
               "output": fam.outputs[fam.output], "explain": fam.explain, "base": base, "notes": notes},
              open(f"{folder}/family.json", "w"), indent=1)


def report(name, notes):
    ok = sum(v == "ok" for v in notes.values())
    print(f"{name}: {ok} of {len(notes)} files" + "".join(f"\n    {k}: {v}" for k, v in notes.items() if v != "ok"), file=log, flush=True)


def only_log():
    """Exporters print from C++ as well: nothing but report() reaches the terminal."""
    global log
    log = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)


def make(rows, out, only):
    only_log()
    for fam in rows:
        if only and fam.name not in only:
            continue
        try:
            make_family(fam, out)
        except Exception as e:
            print(f"{fam.name}: cannot be built: {type(e).__name__} {str(e)[:200]}", file=log, flush=True)
            if os.environ.get("TRACE"):
                traceback.print_exc(file=log)


if __name__ == "__main__":
    make(families.FAMILIES, sys.argv[1], sys.argv[2:])
