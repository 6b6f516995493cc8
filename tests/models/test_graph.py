"""The architecture as data says what the modules do."""

import pytest
import torch

from models.config import ModelConfig, flops_per_token, n_params
from models.gpt import GPT
from models.graph import formulas, graph
from models.knobs import parse
from models.presets import ARCHITECTURES

SMALL = {"vocab_size": 31, "n_layer": 3, "n_embd": 16, "n_head": 2, "block_size": 8}
CHOICES = [
    {}, {"norm_placement": "post"}, {"norm_placement": "none"}, {"norm_placement": "sandwich"}, {"norm_placement": "output"},
    {"residual": False}, {"sublayers": "attention"}, {"sublayers": "mlp"}, {"tie_weights": False, "head_bias": True, "bias": False},
    {"norm_type": "rmsnorm", "norm_gain": False}, {"position": "none", "qkv_bias": False}, {"layout": "parallel"},
    {"layout": "parallel_two_norms", "residual_gain": "rezero"}, {"layout": "parallel", "norm_placement": "none"},
    {"residual_gain": "rezero"}, {"residual_gain": "deepnorm", "norm_placement": "post"}, {"share_layers": True, "embd_norm": True},
    {"n_kv_head": 1, "head_dim": 6, "qk_norm": "head", "activation": "swiglu"}, {"layout": "parallel", "residual": False},
]  # fmt: skip
CONFIGS = [parse(ModelConfig, SMALL | choice) for choice in CHOICES]
CONFIGS += [known.config.model_copy(update={"vocab_size": 31, "n_layer": 2}) for known in ARCHITECTURES.values()]


def calls(config: ModelConfig) -> list[tuple]:
    """(module, shape in, shape out) of what a forward pass really calls, in order, batch left out."""
    model, seen = GPT(config).eval(), []
    named = {node.module.format(layer=i) for node in graph(config).nodes if node.module for i in range(config.n_layer)}
    for name, module in model.named_modules():
        if name in named:
            module.register_forward_hook(lambda m, i, o, name=name: seen.append((name, tuple(i[0].shape[1:]), tuple(o.shape[1:]))))
    model(torch.zeros(1, config.block_size, dtype=torch.long))
    return seen


def promised(config: ModelConfig) -> list[tuple]:
    """The same as the graph has it, its block written out for every layer."""
    nodes = graph(config).nodes
    before = [node for node in nodes if not node.in_block]
    first = next((i for i, node in enumerate(nodes) if node.in_block), len(nodes))
    unrolled = [(node, 0) for node in nodes[:first]]
    unrolled += [(node, layer) for layer in range(config.n_layer) for node in nodes if node.in_block]
    unrolled += [(node, 0) for node in before if node not in nodes[:first]]
    sizes = {"T": config.block_size}
    return [
        (node.module.format(layer=layer), *(tuple(sizes.get(d, d) for d in shape) for shape in (node.shape_in, node.shape_out)))
        for node, layer in unrolled
        if node.module
    ]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_modules_are_called_in_the_graphs_order_with_its_shapes(config):
    assert calls(config) == promised(config)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_each_nodes_parameters_are_its_modules(config):
    model = GPT(config)
    for node in graph(config).nodes:
        if not node.module:
            continue
        counted = sum(p.numel() for p in model.get_submodule(node.module.format(layer=0)).parameters())
        if node.kind == "embedding" and model.wpe is not None:
            counted += model.wpe.weight.numel()
        if node.kind == "head" and config.tie_weights:
            counted -= model.wte.weight.numel()
        assert node.params == counted, node.id


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_parameters_and_flops_add_up(config):
    drawn = graph(config)
    assert sum(node.params * (drawn.n_distinct if node.in_block else 1) for node in drawn.nodes) == n_params(config)
    assert sum(node.flops * (drawn.n_layer if node.in_block else 1) for node in drawn.nodes) == flops_per_token(config)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_every_node_but_the_tokens_is_reached_by_the_stream(config):
    drawn = graph(config)
    reached = {edge.target for edge in drawn.edges if edge.kind == "stream"}
    assert reached == {node.id for node in drawn.nodes} - {"tokens"}
    assert len({node.id for node in drawn.nodes}) == len(drawn.nodes)


def residual_edges(**choice) -> list[tuple[str, str]]:
    return [(edge.source, edge.target) for edge in graph(parse(ModelConfig, SMALL | choice)).edges if edge.kind == "residual"]


def test_residuals_go_around_what_they_go_around():
    assert residual_edges() == [("embedding", "attn.add"), ("attn.add", "mlp.add")]
    assert residual_edges(norm_placement="post") == [("embedding", "attn.add"), ("attn.norm_after", "mlp.add")]
    assert residual_edges(layout="parallel") == [("embedding", "add")]
    assert residual_edges(residual=False) == []


@pytest.mark.parametrize(
    "choice, lines",
    [
        ({}, ["x = x + Attn(LN(x))", "x = x + MLP(LN(x))"]),
        ({"norm_placement": "post"}, ["x = LN(x + Attn(x))", "x = LN(x + MLP(x))"]),
        ({"norm_placement": "none", "sublayers": "mlp"}, ["x = x + MLP(x)"]),
        ({"residual": False, "norm_type": "rmsnorm"}, ["x = Attn(RMSNorm(x))", "x = MLP(RMSNorm(x))"]),
        ({"norm_placement": "sandwich"}, ["x = x + LN(Attn(LN(x)))", "x = x + LN(MLP(LN(x)))"]),
        ({"norm_placement": "output"}, ["x = x + LN(Attn(x))", "x = x + LN(MLP(x))"]),
        ({"layout": "parallel"}, ["x = x + Attn(LN(x)) + MLP(LN(x))"]),
        ({"layout": "parallel_two_norms"}, ["x = x + Attn(LN₁(x)) + MLP(LN₂(x))"]),
        ({"residual_gain": "rezero", "sublayers": "mlp"}, ["x = x + a · MLP(LN(x))"]),
        ({"residual_gain": "deepnorm", "norm_placement": "post", "n_layer": 8}, ["x = LN(2.00 x + Attn(x))", "x = LN(2.00 x + MLP(x))"]),
    ],
)
def test_formulas_say_what_a_block_computes(choice, lines):
    assert formulas(ModelConfig(**choice)) == lines
