#!/usr/bin/env python3
"""Exports a few families with every option of torch's exporters; the same folder layout as make_families.py.

    make_exports.py OUT [FAMILY...]          ONLY="ts17fold …": these alone

A developer's tool, see make_families.py.
"""
import os, sys, tempfile
import onnx
import torch
import families
import make_families as make

FAMILIES = ["bert_pad", "vit", "gpt2_lm", "llama_gqa", "swin", "t5_enc", "clip", "bart", "deberta_v2", "modernbert", "bert_qa", "detr", "whisper", "wav2vec2"]
EXPORTS = {}


def script_export(name, opset, **kw):
    """torch.onnx's older exporter, by tracing"""
    def f(fam, model, inputs, path):
        names = list(inputs)
        wrapper = make.Positional(model, ["*"] if fam.positional else names, fam.outputs).eval()
        axes = {k: {i: f"{k}_{i}" for i in range(v.ndim)} for k, v in inputs.items()} if every else {k: {0: "batch"} for k in names}
        with torch.no_grad(), make.quiet():
            torch.onnx.export(wrapper, tuple(inputs.values()), path, input_names=names, output_names=list(fam.outputs), opset_version=opset, dynamo=False, dynamic_axes=axes, **kw)
    every = kw.pop("every_axis", False)
    EXPORTS[name] = f


for opset in (11, 12, 13, 15, 16, 18, 19, 20):
    script_export(f"ts{opset}", opset)
script_export("ts17every", 17, every_axis=True)
script_export("ts17unfolded", 17, do_constant_folding=False)
script_export("ts17inputs", 17, keep_initializers_as_inputs=True)
script_export("ts17training", 17, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
script_export("ts17fallthrough", 17, operator_export_type=torch.onnx.OperatorExportTypes.ONNX_FALLTHROUGH)
script_export("ts17unverified", 17, verbose=False, custom_opsets={"com.microsoft": 1})
script_export("ts12every", 12, every_axis=True, do_constant_folding=False)


def dynamo_export(name, opset, dynamic=False, decomposed=None, **kw):
    """torch.onnx's newer exporter"""
    def f(fam, model, inputs, path):
        names = list(inputs)
        wrapper = make.Positional(model, ["*"] if fam.positional else names, fam.outputs).eval()
        args = tuple(inputs.values())
        shapes = None
        if dynamic:
            sizes = {}
            shapes = (tuple({i: torch.export.Dim.DYNAMIC for i in range(v.ndim) if v.shape[i] > 1 and (fam.text or dynamic == "every")} for v in args),)
        with torch.no_grad(), make.quiet():
            r = torch.onnx.export(wrapper, args, None if decomposed is not None else path, input_names=names, output_names=list(fam.outputs), opset_version=opset, dynamo=True,
                                  **({"dynamic_shapes": shapes} if shapes else {}), **{"external_data": False, "optimize": True, **kw})
            if decomposed is not None:
                decomposed(r, path)
    EXPORTS[name] = f


for opset in (18, 19, 20, 21, 22, 23, 24):
    dynamo_export(f"dyn{opset}", opset)
dynamo_export("dyn18plain", 18, optimize=False)
dynamo_export("dyn23plain", 23, optimize=False)
dynamo_export("dyn18moving", 18, dynamic=True)
dynamo_export("dyn18every", 18, dynamic="every")
dynamo_export("dyn21moving_plain", 21, dynamic=True, optimize=False)
dynamo_export("dyn24moving", 24, dynamic=True)
dynamo_export("dyn20inputs", 20, keep_initializers_as_inputs=True)
dynamo_export("dyn18outside", 18, external_data=True)
dynamo_export("dyn20verified", 20, verify=True)


@lambda f: EXPORTS.__setitem__("ts17scripted", f)
def scripted(fam, model, inputs, path):
    """torch.jit.trace, frozen, then exported"""
    names = list(inputs)
    wrapper = make.Positional(model, ["*"] if fam.positional else names, fam.outputs).eval()
    with torch.no_grad(), make.quiet():
        traced = torch.jit.freeze(torch.jit.trace(wrapper, tuple(inputs.values()), strict=False))
        torch.onnx.export(traced, tuple(inputs.values()), path, input_names=names, output_names=list(fam.outputs), opset_version=17, dynamo=False)


@lambda f: EXPORTS.__setitem__("fp16_ts17", f)
def half(fam, model, inputs, path):
    """a model in half precision"""
    make.export(fam, model.half(), {k: v.half() if v.is_floating_point() else v for k, v in inputs.items()}, "ts17", 17, path)
    model.float()


@lambda f: EXPORTS.__setitem__("fp16_dyn18", f)
def dynamo_half(fam, model, inputs, path):
    make.export(fam, model.half(), {k: v.half() if v.is_floating_point() else v for k, v in inputs.items()}, "dyn18", 18, path)
    model.float()


@lambda f: EXPORTS.__setitem__("fp16_dyn18_bfloat", f)
def dynamo_bfloat(fam, model, inputs, path):
    """weights in bfloat16, cast back in front of every operator by autocast"""
    try:
        make.export(fam, model.bfloat16(), {k: v.bfloat16() if v.is_floating_point() else v for k, v in inputs.items()}, "dyn18", 18, path)
    finally:
        model.float()


def make_all(fam, out):
    folder = f"{out}/{fam.name}"
    os.makedirs(folder, exist_ok=True)
    notes = {}
    torch.manual_seed(1)
    inputs = fam.inputs()
    for k, v in inputs.items():
        make.np.save(f"{folder}/input.{k}.npy", v.numpy())
    for attention in fam.attentions[:2]:
        torch.manual_seed(2)
        model = make.randomise(fam.build(attention), 3)
        suffix = "" if attention == fam.attentions[0] else "-" + attention
        make.attempt(notes, "ts17" + suffix, folder, inputs, lambda p: make.export(fam, model, inputs, "ts", 17, p))
        for name, f in EXPORTS.items():
            if suffix and not (name.startswith("dyn2") or name in ("ts17scripted", "ts17every", "dyn18moving")):
                continue
            make.attempt(notes, name + suffix, folder, inputs, lambda p: f(fam, model, inputs, p))
    make.describe(fam, folder, inputs, next((k for k, v in notes.items() if v == "ok"), None), notes)
    return notes


def main():
    make.only_log()
    out, names = os.path.abspath(sys.argv[1]), sys.argv[2:] or FAMILIES
    scratch = tempfile.TemporaryDirectory()
    os.chdir(scratch.name)
    for fam in families.FAMILIES:
        if fam.name in names:
            try:
                make.report(fam.name, make_all(fam, out))
            except Exception as e:
                print(f"{fam.name}: cannot be built: {type(e).__name__} {str(e)[:200]}", file=make.log, flush=True)


if __name__ == "__main__":
    main()
