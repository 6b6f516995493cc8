"""Closed-form counts equal those of the model that is built."""

from itertools import product

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.config import CompleteModel, ModelConfig, complete, flops_per_token, n_params
from models.gpt import GPT
from models.presets import ARCHITECTURES

BASE = ModelConfig(vocab_size=13, n_layer=2, n_head=2, n_embd=12, block_size=10)
# Every value of each choice that a count could depend on, and pairs that meet in one term.
CHANGES = [
    {},
    *({"sublayers": s, "norm_placement": n} for s in ("attention+mlp", "attention", "mlp") for n in ("pre", "post", "none")),
    *({"bias": b, "qkv_bias": q, "norm_type": t} for b, q, t in product((True, False), (None, True, False), ("layernorm", "rmsnorm"))),
    *({"tie_weights": t, "head_bias": h, "position": p} for t, h, p in product((True, False), (True, False), ("learned", "none"))),
    *({"final_norm": f, "norm_placement": n} for f in (True, False) for n in ("pre", "post")),
    *({"mlp_ratio": r, "n_embd": 6, "activation": a} for r, a in ((0.2, "relu"), (2.7, "silu"), (8.0, "relu2"))),
    *({"n_layer": n, "n_head": h, "block_size": t} for n, h, t in ((1, 1, 1), (5, 12, 3), (3, 4, 31))),
    {"dropout": 0.3, "residual": False, "init": "pytorch"},
    *(
        {"norm_placement": n, "norm_type": t, "norm_gain": g, "norm_bias": b}
        for n, t, g, b in product(("sandwich", "output", "post"), ("layernorm", "rmsnorm"), (True, False), (None, True))
    ),
    *({"n_head": 4, "n_kv_head": g, "head_dim": d, "qk_norm": q} for g, d, q in product((None, 1, 2), (None, 5), ("none", "head", "full"))),
    *({"activation": a, "mlp_bias": b} for a, b in product(("swiglu", "geglu", "geglu_tanh"), (True, False))),
    *({"layout": w, "residual_gain": g} for w, g in product(("parallel", "parallel_two_norms"), ("one", "rezero"))),
    *({"position": p, "embd_norm": e} for p, e in product(("rope", "alibi", "sinusoidal", "learned"), (True, False))),
    {"share_layers": True, "n_layer": 4},
    {"residual_gain": "rezero", "sublayers": "mlp"},
    {"attn_out_bias": False, "head_bias": True},
    {"residual_gain": "deepnorm", "norm_placement": "post"},
    {"window": 3, "window_pattern": "LG"},
    {"attn_softcap": 5.0},
]


def built(change) -> ModelConfig:
    return ModelConfig(**{**BASE.model_dump(), **change})


def measured_flops_per_token(config) -> float:
    """The flops that torch counts for one full context."""
    model = GPT(config).eval()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, config.block_size, dtype=torch.long))
    return counter.get_total_flops() / config.block_size


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_closed_forms_equal_the_instantiated_model(change):
    config = built(change)
    assert n_params(config) == sum(p.numel() for p in GPT(config).parameters())
    assert flops_per_token(config) == measured_flops_per_token(config)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_closed_forms_hold_for_the_presets(name):
    config = ARCHITECTURES[name].config.model_copy(update={"vocab_size": 65})
    assert n_params(config) == sum(p.numel() for p in GPT(config).parameters())
    assert flops_per_token(config) == measured_flops_per_token(config)


def test_what_is_counted_and_built_has_a_vocabulary():
    for need in (complete, GPT):
        with pytest.raises(ValueError, match="vocab_size"):
            need(ModelConfig())
    assert complete(ModelConfig(), 65) == CompleteModel(vocab_size=65) == GPT(ModelConfig(vocab_size=65)).config
