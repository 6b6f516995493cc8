"""A part that is switched off: the same as a model that never had it."""

import pytest
import torch

from models.config import ModelConfig
from models.decoding import generate
from models.gpt import GPT
from models.knobs import ConfigError, parse
from playground.inside.ablation import Means, Part, parse_parts, parts_of, without

SMALL = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 12, "vocab_size": 17}
PLACEMENTS = [
    {}, {"norm_placement": "post"}, {"norm_placement": "sandwich"}, {"norm_placement": "output"}, {"norm_placement": "none"},
    {"layout": "parallel"}, {"layout": "parallel_two_norms"}, {"n_kv_head": 1, "activation": "swiglu"},
    {"residual_gain": "deepnorm", "norm_placement": "post"},
]  # fmt: skip
IDX = torch.arange(10)[None]


def build(changes: dict) -> GPT:
    torch.manual_seed(0)
    model = GPT(parse(ModelConfig, SMALL | changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def logits(model: GPT, *parts: Part) -> torch.Tensor:
    with without(model, parts):
        return model(IDX)


@pytest.mark.parametrize("changes", PLACEMENTS, ids=str)
@pytest.mark.parametrize("layer", [0, 1])
@torch.no_grad()
def test_without_a_head_is_with_its_columns_at_zero(changes, layer):
    model, whole = build(changes), None
    whole, found = model(IDX), logits(model, Part("head", layer, 1))
    D = model.config.head_size
    model.blocks[layer].attn.f.proj.weight[:, D : 2 * D] = 0
    torch.testing.assert_close(found, model(IDX), rtol=0, atol=1e-6)
    assert not torch.allclose(found, whole, atol=1e-3)


@pytest.mark.parametrize("changes", [{}, {"n_kv_head": 2}, {"head_dim": 6}], ids=str)
@pytest.mark.parametrize("head", range(4))
@torch.no_grad()
def test_each_head_is_its_own_columns_and_no_others(changes, head):
    """The first, the last and those between them."""
    model = build({"n_head": 4} | changes)
    whole, found = model(IDX), logits(model, Part("head", 1, head))
    D = model.config.head_size
    model.blocks[1].attn.f.proj.weight[:, head * D : (head + 1) * D] = 0
    torch.testing.assert_close(found, model(IDX), rtol=0, atol=1e-6)
    assert not torch.allclose(found, whole, atol=1e-3)


@pytest.mark.parametrize("changes", PLACEMENTS, ids=str)
@pytest.mark.parametrize("kind", ["attn", "mlp"])
@torch.no_grad()
def test_without_a_sublayer_nothing_is_added(changes, kind):
    model = build(changes)
    found = logits(model, Part(kind, 1))
    branch = getattr(model.blocks[1], kind)
    last = branch.norm_out if any(True for _ in branch.norm_out.parameters()) else branch.f.proj
    for parameter in last.parameters():
        parameter.zero_()
    torch.testing.assert_close(found, model(IDX), rtol=0, atol=1e-6)


@pytest.mark.parametrize("changes", PLACEMENTS, ids=str)
@torch.no_grad()
def test_without_a_layer_the_next_reads_what_it_read(changes):
    model = build(changes)
    found = logits(model, Part("layer", 0))
    x = model.blocks[1](model.embed(IDX, 0))
    torch.testing.assert_close(found, model.head(model.norm(x)), rtol=0, atol=1e-6)


@torch.no_grad()
def test_several_parts_at_once_and_nothing_is_left_behind():
    model = build({})
    before = model(IDX)
    parts = [Part("head", 0, 0), Part("head", 0, 1), Part("mlp", 0), Part("layer", 1)]
    found = logits(model, *parts)
    bias = model.blocks[0].attn.f.proj.bias  # with no head left, attention still adds this
    x = model.embed(IDX, 0) + bias
    torch.testing.assert_close(found, model.head(model.norm(x)), rtol=0, atol=1e-6)
    assert torch.equal(model(IDX), before)
    with pytest.raises(RuntimeError, match="inside"), without(model, parts):
        raise RuntimeError("inside")
    assert torch.equal(model(IDX), before)


@torch.no_grad()
def means_of(model: GPT, idx: torch.Tensor, counted: torch.Tensor) -> dict[Part, torch.Tensor]:
    means = Means(model)
    with means.watched(counted):
        model(idx)
    return means.get()


@pytest.mark.parametrize("changes", PLACEMENTS, ids=str)
@torch.no_grad()
def test_the_mean_is_that_of_what_a_part_adds_to_the_stream(changes):
    model, idx = build(changes), torch.arange(24).reshape(3, 8) % 17
    counted = torch.ones(3, 8, dtype=torch.bool)
    counted[1, 5:] = False
    whole, means = model(idx), means_of(model, idx, counted)
    assert set(means) == set(parts_of(model.config)) and torch.equal(model(idx), whole)
    x = model.embed(idx, 0)
    torch.testing.assert_close(means[Part("layer", 0)], (model.blocks[0](x) - x)[counted].double().mean(0), rtol=0, atol=1e-6)
    read = {}
    hook = model.blocks[0].attn.f.proj.register_forward_hook(lambda module, inputs, output: read.update(heads=inputs[0]))
    model(idx)
    hook.remove()
    D = model.config.head_size
    torch.testing.assert_close(means[Part("head", 0, 1)], read["heads"][..., D : 2 * D][counted].double().mean(0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["attn", "mlp"])
@torch.no_grad()
def test_who_adds_the_same_to_every_token_is_worth_nothing_by_mean_ablation(kind):
    """And something by zero ablation, which also takes that away."""
    model, part = build({}), Part(kind, 1)
    getattr(model.blocks[1], kind).f.proj.weight.zero_()
    whole, means = model(IDX), means_of(model, IDX, torch.ones_like(IDX, dtype=torch.bool))
    with without(model, [part], means):
        torch.testing.assert_close(model(IDX), whole, rtol=0, atol=1e-6)
    assert not torch.allclose(logits(model, part), whole, atol=1e-3)


def test_text_is_written_without_the_part_with_the_cache_as_without_it():
    model, parts = build({}), [Part("head", 1, 0), Part("layer", 0)]
    with without(model, parts):
        written = [choice.token for choice in generate(model, [1, 2, 3], max_new_tokens=8, temperature=0)]
        tokens = [1, 2, 3]
        for _ in range(8):
            with torch.no_grad():
                tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    assert written == tokens[3:]


def test_all_parts_have_names_that_are_read_back():
    for changes, count in (({}, 2 * 5), ({"sublayers": "attention"}, 2 * 4), ({"sublayers": "mlp"}, 2 * 2)):
        config = parse(ModelConfig, SMALL | changes)
        parts = parts_of(config)
        assert len(parts) == len(set(parts)) == count
        assert parse_parts(",".join(map(str, parts)), config) == tuple(parts)
    assert parse_parts(" head:1.2 ,, mlp:2,head:1.2", parse(ModelConfig, SMALL)) == (Part("head", 0, 1), Part("mlp", 1))
    assert parse_parts("", parse(ModelConfig, SMALL)) == ()


def test_all_that_is_wrong_is_said_at_once():
    config = parse(ModelConfig, SMALL | {"sublayers": "mlp"})
    with pytest.raises(ConfigError) as caught:
        parse_parts("mlp:1,mlp:3,head:1.1,layer:0,LAYER:1,layer:1.1,attn:1,mlp:٣", config)
    assert [problem.message.split("'")[1] for problem in caught.value.problems] == [
        "mlp:3", "head:1.1", "layer:0", "LAYER:1", "layer:1.1", "attn:1", "mlp:٣",
    ]  # fmt: skip
    assert all(problem.path == "off" and "layer:1 to layer:2" in problem.message for problem in caught.value.problems)
