"""Why a file's explanation is not its family's: what check_families.py --why asks, with evidence that does not come from the
program. find() tries, in this order:

- own: reference.py, in float64 and sharing no code with the program, gives the program's explanation for that very file
  (so the exporter or tool changed the numbers, not the program); outputs of half precision count as right where onnxruntime
  computes the same with all of the file's float16 widened to float32, outputs of integers where its own optimiser moves them by as
  much: one integer near a tie moves all that follows;
- own, where reference.py cannot tell: the float file explains the same once its numbers are rounded to half precision, or
  onnxruntime's own outputs say that the tool changed what the model computes;
- float32: weights moved by at most one unit in the last place of float32 move the explanation by as much.
"""
import os, sys, tempfile
import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import numpy_helper
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check_families as check  # noqa: E402
import reference  # noqa: E402
import rewritten  # noqa: E402
import routes  # noqa: E402

torch.set_num_threads(1)
ort.set_default_logger_severity(4)
LEVEL = ort.GraphOptimizationLevel


def outputs(model, folder, family, level):
    o = ort.SessionOptions()
    o.graph_optimization_level, o.intra_op_num_threads = level, 1
    s = ort.InferenceSession(model if isinstance(model, str) else model.SerializeToString(), o, providers=["CPUExecutionProvider"])
    kinds = {"tensor(int32)": np.int32, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}
    feeds = {i.name: np.load(f"{folder}/input.{i.name}.npy") for i in s.get_inputs()}
    feeds = {i.name: feeds[i.name].astype(kinds.get(i.type, feeds[i.name].dtype)) for i in s.get_inputs()}
    return dict(zip([x.name for x in s.get_outputs()], s.run(None, feeds)))


def outputs_reason(folder, variant, family, got):
    """Why the outputs may differ from onnxruntime's with that file; None if there is no reason."""
    path = f"{folder}/{variant}.onnx"
    want = np.load(f"{folder}/{variant}.npz")

    def apart(these):
        return max(check.relative(got["outputs"][k.replace("/", "_")], these[k]) for k in want.files)
    plain = outputs(path, folder, family, LEVEL.ORT_DISABLE_ALL)
    off = max(check.relative(plain[k], want[k]) for k in want.files)
    if apart(plain) <= 1e-4:
        return f"outputs are onnxruntime's without its optimiser, which moves them by {off:.0e}"
    if check.rough_of(variant) and apart({k: want[k] for k in want.files}) <= off:  # integers near ties, each of which moves all that follows
        return f"onnxruntime's own optimiser moves the outputs by as much ({off:.0e})"
    wide = outputs(rewritten.widened(onnx.load(path)), folder, family, LEVEL.ORT_DISABLE_ALL)
    off = max(check.relative(wide[k], want[k]) for k in want.files)
    if apart(wide) <= min(off, 1e-3):
        return f"outputs are onnxruntime's with float16 widened to float32; its half precision is {off:.0e} away"
    return None


def from_float(folder, variant, family, base):
    """how far the file's outputs are from the float file's, both by onnxruntime"""
    k = check.output_of(folder, base, family) or next(iter(np.load(f"{folder}/{base}.npz").files))
    a, b = np.load(f"{folder}/{variant}.npz"), np.load(f"{folder}/{base}.npz")
    mine = k if k in a.files else a.files[b.files.index(k)] if k in b.files and len(a.files) == len(b.files) else None  # exporters' own names
    return check.relative(a[mine], b[k]) if mine and k in b.files else float("nan")


def by_reference(tool, folder, variant, family, limit, apart):
    """(largest deviation of the program's tokens from reference.py's for that very file, what was done to compare), of the towers
    that are asked for; (None, "") where it cannot tell"""
    path = f"{folder}/{variant}.onnx"
    try:
        found = reference.compare(tool, path, check.feeds_of(folder, path, family), check.target_of(folder, variant, family), check.output_of(folder, variant, family))
        if os.path.basename(folder) in routes.FAMILIES:  # tokens move or merge
            d, single = routes.check(tool, folder, variant, "tiba")
            return d, "with every value rounded to float32" if single else ""
    except Exception:  # an operator that it does not know
        return None, ""
    if isinstance(found, str):
        return None, ""
    found = [r for r in found if r[0] in apart or len(found) == 1]
    if not found or any(len(r) == 2 for r in found):
        return None, ""
    return float(np.nanmax([v for r in found for v in r[2:6]])), " ".join(found[0][6:])


def with_numbers(path, change):
    """The model with `change` of every finite float32 array in it."""
    m = onnx.load(path)
    constants = [a.t for n in m.graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"]
    for t in [*m.graph.initializer, *constants]:
        if t.data_type == onnx.TensorProto.FLOAT:
            w = numpy_helper.to_array(t)
            with np.errstate(over="ignore"):
                v = change(w)
            t.CopyFrom(numpy_helper.from_array(np.where((w == 0) | ~np.isfinite(w) | ~np.isfinite(v), w, v).astype(np.float32), t.name))
    return m


def nudge(seed):
    """Whole numbers stay: they are no weights, and the 1 of a mask's (1 - mask) times -3e38 masks every token once it is no 1."""
    g = np.random.default_rng(seed)

    def change(w):
        towards = np.where(g.random(w.shape) < 0.5, -np.inf, np.inf).astype(np.float32)
        return np.where((g.random(w.shape) < 2 / 3) & (w != np.rint(w)), np.nextafter(w, towards), w)
    return change


def halved(w):
    return w if w.size == 1 and np.any(rewritten.GELU == w) else w.astype(np.float16).astype(np.float32)


def changed(tool, folder, variant, family, change):
    path = f"{folder}/{variant}.onnx"
    with tempfile.TemporaryDirectory() as tmp:
        onnx.save(with_numbers(path, change), tmp + "/m.onnx")
        return check.explain(tool, tmp + "/m.onnx", check.feeds_of(folder, path, family), check.target_of(folder, variant, family), check.output_of(folder, variant, family))


def by_rounding(tool, folder, variant, family, result, rough):
    """how far the explanation moves with the last place of the weights"""
    moved = [changed(tool, folder, variant, family, nudge(seed)) for seed in range(4)]
    return max([check.deviation(got, result, rough)[0] for got in moved if not got["error"]], default=0.0)


def find(tool, folder, row, family, base, results):
    """(state, reason) or None"""
    variant, rough, said = row["variant"], check.rough_of(row["variant"]), []
    if not row["forward"] <= (rough[0] if rough else 1e-4):
        reason = outputs_reason(folder, variant, family, results[variant])
        if not reason:
            return None
        said.append(reason)
    if row["tokens"] <= (rough[1] if rough else 1e-3):
        return "own", said[0]
    limit = 1e-2 if rough else 1e-3
    apart, _ = check.deviation(results[variant], results[base], rough, rough[1] if rough else 1e-3)
    d, how = by_reference(tool, folder, variant, family, limit, apart)
    if d is not None and d <= limit:
        away = from_float(folder, variant, family, base)
        said.append(("float64 " + how).strip() + f" agrees for this file ({d:.0e})" + (f"; its outputs are {away:.0e} from the float file's" if rough else ""))
        return "own", "; ".join(said)
    if rough and "fp16" in variant:
        got = changed(tool, folder, base, family, halved)
        d = 1.0 if got["error"] else check.deviation(got, results[variant], None)[0]
        if d <= limit:
            said.append(f"the float file with its numbers rounded to half precision explains the same ({d:.0e})")
            return "own", "; ".join(said)
    if from_float(folder, variant, family, base) > (5 * rough[0] if rough else 1e-3):  # more than rounding does
        return "own", f"the tool changed the model: onnxruntime's own outputs are {from_float(folder, variant, family, base):.0e} from {base}'s"
    moved = [by_rounding(tool, folder, v, family, results[v], rough) for v in dict.fromkeys([variant, base])]
    if max(moved) >= row["tokens"] / 2:
        said.append(f"one unit in the weights' last float32 place moves it by {max(moved):.0e}" + ("" if d is None else f" (float64 is {d:.0e} away)"))
        return "float32", "; ".join(said)
    return None
