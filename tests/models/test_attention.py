"""Fused attention, the explicit map and causality."""

import pytest
import torch

from models.attention import Attend, attention_weights
from models.config import ModelConfig
from models.gpt import GPT


def queries_keys_values(T, S, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, 3, n, 4, generator=generator, dtype=dtype) for n in (T, S, S))


@pytest.mark.parametrize(("T", "S"), [(1, 1), (7, 7), (1, 7), (3, 7)])
def test_fused_attention_equals_the_explicit_map(T, S):
    """Also where only the last T of S tokens are new, as with a cache."""
    q, k, v = queries_keys_values(T, S)
    torch.testing.assert_close(Attend(0.5).eval()(q, k, v), attention_weights(q, k) @ v, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("T", "S"), [(1, 1), (7, 7), (3, 7)])
def test_map_rows_sum_to_one_and_look_at_no_later_token(T, S):
    q, k, _ = queries_keys_values(T, S)
    weights = attention_weights(q, k)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, T, dtype=torch.float64))
    later = torch.arange(S)[None, :] > torch.arange(S - T, S)[:, None]
    assert (weights[..., later] == 0).all()
    assert (weights[..., ~later] > 0).all()


def test_map_is_the_softmax_of_scaled_products():
    q, k, _ = queries_keys_values(5, 5)
    scores = [(q[1, 2, 4] @ k[1, 2, j] / 2).exp() for j in range(5)]
    wanted = torch.stack(scores) / sum(scores)
    torch.testing.assert_close(attention_weights(q, k)[1, 2, 4], wanted)


@pytest.mark.parametrize(
    "change", [{}, {"norm_placement": "post"}, {"position": "none", "sublayers": "attention"}, {"residual": False}], ids=str
)
def test_later_tokens_do_not_change_earlier_logits(change):
    config = ModelConfig(vocab_size=9, n_layer=2, n_head=2, n_embd=8, block_size=12, init="pytorch", **change)
    torch.manual_seed(0)
    model = GPT(config).eval()
    idx = torch.randint(9, (2, 12))
    for t in range(1, 12):
        other = idx.clone()
        other[:, t:] = (other[:, t:] + 1) % 9
        before, after = model(idx), model(other)
        torch.testing.assert_close(after[:, :t], before[:, :t], rtol=0, atol=1e-6)
        assert (after[:, t] - before[:, t]).abs().max() > 1e-3


def test_attention_dropout_acts_in_training_only():
    q, k, v = queries_keys_values(7, 7)
    attend = Attend(0.5)
    assert torch.equal(attend.eval()(q, k, v), attend.eval()(q, k, v))
    assert not torch.equal(attend.train()(q, k, v), attend.eval()(q, k, v))
