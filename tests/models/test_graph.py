"""The architecture as data says what the modules do."""

import pytest

from models.config import ModelConfig, flops_per_token, n_params
from models.gpt import GPT
from models.graph import formulas, graph

CONFIGS = [
    ModelConfig(vocab_size=31, n_layer=3, n_embd=16, n_head=2, block_size=8, **choice)
    for choice in (
        {}, {"norm_placement": "post"}, {"norm_placement": "none"}, {"residual": False}, {"sublayers": "attention"}, {"sublayers": "mlp"},
        {"tie_weights": False, "head_bias": True, "bias": False}, {"norm_type": "rmsnorm"}, {"position": "none", "qkv_bias": False},
    )
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_parameters_and_flops_add_up(config):
    nodes = graph(config).nodes
    repeat = {True: config.n_layer, False: 1}
    assert sum(node.params * repeat[node.in_block] for node in nodes) == n_params(config)
    assert sum(node.flops * repeat[node.in_block] for node in nodes) == flops_per_token(config)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_norms_and_additions_are_those_of_the_model(config):
    model, nodes = GPT(config), graph(config).nodes
    norms = [name for name, module in model.blocks[0].named_modules() if type(module).__name__ in ("LayerNorm", "RMSNorm")]
    assert len([node for node in nodes if node.kind == "norm" and node.in_block]) == len(norms)
    additions = [node for node in nodes if node.kind == "add"]
    assert len(additions) == (config.residual and config.has_attention) + (config.residual and config.has_mlp)
    assert any(node.id == "norm" for node in nodes) == (type(model.norm).__name__ != "Identity")


def test_pre_norm_goes_around_the_norm_and_post_norm_ends_in_it():
    pre = [node.id for node in graph(CONFIGS[0]).nodes]
    post = [node.id for node in graph(CONFIGS[1]).nodes]
    assert pre.index("attn.norm") < pre.index("attn") < pre.index("attn.add")
    assert post.index("attn") < post.index("attn.add") < post.index("attn.norm")
    assert [(edge.source, edge.target) for edge in graph(CONFIGS[1]).edges if edge.kind == "residual"] == [
        ("embedding", "attn.add"), ("attn.norm", "mlp.add"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "choice, lines",
    [
        ({}, ["x = x + Attn(LN(x))", "x = x + MLP(LN(x))"]),
        ({"norm_placement": "post"}, ["x = LN(x + Attn(x))", "x = LN(x + MLP(x))"]),
        ({"norm_placement": "none", "sublayers": "mlp"}, ["x = x + MLP(x)"]),
        ({"residual": False, "norm_type": "rmsnorm"}, ["x = Attn(RMSNorm(x))", "x = MLP(RMSNorm(x))"]),
    ],
)
def test_formulas_say_what_a_block_computes(choice, lines):
    assert formulas(ModelConfig(**choice)) == lines
