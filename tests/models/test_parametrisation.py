"""muP (Yang et al. 2022, arXiv:2203.03466, table 8): initial sizes, multipliers and scores by the formulas of its paper, and nothing at the
base width. How a model then trains is in `tests/playground/training/test_coordinate_check.py`."""

import math

import pytest
import torch

from models.config import ModelConfig, complete, n_params
from models.gpt import GPT
from models.graph import graph
from models.knobs import parse

SMALL = {"vocab_size": 300, "n_layer": 2, "n_head": 4, "n_embd": 128, "block_size": 8}
MUP = {"parametrisation": "mup", "base_width": 32}  # four times narrower


def built(**change) -> GPT:
    torch.manual_seed(0)
    return GPT(parse(ModelConfig, SMALL | change))


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("init", ["gpt2", "normal", "pytorch"])
def test_matrices_inside_blocks_start_smaller_by_the_root_of_the_width_and_all_else_as_at_the_base(init, tie):
    wide, base = (built(**MUP, n_embd=n, init=init, tie_weights=tie, head_bias=True) for n in (128, 32))
    of_base = dict(base.named_parameters())
    for name, weight in wide.named_parameters():
        ratio = weight.std().item() / (of_base[name].std().item() or 1.0)
        if "norm" in name or (init != "pytorch" and name.endswith("bias")):
            assert weight.std() == of_base[name].std() == 0
        else:
            inside = name.startswith("blocks.") and weight.dim() == 2
            assert ratio == pytest.approx(0.5 if inside else 1.0, rel=0.2), name
    assert n_params(wide.config) == n_params(built().config) + 300 + (not tie) * 300 * 128  # of the head's bias and matrix alone


@pytest.mark.parametrize("change", [{}, {"tie_weights": False, "head_bias": True}, {"init": "pytorch"}, {"scale_embedding": True}])
def test_at_the_base_width_nothing_is_scaled(change):
    ours, standard = built(**change, parametrisation="mup", base_width=128), built(**change)
    idx = torch.randint(300, (2, 8))
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), standard.parameters(), strict=True))
    assert torch.equal(ours(idx), standard(idx))


def test_logits_and_scores_are_scaled_as_in_the_paper():
    """Scores by 1/d instead of 1/sqrt(d), times a constant that makes the base the usual; logits by 1/width, their bias not."""
    model = built(**MUP, head_bias=True)
    model.head.bias.data.normal_()
    assert model.blocks[0].attn.f.attend.scale == pytest.approx(math.sqrt(8) / 32)  # heads of 32, at the base of 8
    x = torch.randn(3, 128)
    torch.testing.assert_close(model.head(x), x @ model.head.weight.T / 4 + model.head.bias)
    assert built(**MUP, attn_scale=0.3).blocks[0].attn.f.attend.scale == pytest.approx(0.3 / 2)
    formulas = {node.id: node.formula for node in graph(complete(model.config)).nodes}
    assert formulas["head"] == "scores of the next token = 0.25 · W x + b" and "q k · 0.0884" in formulas["attn"]


def test_heads_of_a_set_size_keep_their_scores_and_a_scaled_embedding_its_size():
    assert built(**MUP, head_dim=32).blocks[0].attn.f.attend.scale == 32**-0.5
    x = built(**MUP, scale_embedding=True, position="none")
    idx = torch.tensor([[5]])
    torch.testing.assert_close(x.embed(idx, 0), math.sqrt(32) * x.wte(idx))
