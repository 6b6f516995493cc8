"""What held-out data show of the stream at the embedding and after each layer: which tokens a linear probe reads in it, and the loss of
the next token if the model ended there, by class of that token.

Shapes: N positions, C channels, K classes, L layers, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.gpt import GPT
from models.graph import stream_nodes
from playground.config.looks import POSITIONS
from playground.data.dataset import Data, TaskData
from playground.data.sample import paired_difference
from playground.inside.hooks import as_ids, evaluating, layer_ends
from playground.inside.measures import read_out
from playground.inside.quantities import LENSES, Values
from playground.inside.token_classes import CLASSES, PATTERNS, STRUCTURE, classes_of

FEWEST = 256  # positions that say something
PARTS = (0.6, 0.15, 0.25)  # of the positions: to fit on, to choose by, to judge on
TRUSTS = (0.0, 0.03, 0.1, 0.3, 1.0)
MOST_FLOATS = 2**24  # that are kept of all streams
SHRINKAGE = 0.01
AT_A_TIME = 4096
LOGITS_AT_A_TIME = 2**22
FEWEST_OF_CLASS = 30  # tokens whose mean loss says something
ERRORS = 2.0  # how many standard errors a loss must come down by for the layers where it does to be known
RIDGE = 0.001


class HeldOut(NamedTuple):
    """(B, T) held-out tokens, which of them count (bool), and their classes as places in `CLASSES`, None for a task."""

    tokens: np.ndarray
    counted: np.ndarray
    classes: np.ndarray | None = None

    @property
    def first(self) -> np.ndarray:  # (T,)
        """The tokens of the first sequence that count."""
        return self.tokens[0][self.counted[0]]


def reading_text(data: Data, width: int) -> HeldOut:
    """About `POSITIONS` held-out tokens in windows or examples spread evenly over the data."""
    if isinstance(data, TaskData):
        width = min(width, data.held_out.tokens.shape[1])
        n = max(1, POSITIONS // width)
        tokens, ends = data.held_out.tokens[:n, :width], data.held_out.ends[:n]
        return HeldOut(tokens.astype(np.int64), np.arange(width) < ends[:, None])
    width = min(width, len(data.held_out))
    n = min(len(data.held_out) // width, max(1, POSITIONS // width))
    starts = np.linspace(0, len(data.held_out) - width, n).astype(np.int64)
    tokens = data.held_out[starts[:, None] + np.arange(width)].astype(np.int64)
    return HeldOut(tokens, np.ones(tokens.shape, bool), classes_of(tokens, data.tokenizer))


@torch.no_grad()
def read(model: GPT, tokens: np.ndarray, counted: np.ndarray, classes: np.ndarray | None = None) -> Values:  # (B, T) of each
    """The share of tokens that a linear probe reads in the stream at the embedding and after each layer: the token at each position, and
    the one before it; and the share of the commonest one, which a probe names that reads nothing. It is fitted on some of the sequences
    and judged on others. With `classes`, the losses of the two lenses by class of the next token. Positions that are not `counted` (what
    fills a sequence up) are left out, and the first of each sequence, which has none before it. Nothing is said where too few are left."""
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
    if classes is not None:
        with evaluating(model):
            found |= _lenses(model, streams, here, now, classes[:rows])
    return found


def _lenses(model: GPT, streams: list[Tensor], here: Tensor, now: Tensor, classes: np.ndarray) -> Values:
    """The losses of the next token by its class, and how much later those of structure come down than those of patterns: read out by the
    logit lens, and by a translated one. Of `here` (B, T - 1), the positions of the (N, C) streams, those are used whose next one is there
    as well."""
    goes_on = here & torch.cat([here[:, 1:], torch.zeros_like(here[:, :1])], 1)
    used, rows = goes_on[here], goes_on.nonzero()[:, 0]
    streams, targets = [x[used] for x in streams], now[goes_on.roll(1, 1)[here]]
    kinds = classes[:, 1:][goes_on.roll(1, 1).cpu().numpy()]
    if not all(x.isfinite().all() for x in streams):
        return {}
    embedding, (*_, end) = stream_nodes(model.config)
    found: Values = {}
    *before, last = streams
    at_the_end = _losses(model, last, targets)
    for lens in LENSES:
        if lens == "translated":
            before = [translated(x, last, rows % 2 == 0) for x in before]
        losses = np.array([*(_losses(model, x, targets) for x in before), at_the_end])  # (L + 1, N)
        by_class = {name: losses[:, kinds == k] for k, name in enumerate(CLASSES) if (kinds == k).sum() >= FEWEST_OF_CLASS}
        for name, some in by_class.items():
            found[f"{lens}_{name}"] = {embedding: some[:1].mean(1).tolist(), end: some[1:].mean(1).tolist()}
        of = {name: rows.cpu().numpy()[kinds == CLASSES.index(name)] for name in by_class}
        found[f"{lens}_later"] = {"head": [later({name: (some, of[name]) for name, some in by_class.items()})]}
    return found


def later(by_class: dict[str, tuple[np.ndarray, np.ndarray]]) -> float | None:
    """How much later in the model the loss of what stands for structure comes down than that of what stands for patterns, each the mean
    over its classes of `depth`. `by_class`: the losses (L + 1, N) of each class that is frequent enough, and the sequences (N,) that they
    are of. None where one of the two has no class, or where a loss does not come down by more than `ERRORS` standard errors."""
    depths = {name: depth(*by_class[name]) for name in (*PATTERNS, *STRUCTURE) if name in by_class}
    parts = [[depths[name] for name in part if name in depths] for part in (PATTERNS, STRUCTURE)]
    known = [[each for each in part if each is not None] for part in parts]
    if not all(parts) or known != parts:
        return None
    patterns, structure = (sum(part) / len(part) for part in known)
    return structure - patterns


def depth(losses: np.ndarray, sequences: np.ndarray) -> float | None:  # (L + 1, N), (N,)
    """The mean depth at which a loss comes down: each layer's number, as a share of L, weighted by how much the loss falls there. Above 0
    (with one layer 1), or outside where it rises on the way. None where from first to last it does not fall by more than `ERRORS` of its
    standard errors, over the sequences."""
    of = np.unique(sequences, return_inverse=True)[1]
    last, first = (np.bincount(of, weights=losses[place]) for place in (-1, 0))
    fall, error = paired_difference(last, first, losses.shape[1])
    if not fall > ERRORS * error:
        return None
    means = losses.mean(1)
    return float((means[:-1] - means[-1]).mean() / fall)


def _losses(model: GPT, x: Tensor, targets: Tensor) -> np.ndarray:  # (N, C), (N,) -> (N,)
    """Cross-entropy of each target, read out of x by the final norm and the head."""
    size = max(1, LOGITS_AT_A_TIME // model.config.vocab_size)
    parts = zip(x.split(size), targets.split(size), strict=True)
    return torch.cat([F.cross_entropy(read_out(model, some).float(), of, reduction="none") for some, of in parts]).double().cpu().numpy()


def translated(x: Tensor, end: Tensor, half: Tensor) -> Tensor:  # 2 x (N, C), (N,) bool -> (N, C)
    """The affine guess of the last layer's stream from an earlier one: least squares with a small ridge, fitted on one half of the
    positions for the other. Din et al. 2023, arXiv:2303.09435. The tuned lens of Belrose et al. 2023, arXiv:2303.08112, fits the same map
    to the model's predictions, by gradient descent, which is dearer."""
    guess = torch.empty_like(end)
    wide = torch.float32 if x.device.type == "mps" else torch.float64
    for judged in (half, ~half):
        known, wanted = x[~judged].to(wide), end[~judged].to(wide)
        mean, aim = known.mean(0), wanted.mean(0)
        gram = (known - mean).T @ (known - mean)
        shift = RIDGE * gram.diagonal().mean() + torch.finfo(wide).tiny
        weights = torch.linalg.solve(gram + shift * torch.eye(len(gram), dtype=wide, device=x.device), (known - mean).T @ (wanted - aim))
        guess[judged] = ((x[judged].to(wide) - mean) @ weights + aim).to(guess.dtype)
    return guess


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
