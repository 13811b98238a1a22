"""Linear attention and gated delta rules."""
import numpy as np

from lower_cases.base import MS, case, f, i32, part

RULES = ("linear", "gated", "delta", "gated_delta")


def decays(*shape):
    return -np.abs(f(*shape))


def rates(*shape):
    return 1 / (1 + np.exp(-f(*shape)))


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def operands(rule, batch, tokens, heads, size, per_key=False):
    """Decay and rate, where the rule has them."""
    gate = decays(batch, tokens, heads * (size if per_key else 1)) if "gated" in rule else None
    return gate, rates(batch, tokens, heads) if "delta" in rule else None


@part
def linear_attention():
    def keys(*shape):
        return unit(f(*shape, 4)).reshape(*shape[:2], -1)

    for rule in RULES:
        given = [f(2, 3, 8), keys(2, 3, 2), f(2, 3, 6)]
        case(f"linear_attention_{rule}", "LinearAttention", [*given, None, *operands(rule, 2, 3, 2, 4)], 2, domain=MS, q_num_heads=2, kv_num_heads=2, update_rule=rule)
    past = f(1, 2, 4, 3)
    case("linear_attention_past", "LinearAttention", [f(1, 2, 8), keys(1, 2, 2), f(1, 2, 6), past, *operands("gated_delta", 1, 2, 2, 4, per_key=True)], 2, domain=MS,
         q_num_heads=2, kv_num_heads=2, scale=0.3)
    case("linear_attention_shared", "LinearAttention", [f(1, 3, 16), keys(1, 3, 2), f(1, 3, 6), past, decays(1, 3, 2), rates(1, 3, 1)], 2, domain=MS,
         q_num_heads=4, kv_num_heads=2)
    case("linear_attention_more_values", "LinearAttention", [f(1, 3, 8), keys(1, 3, 4), f(1, 3, 12), None, *operands("gated_delta", 1, 3, 4, 4)], 2, domain=MS,
         q_num_heads=2, kv_num_heads=4)
    case("linear_attention_gate", "LinearAttentionGate", [f(2, 3, 4), f(4), -np.abs(f(4)), f(2, 3, 4)], 2, domain=MS, fixed=(1, 2))


@part
def delta_nets():
    def net(name, *inputs, **attributes):
        case(f"gated_delta_net_{name}", "GatedDeltaNet", list(inputs), 2, domain=MS, **attributes)

    for rule in RULES:
        gate, rate = operands(rule, 2, 3, 4, 8)
        net(rule, f(2, 3, 2, 8), unit(f(2, 3, 2, 8)), f(2, 3, 4, 5), None, gate, rate, f(2, 4, 5, 8), update_rule=rule)
    net("flat", f(6, 2, 8), unit(f(6, 2, 8)), f(6, 2, 5), None, decays(6, 2), rates(6, 2), f(2, 2, 5, 8))
    net("lengths", f(5, 2, 8), unit(f(5, 2, 8)), f(5, 2, 5), i32(0, 2, 5), decays(5, 2), rates(5, 2), f(2, 2, 5, 8))
    net("packed", f(1, 3, 2 * 2 * 8 + 4 * 5), None, None, None, f(1, 3, 4), f(1, 3, 4), f(1, 4, 5, 8), f(4, scale=0.3), f(4), fixed=(7, 8), qk_l2_norm=1,
        gate_activation="softplus", beta_activation="sigmoid")
    net("keys", f(1, 3, 2, 8), f(1, 3, 2, 8), f(1, 3, 2, 5), None, f(1, 3, 2, 8), f(1, 3, 2), f(1, 2, 5, 8), f(2, scale=0.3), f(16), fixed=(7, 8), qk_l2_norm=1,
        gate_activation="sigmoid", beta_activation="sigmoid", gate_lower_bound=-3.0, scale=0.5)
