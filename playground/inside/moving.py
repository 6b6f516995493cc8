"""Which sublayers move information between positions: the input of each is changed at one position, and its output is compared at all.

Exact: both outputs are computed by the same kernels on the same shape, so that where nothing moves the difference is 0 to the bit.

Shapes: T tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from models.gpt import GPT
from playground.config.looks import CHANGED_POSITIONS, MAX_PROBE_TOKENS
from playground.inside.hooks import as_ids, evaluating
from playground.inside.quantities import Values


@torch.no_grad()
def moved(model: GPT, tokens: np.ndarray) -> Values:  # (T,)
    """Of the change of each sublayer's output, the share (of its squared norm) that falls on other positions than the one at which its
    input was changed, on average over `CHANGED_POSITIONS` at most. In place of an input stands that of another position of the same
    text. None where no change changes anything; nothing at all for a single token, and of the last one nothing can move on."""
    tokens = tokens[:MAX_PROBE_TOKENS]
    if len(tokens) < 2:
        return {}
    found: dict[str, list] = {}
    with evaluating(model):
        with _keeping_inputs(model) as inputs:
            model(as_ids(model, tokens)[None])
        for part, f, h in inputs:
            found.setdefault(part, []).append(share_moved(f, h))
    return {"moves": found}


def share_moved(f: nn.Module, h: Tensor) -> float | None:  # (1, T, C)
    """As `moved`, of one sublayer with this input."""
    T, y, shares = h.size(1), f(h), []
    for at in np.unique(np.linspace(0, T - 2, CHANGED_POSITIONS).astype(int)).tolist():
        changed = h.clone()
        changed[:, at] = h[:, (at + T // 2) % T]
        apart = (f(changed) - y)[0]
        by_position = (apart if apart.device.type == "mps" else apart.double()).square().sum(-1)  # (T,)
        if (whole := by_position.sum().item()) > 0:
            by_position[at] = 0.0
            shares.append(by_position.sum().item() / whole)
    return sum(shares) / len(shares) if shares else None


@contextmanager
def _keeping_inputs(model: GPT) -> Iterator[list[tuple[str, nn.Module, Tensor]]]:
    """What each sublayer is given in the forward pass inside the `with`, after the norm before it: (attn or mlp, the sublayer, input)."""
    kept: list[tuple[str, nn.Module, Tensor]] = []

    def keeping(part: str):
        def keep(module: nn.Module, inputs: tuple) -> None:
            kept.append((part, module, inputs[0]))

        return keep

    branches = [(part, branch) for block in model.blocks for part, branch in (("attn", block.attn), ("mlp", block.mlp))]
    hooks = [branch.f.register_forward_pre_hook(keeping(part)) for part, branch in branches if branch is not None]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()
