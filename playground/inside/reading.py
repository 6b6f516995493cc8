"""What a linear probe reads in the stream: the token at each position, and the one before it.

Shapes: N positions, C channels, K classes, L layers.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models.gpt import GPT
from models.graph import stream_nodes
from playground.config.looks import POSITIONS
from playground.data.dataset import Data, TaskData
from playground.inside.hooks import as_ids, evaluating, layer_ends
from playground.inside.quantities import Values

FEWEST = 256  # positions that say something
PARTS = (0.6, 0.15, 0.25)  # of the positions: to fit on, to choose by, to judge on
TRUSTS = (0.0, 0.03, 0.1, 0.3, 1.0)
MOST_FLOATS = 2**24  # that are kept of all streams
SHRINKAGE = 0.01
AT_A_TIME = 4096


def reading_text(data: Data, width: int) -> tuple[np.ndarray, np.ndarray]:  # -> 2 x (B, T)
    """About `POSITIONS` held-out tokens in windows or examples spread evenly over the data, and which of them count (bool)."""
    if isinstance(data, TaskData):
        width = min(width, data.held_out.tokens.shape[1])
        n = max(1, POSITIONS // width)
        tokens, ends = data.held_out.tokens[:n, :width], data.held_out.ends[:n]
        return tokens.astype(np.int64), np.arange(width) < ends[:, None]
    width = min(width, len(data.held_out))
    n = min(len(data.held_out) // width, max(1, POSITIONS // width))
    starts = np.linspace(0, len(data.held_out) - width, n).astype(np.int64)
    tokens = data.held_out[starts[:, None] + np.arange(width)].astype(np.int64)
    return tokens, np.ones(tokens.shape, bool)


@torch.no_grad()
def read(model: GPT, tokens: np.ndarray, counted: np.ndarray) -> Values:  # (B, T), (B, T) bool
    """The share of tokens that a linear probe reads in the stream at the embedding and after each layer: the token at each position, and
    the one before it; and the share of the commonest one, which a probe names that reads nothing. It is fitted on some of the sequences
    and judged on others. Positions that are not `counted` (what fills a sequence up) are left out, and the first of each sequence, which
    has none before it. Nothing is said where too few are left."""
    most = max(FEWEST, min(POSITIONS, MOST_FLOATS // (model.config.n_embd * (model.config.n_layer + 1))))
    rows = max(1, min(len(tokens), most // max(1, tokens.shape[1])))
    tokens, counted = tokens[:rows], counted[:rows, 1:]
    n = int(counted.sum())
    if len(tokens) < len(PARTS) or n < FEWEST:
        return {}
    here = torch.from_numpy(counted).to(model.wte.weight.device)
    now, before = (torch.from_numpy(np.ascontiguousarray(each)).to(here.device)[here] for each in (tokens[:, 1:], tokens[:, :-1]))  # (N,)
    places: list[list[Tensor]] = [[] for _ in range(model.config.n_layer + 1)]
    with evaluating(model):
        for first in range(0, len(tokens), step := max(1, AT_A_TIME // tokens.shape[1])):
            for kept, x in zip(places, layer_ends(model, as_ids(model, tokens[first : first + step])), strict=True):
                kept.append(x[:, 1:][here[first : first + step]])
    streams = [torch.cat(kept) for kept in places]  # (L + 1) x (N, C)
    fitted, chosen = (int(share * n) for share in (PARTS[0], PARTS[0] + PARTS[1]))
    embedding, (*_, end) = stream_nodes(model.config)
    found: Values = {}
    for name, of in (("reads_token", now), ("reads_previous", before)):
        shares = [share_read(x, of, fitted, chosen) for x in streams]
        found[name] = {embedding: shares[:1], end: shares[1:]}
    commonest = now[:fitted].mode().values
    found["reads_majority"] = {embedding: [(now[chosen:] == commonest).double().mean().item()]}
    return found


def share_read(x: Tensor, of: Tensor, fitted: int, chosen: int) -> float | None:  # (N, C), (N,)
    """The share of classes of the positions from `chosen` on that linear discriminant analysis names: by the means of the classes, one
    covariance for all, shrunk towards its mean variance (Friedman 1989, J. Am. Stat. Assoc. 84), and the frequencies of the classes, all
    of the first `fitted` positions. Neighbouring positions are alike, which it does not know: how far it is trusted against the
    frequencies alone is chosen on the positions in between. None where x is not finite."""
    if not x.isfinite().all():
        return None
    x = x if x.device.type == "mps" else x.double()
    x = x - x[:fitted].mean(0)
    seen, which, counts = of[:fitted].unique(return_inverse=True, return_counts=True)
    means = torch.zeros(len(seen), x.size(1), dtype=x.dtype, device=x.device).index_add_(0, which, x[:fitted]) / counts[:, None]  # (K, C)
    apart = x[:fitted] - means[which]
    covariance = apart.T @ apart / fitted
    shift = SHRINKAGE * covariance.diagonal().mean() + torch.finfo(x.dtype).tiny
    shrunk = (1 - SHRINKAGE) * covariance + shift * torch.eye(x.size(1), dtype=x.dtype, device=x.device)
    weights = torch.linalg.solve(shrunk, means.T)  # (C, K)
    evidence = x[fitted:] @ weights - (means.T * weights).sum(0) / 2
    prior, right = (counts / fitted).log(), of[fitted:]
    hits = [seen[(trust * evidence + prior).argmax(1)] == right for trust in TRUSTS]
    between = chosen - fitted
    best = max(hits, key=lambda each: each[:between].sum().item())
    return best[between:].double().mean().item()
