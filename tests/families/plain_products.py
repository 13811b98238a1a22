#!/usr/bin/env python3
"""What an explanation would be if Gemm without transB had no relevance rule and R went through it as a gradient does, R Wᵀ.

    plain_products.py FOLDER EXPECTED.npz I,J [I,J ...]

FOLDER holds model.onnx and input.NAME.npy; EXPECTED fused_nN_bK_tI_J, readout_nN_tI_J and tiba_rownorm_nN_tI_J of one text tower.
Prints the largest deviations of the blocks and of the tokens from the expected ones: by the rules of docs/method.md, and so. torch's
Conv1D, of which transformers' GPT-2 is made, calls addmm(bias, x, W), which exporters write as such a Gemm; numbers that agree with the
second line only were computed by a tool that took addmm for no linear layer. Relevance is not conserved then.
"""
import glob, os, re, sys
import numpy as np
import onnx
from reference import Reference, relative, rollout
from rewritten import attr


class PlainProducts(Reference):
    def step(self, n, r):
        if n.op_type == "Gemm" and not attr(n, "transB", 0) and n.input[0] in self.active:
            return {n.input[0]: r[0] @ self.const_of(n.input[1]).T}
        return super().step(n, r)


def main(folder, expected, *targets):
    want = np.load(expected)
    feeds = {os.path.basename(p)[len("input."):-len(".npy")]: np.load(p) for p in glob.glob(folder + "/input.*.npy")}
    output = onnx.load(folder + "/model.onnx").graph.output[0].name
    for target in targets:
        t = target.replace(",", "_")
        n = next(m.group(1) for k in want.files if (m := re.fullmatch(f"readout_n(.*)_t{t}", k)))
        w = want[f"readout_n{n}_t{t}"]
        for kind in (Reference, PlainProducts):
            blocks = [b for _, b in kind(folder + "/model.onnx", feeds, output, [int(i) for i in target.split(",")], "exact").explain()]
            off = [relative(b, want[f"fused_n{n}_b{k}_t{t}"]) for k, b in enumerate(blocks)]
            tokens = relative(rollout(w, blocks, True), want[f"tiba_rownorm_n{n}_t{t}"], w)
            print(target, kind.__name__, "blocks", *(f"{v:.1e}" for v in off), f"tokens {tokens:.1e}")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
