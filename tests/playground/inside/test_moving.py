"""What moves between positions: by the sublayers' Jacobians, and by the model written out without hooks."""

import numpy as np
import pytest
import torch

from models.config import CompleteModel
from models.gpt import GPT
from playground.inside.moving import moved, share_moved

TOKENS = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3])


def build(**changes):
    torch.manual_seed(0)
    settings = {"vocab_size": 11, "n_layer": 2, "n_head": 2, "n_embd": 8, "block_size": 12, "dropout": 0.1}
    model = GPT(CompleteModel(**settings | changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.double()


@pytest.mark.parametrize(
    "changes", [{}, {"norm_placement": "post", "position": "rope", "activation": "swiglu"}, {"layout": "parallel", "window": 3}]
)
def test_the_jacobian_is_that_of_what_moves_and_what_does_not(changes):
    """∂f_i/∂h_j: zero off the diagonal for the MLP; for attention zero where i < j, or beyond its window, and nowhere else."""
    model, h = build(**changes).eval(), torch.randn(6, 8, dtype=torch.float64)
    back = torch.arange(6)[:, None] - torch.arange(6)
    for block in model.blocks:
        for f, reaches in ((block.mlp.f, back == 0), (block.attn.f, (back >= 0) & (back < (changes.get("window") or 6)))):
            jacobian = torch.autograd.functional.jacobian(lambda x, f=f: f(x[None])[0], h)  # (T, C, T, C)
            torch.testing.assert_close(jacobian.abs().amax((1, 3)) > 0, reaches)
        assert share_moved(block.mlp.f, h[None]) == 0.0 < share_moved(block.attn.f, h[None]) < 1.0


@pytest.mark.parametrize("layout", ["sequential", "parallel", "parallel_two_norms"])
def test_the_share_is_that_of_the_model_written_out(layout):
    model = build(layout=layout).train()
    found = moved(model, TOKENS)["moves"]
    assert model.training and found["mlp"] == [0.0, 0.0]
    model.eval()
    with torch.no_grad():
        x = model.embed(torch.from_numpy(TOKENS)[None], 0)
        for layer, block in enumerate(model.blocks):
            h, shares = block.attn.norm_in(x), []
            for j in (0, 1, 2, 3, 4, 5, 6, 8):  # evenly from the first to the last but one
                rows = h.clone()
                rows[0, j] = h[0, (j + 5) % 10]
                apart = (block.attn.f(torch.cat([h, rows])).diff(dim=0)[0] ** 2).sum(-1).numpy()
                shares.append(np.delete(apart, j).sum() / apart.sum())
            assert found["attn"][layer] == pytest.approx(np.mean(shares))
            x = block(x)


def test_where_nothing_changes_nothing_is_said():
    model = build()
    assert moved(model, TOKENS[:1]) == {}
    assert moved(model, np.array([4, 4]))["moves"]["mlp"][0] is not None, "the positions differ"
    torch.nn.init.zeros_(model.blocks[0].mlp.f.proj.weight)
    assert moved(model, TOKENS)["moves"]["mlp"] == [None, 0.0]
