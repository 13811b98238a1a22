"""Mixtures of experts."""
import numpy as np

from lower_cases.base import MS, case, f, part, rng
from lower_cases.quantised import packed


@part
def experts():
    """Mixtures of experts. onnxruntime's CPU kernels have no third layer and no gate that is not interleaved."""
    n, d, h = 4, 8, 6
    x, scores = f(2, 3, d), f(6, n)

    def moe(name, gate=1, tokens=x, **attributes):
        case("moe_" + name, "MoE", [tokens, scores, f(n, gate * h, d), f(n, gate * h), f(n, d, h), f(n, d)], domain=MS, fixed=(2, 3, 4, 5), **attributes)

    moe("relu")
    moe("silu", activation_type="silu", k=2)
    moe("gelu", activation_type="gelu", k=3, normalize_routing_weights=1)
    moe("identity", activation_type="identity", k=2, normalize_routing_weights=1, tokens=f(6, d))
    gated = {"activation_type": "swiglu", "k": 2, "normalize_routing_weights": 1, "swiglu_fusion": 1, "activation_alpha": 1.702, "activation_beta": 1.0}
    moe("swiglu", gate=2, **gated)
    moe("swiglu_limit", gate=2, swiglu_limit=0.7, **gated)

    def by_definition(name, gate, first, second, third=None, **attributes):
        """The documented formula, where there is no kernel to ask."""
        tokens, silu = f(6, d), lambda z: z / (1 + np.exp(-z))
        chosen = np.argsort(-scores, axis=1)[:, :2]
        share = np.take_along_axis(np.exp(scores) / np.exp(scores).sum(1, keepdims=True), chosen, 1)
        want = np.zeros((6, d))
        for i in range(6):
            for e, weight in zip(chosen[i], share[i]):
                z = first[e].astype(np.float64) @ tokens[i]
                left, right = (z[:h], z[h:]) if third is None else (z, third[e] @ tokens[i])
                want[i] += weight * (second[e] @ (silu(left) * right))
        case("moe_" + name, "MoE", [tokens, scores, first, None, second, None, *([] if third is None else [third])], domain=MS, fixed=(2, 4, 6), k=2,
             wanted=[want], **attributes)

    by_definition("swiglu_halves", 2, f(n, 2 * h, d), f(n, d, h), activation_type="swiglu", swiglu_fusion=2)
    by_definition("swiglu_apart", 1, f(n, h, d), f(n, d, h), f(n, h, d), activation_type="swiglu")
    by_definition("silu_third", 1, f(n, h, d), f(n, d, h), f(n, h, d), activation_type="silu")
    d, h = 32, 16
    x = f(2, 3, d)
    for bits, block in ((4, 0), (4, 16), (8, 0)):  # with 8 bits in blocks onnxruntime rounds the activations as well
        for gate in (1, 2):
            first, second = rng.integers(0, 2**bits, (n, gate * h, d)), rng.integers(0, 2**bits, (n, d, h))
            blocks = lambda *shape, size: 0.02 + np.abs(f(*shape, *([size // block] if block else []), scale=0.02))
            more = {**gated, "swiglu_limit": 7.0} if gate == 2 else {"activation_type": "silu", "k": 2}
            case(f"qmoe_{bits}_{block}_{gate}", "QMoE", [x, scores, packed(first, bits), blocks(n, gate * h, size=d), f(n, gate * h), packed(second, bits),
                 blocks(n, d, size=h), f(n, d)], domain=MS, fixed=(2, 3, 4, 5, 6, 7), expert_weight_bits=bits, **({"block_size": block} if block else {}), **more)


@part
def expert_parts():
    """QMoE with zero points, weights of the router, bits of their own; gates after the limit."""
    n, d, h = 4, 32, 16
    x, scores = f(2, 3, d), f(6, n)
    silu = {"activation_type": "silu", "k": 2}
    for bits in (2, 4, 8):
        for block in (0, 16):
            if bits == 8 and block:
                continue  # there onnxruntime rounds the activations as well
            first, second = rng.integers(0, 2**bits, (n, h, d)), rng.integers(0, 2**bits, (n, d, h))
            sizes = lambda rows, columns: (n, rows, columns // block) if block else (n, rows)
            zeros = [packed(rng.integers(0, 2**bits, sizes(*s)), bits) for s in ((h, d), (d, h))]
            scale = lambda *s: 0.02 + np.abs(f(*sizes(*s), scale=0.02))
            case(f"qmoe_zeros_{bits}_{block}", "QMoE", [x, scores, packed(first, bits), scale(h, d), f(n, h), packed(second, bits), scale(d, h), f(n, d), None, None, None, *zeros],
                 domain=MS, fixed=(2, 3, 4, 5, 6, 7, 11, 12), expert_weight_bits=bits, **({"block_size": block} if block else {}), **silu)
    first, second = rng.integers(0, 16, (n, h, d)), rng.integers(0, 16, (n, d, h))
    given = [packed(first, 4), 0.02 + np.abs(f(n, h, scale=0.02)), f(n, h), packed(second, 4), 0.02 + np.abs(f(n, d, scale=0.02)), f(n, d)]
    for normal in (0, 1):
        case(f"qmoe_router_{normal}", "QMoE", [x, scores, *given, None, None, None, None, None, None, np.abs(f(6, n))], domain=MS, fixed=(2, 3, 4, 5, 6, 7),
             expert_weight_bits=4, normalize_routing_weights=normal, **silu)
