"""Any combination of architecture knobs is either refused with a message or builds, trains and samples."""

import contextlib

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from models.config import ModelConfig, flops_per_token, n_params
from models.decoding import generate
from models.gpt import GPT
from models.graph import graph
from models.knobs import ConfigError, Spec, parse

# What a knob is where nothing else is drawn: the default, or less where that makes a model slow to build.
USUAL = {spec.path: spec.default for spec in ModelConfig.specs()} | {"n_layer": 2, "n_head": 2, "n_embd": 12, "block_size": 6}
SMALLEST = {"norm_eps": 2.0**-20}  # with less, a norm of zeros multiplies gradients by a million, and a few by more than float32 holds
LARGEST = {
    "n_layer": 3,
    "n_head": 6,
    "n_embd": 24,
    "block_size": 9,
    "mlp_ratio": 5.0,
    "n_kv_head": 6,
    "head_dim": 10,
    "window": 12,
    "norm_eps": 0.125,
    "attn_softcap": 50.0,
    "attn_scale": 2.0,
    "rope_base": 2.0**20,
    "logit_softcap": 50.0,
    "init_std": 0.125,
    "base_width": 48,
}


def values_of(spec: Spec) -> st.SearchStrategy:
    """The values that a knob declares as possible, its size bounded so that a model is quick to build."""
    if spec.kind == "choice":
        values = st.sampled_from(spec.choices)
    elif spec.kind == "text":
        values = st.text("LG", min_size=1, max_size=3)
    elif spec.kind == "bool":
        values = st.booleans()
    elif spec.kind == "int":
        values = st.integers(int(spec.low), LARGEST[spec.path])
    else:
        high = LARGEST.get(spec.path, spec.high)
        low = SMALLEST.get(spec.path, float(np.nextafter(np.float32(spec.low), np.float32(1e9))))  # a number of width 32
        values = st.floats(low if spec.low else 0.0, high, exclude_min=spec.low_open, exclude_max=spec.path not in LARGEST, width=32)
    return values | st.none() if spec.optional else values


@st.composite
def models(draw) -> dict:
    """Any values at all; mostly with what has no effect beside the others put back to what is usual, so that models get built."""
    knobs = {spec.path: draw(st.just(USUAL[spec.path]) | values_of(spec)) for spec in ModelConfig.specs()}
    return settled(knobs) if draw(st.integers(0, 3)) else knobs


def settled(knobs: dict) -> dict:
    """The same with what cannot stand beside the others put back to what is usual."""
    for path, message in refusals(knobs):
        knobs = knobs | {path: USUAL[path]} if knobs[path] != USUAL[path] else knobs | {"head_dim": 4, "layout": "sequential"}
        assert message
    return knobs


def refusals(knobs: dict) -> list[tuple[str, str]]:
    try:
        parse(ModelConfig, knobs)
    except ConfigError as error:
        return [(problem.path, problem.message) for problem in error.problems]
    return []


MODELS = models()


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(MODELS)
def test_any_model_is_refused_with_a_message_or_works(knobs):
    try:
        config = parse(ModelConfig, {**knobs, "vocab_size": 7})
    except ConfigError as error:
        event("refused")
        assert error.problems
        for problem in error.problems:
            assert problem.path in knobs and problem.message
        return
    event("built")
    torch.manual_seed(0)
    model = GPT(config)
    assert n_params(config) == sum(p.numel() for p in model.parameters())
    drawn = graph(config)
    assert sum(node.params * (drawn.n_distinct if node.in_block else 1) for node in drawn.nodes) == n_params(config)
    assert sum(node.flops * (drawn.n_layer if node.in_block else 1) for node in drawn.nodes) == flops_per_token(config) > 0
    idx = torch.randint(7, (2, config.block_size))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    before = [p.detach().clone() for p in model.parameters()]
    loss = F.cross_entropy(model(idx).flatten(0, 1), idx.flatten())
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.isfinite().all() for p in model.parameters())
    choices = list(generate(model, [0], max_new_tokens=config.block_size + 2, generator=torch.Generator().manual_seed(0)))
    assert len(choices) == config.block_size + 2
    assert all(0 <= choice.token < 7 and 0 <= choice.probability <= 1 for choice in choices)


def test_the_strategy_covers_every_visible_knob_and_draws_models_that_build():
    """So that the property above is about all knobs and not about refusals alone."""
    built = []

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(MODELS)
    def count(knobs):
        assert set(knobs) == {spec.path for spec in ModelConfig.specs()}
        with contextlib.suppress(ConfigError):
            built.append(parse(ModelConfig, knobs))

    count()
    assert len(built) >= 10
    for choice in ("sublayers", "norm_placement", "position", "activation", "layout"):
        there = {getattr(config, choice) for config in built}
        assert len(there) >= min(3, len(next(spec.choices for spec in ModelConfig.specs() if spec.path == choice))), choice
    assert any(config.parallel for config in built) and any(config.window for config in built)
    assert any(config.mlp_kind.gated for config in built)
