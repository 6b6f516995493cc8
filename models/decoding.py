"""Sampling one token after another, with a cache of keys and values.

Knows nothing of text. Beyond the context length the older half of the window is dropped at once
and the cache is rebuilt from the rest at positions from 0, so nearly every token costs one step.

Shapes: B batch, T new tokens, S all tokens seen, H heads, D head dimension, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from models.cache import Cache
from models.gpt import GPT


@dataclass(frozen=True)
class Choice:
    """One sampled token: its id, its probability under the model at temperature 1, the likeliest others."""

    token: int
    probability: float
    runners_up: tuple[tuple[int, float], ...]


def window_start(length: int, block_size: int) -> int:
    """Where the window begins that predicts the token after `length` tokens."""
    if length <= block_size:
        return 0
    stride = max(1, block_size // 2)
    return -(-(length - block_size) // stride) * stride


@torch.inference_mode()
def next_token_logits(model: GPT, tokens: list[int], state: tuple[Cache, int] | None) -> tuple[Tensor, tuple[Cache, int]]:
    """(V,) logits after `tokens`, and the cache (with its window's start) to pass to the next call."""
    device = model.wte.weight.device
    start = window_start(len(tokens), model.config.block_size)
    if state is None or state[1] != start:
        state = Cache(model.config), start
    cache, _ = state
    new = tokens[start + cache.length :]
    logits = model(torch.tensor([new], device=device), cache)[0, -1]
    cache.length += len(new)
    return logits, state


@torch.inference_mode()
def generate(
    model: GPT,
    prompt: list[int],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    n_runners_up: int = 5,
) -> Iterator[Choice]:
    """Yield sampled tokens. `prompt` holds at least one id; temperature 0 takes the likeliest.
    Raises FloatingPointError where the model's scores are not finite: its training has diverged.

    The model is put into eval mode for good; the global random state is not touched when a
    CPU `generator` is given.
    """
    if not prompt:
        raise ValueError("a prompt needs at least one token")
    model.eval()
    tokens, state = list(prompt), None
    for _ in range(max_new_tokens):
        logits, state = next_token_logits(model, tokens, state)
        logits = logits.float().cpu()
        if not logits.isfinite().all():
            raise FloatingPointError("the model's scores are not finite numbers: its training has diverged")
        token = pick(logits, temperature, top_k, top_p, generator)
        tokens.append(token)
        probabilities = logits.softmax(-1)
        yield Choice(token, probabilities[token].item(), runners_up(probabilities, token, n_runners_up))


def runners_up(probabilities: Tensor, token: int, count: int) -> tuple[tuple[int, float], ...]:
    """The likeliest ids beside `token` and their probabilities, of (V,), the likeliest first."""
    if not count:
        return ()
    best = probabilities.topk(min(count + 1, len(probabilities)))
    return tuple([(i, p) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True) if i != token][:count])


def pick(logits: Tensor, temperature: float, top_k: int | None, top_p: float | None, generator: torch.Generator | None) -> int:
    """Draw one id from (V,) logits after the temperature, top-k and nucleus filters.

    Top-p keeps the smallest set of likeliest tokens whose mass reaches p. Holtzman et al. 2019,
    arXiv:1904.09751.
    """
    if temperature == 0:
        return int(logits.argmax())
    logits = (logits.double() - logits.max()) / temperature  # at most 0, so that no temperature overflows
    if top_k is None and top_p is None:
        return int(torch.multinomial(logits.softmax(-1), 1, generator=generator))
    values, ids = logits.sort(descending=True, stable=True)
    probabilities = values.softmax(-1)
    keep = torch.ones_like(probabilities, dtype=torch.bool)
    if top_k is not None:
        keep[top_k:] = False
    if top_p is not None:
        keep &= probabilities.cumsum(-1) - probabilities < top_p
    keep[0] = True
    return int(ids[torch.multinomial(probabilities * keep, 1, generator=generator)])
