"""What if one token were another: how far the change reaches, and at which places it decides what comes next.

Activation patching, also called causal tracing: the activation of the clean text at one place and one position takes the place of that in
the changed text, and what the model then says is compared. Meng et al. 2022, arXiv:2202.05262; Heimersheim and Nanda 2024,
arXiv:2404.15255.

The clean run, the changed run and the patched ones are computed side by side in batches of the same shape, and each row is compared with
the same row alone: what is not reached is 0 to the bit, and what is wholly restored 1.

Shapes: B rows of a batch, T tokens, C channels, S places.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from models.gpt import GPT
from playground.inside.hooks import as_ids, evaluating

ROWS_TOKENS = 1024  # of one batch
LEAST_NATS = 1e-4  # a smaller difference is one of rounding

Turn = Callable[[Callable[[], Tensor]], Tensor]


@dataclass(frozen=True)
class Patched:
    """`changed` (S, T): how much the activation at each place and position differs between the two texts, ‖x' − x‖ / ‖x‖. `answer`: the
    likeliest next token after the last position of the clean text, and its log-probability in nats there (`clean`) and after the changed
    text (`other`). `restored` (S, T): with the clean activation at this place and position alone, the share of the difference of the two
    that is made good; NaN where they differ by less than `LEAST_NATS`."""

    changed: np.ndarray
    restored: np.ndarray
    answer: int
    clean: float
    other: float


def modules_of(model: GPT, where: str) -> list[nn.Module]:
    """The modules whose outputs are patched: the stream at the embedding and after each layer, or what a sublayer adds in each layer."""
    if where == "stream":
        return [model.dropout, *model.blocks]
    branches = [block.attn if where == "attn" else block.mlp for block in model.blocks]
    return [branch.norm_out for branch in branches if branch is not None]


def n_turns(model: GPT, T: int, where: str) -> int:
    """How many turns `patch` takes."""
    return 1 + math.ceil(T / max(1, ROWS_TOKENS // T)) * (2 + len(modules_of(model, where)))


def patch(model: GPT, tokens: np.ndarray, others: np.ndarray, where: str, turn: Turn) -> Patched:  # 2 x (T,)
    """Both maps for the two texts, which are of the same length. Each batch is computed in a `turn`."""
    places, T = modules_of(model, where), len(tokens)
    changed, restored = np.zeros((len(places), T)), np.full((len(places), T), np.nan)
    answer = int(turn(partial(_after, model, as_ids(model, tokens)[None])).argmax())
    clean = other = float("nan")
    for rows in torch.arange(T).split(max(1, ROWS_TOKENS // T)):
        ids, changed_ids = (as_ids(model, each).expand(len(rows), T) for each in (tokens, others))
        kept: list[list[Tensor]] = []
        said = []
        for some in (ids, changed_ids):
            with _keeping(places, rows) as at:
                said.append(turn(partial(_after, model, some))[:, answer].double().cpu().numpy())
            kept.append(at)
        apart = said[0] - said[1]
        clean, other = (float(each[0]) for each in said)
        for i, place in enumerate(places):
            x, y = (each[i].double().cpu() for each in kept)
            changed[i, rows] = ((y - x).norm(dim=-1) / x.norm(dim=-1).clamp(min=torch.finfo(x.dtype).tiny)).numpy()
            with _putting(place, rows, kept[0][i]):
                now = turn(partial(_after, model, changed_ids))[:, answer].double().cpu().numpy()
            restored[i, rows] = np.divide(now - said[1], apart, out=np.full(len(rows), np.nan), where=np.abs(apart) >= LEAST_NATS)
    return Patched(changed, restored, answer, clean, other)


def _after(model: GPT, ids: Tensor) -> Tensor:  # (B, T) -> (B, V)
    """The log-probabilities of the next token after the last position."""
    with torch.no_grad(), evaluating(model):
        return model(ids)[:, -1].float().log_softmax(-1)


@contextmanager
def _keeping(places: Sequence[nn.Module], rows: Tensor) -> Iterator[list[Tensor]]:
    """Of each place's output, that of each row of the batch at the position `rows` (B,) says: S x (B, C), in the order of computation."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        kept.append(output[torch.arange(len(rows)), rows].clone())

    hooks = [place.register_forward_hook(keep) for place in places]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _putting(place: nn.Module, rows: Tensor, instead: Tensor) -> Iterator[None]:
    """Inside the `with` a place's output in each row of the batch is that of `instead` (B, C) at the position that `rows` (B,) says."""

    def put(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        output = output.clone()
        output[torch.arange(len(rows)), rows] = instead
        return output

    hook = place.register_forward_hook(put)
    try:
        yield
    finally:
        hook.remove()
