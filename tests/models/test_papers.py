"""What no family of transformers has, against the papers' own formulas written out."""

import math

import pytest
import torch

from models.block import Block
from models.config import ModelConfig
from models.gpt import GPT
from models.knobs import parse
from models.mlp import MLP

SMALL = {"vocab_size": 11, "n_layer": 3, "n_head": 2, "n_embd": 8, "block_size": 6}
EXACT = {"rtol": 0, "atol": 1e-12}


def model(**choice) -> GPT:
    torch.manual_seed(0)
    gpt = GPT(parse(ModelConfig, SMALL | choice)).double().eval()
    for parameter in gpt.parameters():
        parameter.data.normal_(0, 0.5)
    return gpt


def block(**choice) -> tuple[Block, torch.Tensor]:
    return model(**choice).blocks[0], torch.randn(2, 6, 8, dtype=torch.float64)


def test_rezero_adds_a_learned_share_of_the_sublayer_that_starts_at_nothing():
    """Bachlechner et al. 2020: x + a f(x)."""
    one, x = block(residual_gain="rezero", norm_placement="none")
    y = x + one.attn.gain * one.attn.f(x)
    torch.testing.assert_close(one(x), y + one.mlp.gain * one.mlp.f(y), **EXACT)
    fresh = GPT(parse(ModelConfig, SMALL | {"residual_gain": "rezero"}))
    assert all(branch.gain == 0 for b in fresh.blocks for branch in (b.attn, b.mlp))
    x = torch.randn(1, 6, 8)
    assert torch.equal(fresh.blocks[0](x), x), "a fresh block changes nothing"


def test_deepnorm_weighs_the_stream_and_shrinks_the_first_weights():
    """Wang et al. 2022 for a decoder of N layers: LN(a x + f(x)), a = (2N)^(1/4); values, output and MLP start b = (8N)^(-1/4) smaller."""
    one, x = block(residual_gain="deepnorm", norm_placement="post")
    y = one.attn.norm_after(6**0.25 * x + one.attn.f(x))
    torch.testing.assert_close(one(x), one.mlp.norm_after(6**0.25 * y + one.mlp.f(y)), **EXACT)
    big = {"n_layer": 4, "n_embd": 128, "n_head": 4, "init": "normal", "norm_placement": "post"}
    torch.manual_seed(0)
    plain = GPT(parse(ModelConfig, SMALL | big))
    torch.manual_seed(0)
    deep = GPT(parse(ModelConfig, SMALL | big | {"residual_gain": "deepnorm"}))
    beta = 32**-0.25
    for name, factor in (("attn.f.proj", beta), ("mlp.f.up", beta), ("mlp.f.proj", beta)):
        a, b = (m.blocks[0].get_submodule(name).weight for m in (plain, deep))
        torch.testing.assert_close(b, factor * a)
    (a, b) = (m.blocks[0].attn.f.qkv.weight for m in (plain, deep))
    torch.testing.assert_close(b[256:], beta * a[256:])
    assert torch.equal(a[:256], b[:256]), "queries and keys stay as they are"


@pytest.mark.parametrize(("place", "formula"), [
    ("sandwich", lambda b, x: x + b.norm_out(b.f(b.norm_in(x)))), ("output", lambda b, x: x + b.norm_out(b.f(x))),
    ("post", lambda b, x: b.norm_after(x + b.f(x))), ("pre", lambda b, x: x + b.f(b.norm_in(x))), ("none", lambda b, x: x + b.f(x)),
])  # fmt: skip
def test_norms_are_placed_as_the_formulas_say(place, formula):
    one, x = block(norm_placement=place)
    torch.testing.assert_close(one(x), formula(one.mlp, formula(one.attn, x)), **EXACT)


def test_parallel_blocks_read_the_same_input():
    """GPT-J: x + Attn(LN(x)) + MLP(LN(x)); GPT-NeoX: with a norm for each."""
    one, x = block(layout="parallel")
    h = one.attn.norm_in(x)
    torch.testing.assert_close(one(x), x + one.attn.f(h) + one.mlp.f(h), **EXACT)
    two, x = block(layout="parallel_two_norms", residual_gain="rezero")
    attention, mlp = two.attn.f(two.attn.norm_in(x)), two.mlp.f(two.mlp.norm_in(x))
    torch.testing.assert_close(two(x), x + two.attn.gain * attention + two.mlp.gain * mlp, **EXACT)


def test_sinusoidal_positions_are_those_of_the_paper():
    """Vaswani et al. 2017: sin(p / 10000^(2i / d)) at even places of the vector, the cosine at odd ones."""
    gpt, idx = model(position="sinusoidal", scale_embedding=True), torch.tensor([[3, 1, 4, 1, 5, 9]])
    wanted = gpt.wte.weight[idx[0]] * math.sqrt(8)
    for p in range(6):
        for i in range(4):
            angle = p / 10_000 ** (2 * i / 8)
            wanted[p, 2 * i] += math.sin(angle)
            wanted[p, 2 * i + 1] += math.cos(angle)
    torch.testing.assert_close(gpt.embed(idx, 0)[0], wanted, **EXACT)
    torch.testing.assert_close(gpt.embed(idx[:, 2:], 2)[0], wanted[2:], **EXACT)


@pytest.mark.parametrize(("name", "act"), [
    ("relu2", lambda x: x.clamp(min=0) ** 2), ("silu", lambda x: x / (1 + (-x).exp())),
    ("gelu", lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))),
    ("gelu_tanh", lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
    ("relu", lambda x: x.clamp(min=0)),
])  # fmt: skip
def test_activations_and_their_gated_forms(name, act):
    """Shazeer 2020: the activation of one projection times another."""
    x = torch.randn(5, 8, dtype=torch.float64)
    mlp = MLP(parse(ModelConfig, SMALL | {"activation": name})).double()
    torch.testing.assert_close(mlp(x), mlp.proj(act(mlp.up(x))), **EXACT)
    gated = {"silu": "swiglu", "gelu": "geglu", "gelu_tanh": "geglu_tanh"}.get(name)
    if gated:
        mlp = MLP(parse(ModelConfig, SMALL | {"activation": gated})).double()
        torch.testing.assert_close(mlp(x), mlp.proj(act(mlp.gate(x)) * mlp.up(x)), **EXACT)


def test_shared_layers_are_one_set_of_weights_run_again_and_again():
    gpt, idx = model(share_layers=True), torch.randint(11, (2, 6))
    x = gpt.embed(idx, 0)
    for _ in range(3):
        x = gpt.blocks[0](x)
    torch.testing.assert_close(gpt(idx), gpt.head(gpt.norm(x)), **EXACT)
    gpt(idx).sum().backward()
    assert gpt.blocks[2].mlp.f.up.weight.grad is gpt.blocks[0].mlp.f.up.weight.grad
    names = {name for name, _ in gpt.named_parameters()}
    assert not any(name.startswith(("blocks.1.", "blocks.2.")) for name in names)


def test_shared_layers_keep_their_own_windows():
    gpt = model(share_layers=True, window=2, window_pattern="LG")
    assert [b.attn.f.attend.window for b in gpt.blocks] == [2, None, 2]


def test_norms_without_gain_or_bias_learn_nothing():
    gpt = model(norm_gain=False, norm_bias=False)
    assert list(gpt.norm.parameters()) == []
    x = torch.randn(4, 8, dtype=torch.float64)
    wanted = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(gpt.norm(x), wanted, **EXACT)


def test_residual_projections_may_start_at_zero_and_any_spread_may_be_chosen():
    torch.manual_seed(0)
    gpt = GPT(parse(ModelConfig, SMALL | {"n_embd": 128, "init_zero_residual": True, "init_std": 0.3}))
    x = torch.randn(1, 6, 128)
    assert torch.equal(gpt.blocks[0](x), x)
    assert gpt.wte.weight.std().item() == pytest.approx(0.3, rel=0.1)


def test_caps_bound_the_logits():
    gpt, idx = model(logit_softcap=0.5), torch.randint(11, (1, 6))
    uncapped = gpt.head(gpt.norm(gpt.blocks[2](gpt.blocks[1](gpt.blocks[0](gpt.embed(idx, 0))))))
    assert uncapped.abs().max() > 0.5
    torch.testing.assert_close(gpt(idx), 0.5 * torch.tanh(uncapped / 0.5), **EXACT)
