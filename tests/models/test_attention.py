"""Fused attention, the explicit map and causality."""

import math

import pytest
import torch

from models.attention import Attend, repeat_heads
from models.config import ModelConfig
from models.gpt import GPT

KINDS = [
    {}, {"position": "alibi"}, {"window": 3}, {"window": 1}, {"window": 3, "window_pattern": "G"}, {"attn_scale": 0.3},
    {"position": "alibi", "window": 2}, {"attn_softcap": 0.7}, {"attn_softcap": 0.7, "window": 3, "position": "alibi"},
]  # fmt: skip


def attend(**choice) -> Attend:
    return Attend(ModelConfig(n_head=3, n_embd=12, dropout=0.5, **choice)).eval()


def queries_keys_values(T, S, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, 3, n, 4, generator=generator, dtype=dtype) for n in (T, S, S))


def plain_map(q, k, choice):
    """(B, H, T, S) weights written out pair by pair, after Vaswani et al., Beltagy et al., Press et al. and Gemma 2."""
    slopes = [1 / 16, 1 / 256, 1 / 4]  # of three heads: two by the rule for a power of two, then the first of four
    T, S = q.size(-2), k.size(-2)
    weights = torch.zeros(*q.shape[:2], T, S, dtype=q.dtype)
    for b, h, t in ((b, h, t) for b in range(q.size(0)) for h in range(q.size(1)) for t in range(T)):
        here, raw = S - T + t, {}
        for j in range(here + 1):
            if choice.get("window") and choice.get("window_pattern") != "G" and here - j >= choice["window"]:
                continue
            score = (q[b, h, t] @ k[b, h, j]).item() * choice.get("attn_scale", 0.5)
            cap = choice.get("attn_softcap")
            score = cap * math.tanh(score / cap) if cap else score
            raw[j] = math.exp(score - (slopes[h] * (here - j) if choice.get("position") == "alibi" else 0))
        for j, value in raw.items():
            weights[b, h, t, j] = value / sum(raw.values())
    return weights


@pytest.mark.parametrize("choice", KINDS, ids=str)
@pytest.mark.parametrize(("T", "S"), [(1, 1), (7, 7), (1, 7), (3, 7)])
def test_map_and_fused_attention_are_what_the_papers_say(T, S, choice):
    """Also where only the last T of S tokens are new, as with a cache."""
    q, k, v = queries_keys_values(T, S)
    wanted = plain_map(q, k, choice)
    torch.testing.assert_close(attend(**choice).weights(q, k), wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(attend(**choice)(q, k, v), wanted @ v, rtol=0, atol=1e-12)


def test_grouped_keys_serve_neighbouring_queries():
    keys = torch.arange(2.0).view(1, 2, 1, 1)
    assert repeat_heads(keys, 6).flatten().tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(("T", "S"), [(1, 1), (7, 7), (3, 7)])
def test_map_rows_sum_to_one_and_look_at_no_later_token(T, S):
    q, k, _ = queries_keys_values(T, S)
    weights = attend().weights(q, k)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, T, dtype=torch.float64))
    later = torch.arange(S)[None, :] > torch.arange(S - T, S)[:, None]
    assert (weights[..., later] == 0).all()
    assert (weights[..., ~later] > 0).all()


def test_map_is_the_softmax_of_scaled_products():
    q, k, _ = queries_keys_values(5, 5)
    scores = [(q[1, 2, 4] @ k[1, 2, j] / 2).exp() for j in range(5)]
    wanted = torch.stack(scores) / sum(scores)
    torch.testing.assert_close(attend().weights(q, k)[1, 2, 4], wanted)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"norm_placement": "post"},
        {"position": "none", "sublayers": "attention"},
        {"residual": False},
        {"position": "rope"},
        {"position": "alibi"},
        {"layout": "parallel"},
    ],
    ids=str,
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
    for choice in ({}, {"attn_softcap": 5.0}, {"window": 3}):
        kind = attend(**choice)
        assert torch.equal(kind.eval()(q, k, v), kind.eval()(q, k, v))
        assert not torch.equal(kind.train()(q, k, v), kind.eval()(q, k, v))
