"""From the trace of a forward pass to a probe: the numbers that `playground.inside.quantities` names, and the tensors behind them.

Shapes: B batch, T probe tokens, C channels, F hidden units, L layers, H heads, S places of the stream, V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.config import CompleteModel, ModelConfig
from models.gpt import GPT
from models.graph import graph, stream_nodes
from models.mlp import FUNCTIONS
from playground.config.looks import INDUCTION_SEQUENCES, MAX_INDUCTION
from playground.config.run import CompleteRun
from playground.data.tokenizers import Tokenizer
from playground.inside.hooks import Gradients, Trace, as_ids, evaluating, traced, traced_with_gradients
from playground.inside.quantities import FLAT_SLOPE, QUANTILES, Probe, Values

N_TOP, N_BINS = 5, 41
TAIL_AT_MOST, TAIL_STEP = 20.0, 1e-4
FEWEST_CHANNELS = 8  # with fewer even one channel alone is no outlier


class Repeats(NamedTuple):
    """From what sequences are made on which induction is scored: token ids that stand for something (all, where None), and the longest
    sequence that the model was trained on (its context, where None)."""

    tokens: np.ndarray | None = None
    longest: int | None = None

    @classmethod
    def of(cls, config: CompleteRun, tokenizer: Tokenizer) -> Repeats:
        """Of a task only its letters and numbers: what separates them stands where it stands for a reason."""
        if not config.data.is_task:
            return cls(longest=config.width)
        words = [tokenizer.decode([i]) for i in range(tokenizer.vocab_size)]
        return cls(np.array([i for i, word in enumerate(words) if word.isalnum()], dtype=np.int64), config.width)


def measure(model: GPT, tokens: np.ndarray, step_taken: Values | None = None, repeats: Repeats | None = None) -> Probe[Tensor]:
    """The probe of a model on (T,) tokens; `step_taken` is what was measured of the last training step."""
    if len(tokens) > 1:
        trace, gradients = traced_with_gradients(model, tokens)
    else:
        trace, gradients = traced(model, tokens), None
    with torch.no_grad(), evaluating(model):
        values, tensors = {}, {"tokens": torch.from_numpy(tokens.astype(np.int64)), "attention": attention_tensor(trace)}
        _stream(model.config, trace, values, tensors)
        if gradients is not None:
            _gradients(model.config, trace, gradients, values, tensors)
        _sublayers(trace, values)
        _hidden(model.config, trace, values, tensors)
        _attention(model, trace, repeats or Repeats(), values)
        _lens(model, trace, tokens, values, tensors)
        for name, module in model.named_modules():
            gain = getattr(module, "weight", None)
            if "norm" in name.rsplit(".", 1)[-1] and isinstance(gain, Tensor):
                tensors[f"gain.{name}"] = gain.detach().half().cpu()
    return Probe(rounded(values | (step_taken or {})), tensors)


def stream_sites(config: ModelConfig) -> list[tuple[str, int]]:
    """(node, layer) of every place of the stream, in order; the embedding first."""
    first, ends = stream_nodes(config)
    return [(first, 0), *((node, layer) for layer in range(config.n_layer) for node in ends)]


def attention_tensor(trace: Trace) -> Tensor:
    """(L, H, T, T) float16 on the CPU; with no attention L and H are 0."""
    if not trace.maps:
        T = trace.stream[0].size(1)
        return torch.zeros(0, 0, T, T, dtype=torch.float16)
    return torch.stack([maps[0] for maps in trace.maps]).half().cpu()


def _placed(config: ModelConfig, numbers: list[float]) -> dict[str, list]:
    """One number per place of the stream, by node."""
    by_node: dict[str, list] = {}
    for (node, _), number in zip(stream_sites(config), numbers, strict=True):
        by_node.setdefault(node, []).append(number)
    return by_node


def _stream(config: ModelConfig, trace: Trace, values: Values, tensors: dict) -> None:
    x = _precise(torch.stack([each[0] for each in trace.stream]))  # (S, T, C)
    tensors["stream_rms"] = x.square().mean(-1).sqrt().float().cpu()
    values["stream_rms"] = _placed(config, x.square().mean((1, 2)).sqrt().tolist())
    values["stream_cosine"] = _placed(config, likeness(x, x[0]).tolist())
    if x.size(-1) >= FEWEST_CHANNELS:
        centred = x - x.mean(-1, keepdim=True)
        kurtosis = centred.pow(4).mean(-1) / centred.square().mean(-1).square()  # (S, T)
        values["stream_outliers"] = _placed(config, ((kurtosis - 3) / (largest_kurtosis(x.size(-1)) - 3)).mean(-1).tolist())


def likeness(x: Tensor, first: Tensor) -> Tensor:  # (S, T, C), (T, C) -> (S,)
    """The mean cosine of each token's x with its own embedding, less that with the embeddings of the others."""
    tiny, T = torch.finfo(x.dtype).tiny, len(first)
    cosines = F.normalize(x, dim=-1, eps=tiny) @ F.normalize(first, dim=-1, eps=tiny).T  # (S, T, T)
    own = cosines.diagonal(0, -2, -1).sum(-1)
    return own / T - (cosines.sum((1, 2)) - own) / max(1, T * (T - 1))


def largest_kurtosis(n: int) -> float:
    """The kurtosis of n numbers of which one alone differs from the rest: no n numbers have a larger one."""
    return n - 2 + 1 / (n - 1)


def _gradients(config: ModelConfig, trace: Trace, gradients: Gradients, values: Values, tensors: dict) -> None:
    g, x = (_precise(torch.stack([each[0] for each in tensors])) for tensors in (gradients.stream, trace.stream))  # (S, T, C)
    lengths = g.square().sum(-1).sqrt()  # (S, T)
    tensors["grad_stream"] = lengths.float().cpu()
    values["grad_relative"] = _placed(config, (lengths * x.square().mean(-1).sqrt()).square().sum(-1).sqrt().tolist())
    values["grad_stream"] = _placed(config, lengths.square().sum(-1).sqrt().tolist())
    shares, cosines = {}, {}
    for name, skips in gradients.skip.items():
        pairs = [(_precise(skip[0]), _precise(through[0])) for skip, through in zip(skips, gradients.through[name], strict=True)]
        if pairs:
            shares[name] = [(through.norm() / skip.norm()).item() for skip, through in pairs]
            cosines[name] = [((through * skip).sum() / (through.norm() * skip.norm())).item() for skip, through in pairs]
    if shares:
        values["grad_branch"], values["grad_branch_cosine"] = shares, cosines


def _precise(x: Tensor) -> Tensor:
    """x in float64, in which squares of tiny numbers don't underflow; in float32 on MPS, which has no float64."""
    return x.float() if x.device.type == "mps" else x.double()


def _sublayers(trace: Trace, values: Values) -> None:
    shares = {
        name: [
            (change.norm(dim=-1) / before.norm(dim=-1)).mean().item() for before, change in zip(trace.before[name], changes, strict=True)
        ]
        for name, changes in trace.change.items()
        if changes
    }
    if shares:
        values["sublayer_share"] = shares


def _hidden(config: ModelConfig, trace: Trace, values: Values, tensors: dict) -> None:
    if not trace.hidden:
        return
    spread, flat, dead, counts, ranges = [], [], [], [], []
    for before, after in trace.hidden:
        numbers = after[0].float()  # (T, F)
        every = numbers.flatten()
        spread.append(np.quantile(every.cpu().numpy(), QUANTILES).tolist())
        flat.append((before < flat_below(config.function)).float().mean().item())
        dead.append((numbers == 0).all(0).float().mean().item())
        low, high = every.min().item(), every.max().item()
        counts.append(torch.histc(every, N_BINS, low, high).cpu() if math.isfinite(high - low) else torch.zeros(N_BINS))
        ranges.append(torch.tensor([low, high]))
    values["hidden_quantiles"], values["flat_units"] = {"mlp": spread}, {"mlp": flat}
    if config.units_die:
        values["dead_units"] = {"mlp": dead}
    tensors["hidden_counts"], tensors["hidden_range"] = torch.stack(counts), torch.stack(ranges)


@cache
def flat_below(name: str) -> float:
    """Where the flat tail of an activation function ends: left of it the slope is nowhere as steep as FLAT_SLOPE. What is flat around a
    minimum, such as GELU's at -0.75, is none: a small push leads out of it."""
    z = torch.arange(-TAIL_AT_MOST, TAIL_AT_MOST, TAIL_STEP, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        (slopes,) = torch.autograd.grad(FUNCTIONS[name]()(z).sum(), z)
    return z[(slopes.abs() >= FLAT_SLOPE).nonzero()[0, 0]].item()


def _attention(model: GPT, trace: Trace, repeats: Repeats, values: Values) -> None:
    if not trace.maps:
        return
    maps = torch.stack([each[0] for each in trace.maps])  # (L, H, T, T)
    values["attn_entropy"] = {"attn": entropy(maps).tolist()}
    values["attn_distance"] = {"attn": distance(maps).tolist()}
    if maps.size(-1) > 1:
        values["attn_previous"] = {"attn": maps.diagonal(-1, -2, -1).mean(-1).tolist()}
        values["attn_first"] = {"attn": maps[..., 1:, 0].mean(-1).tolist()}
        values["attn_self"] = {"attn": maps[..., 1:, 1:].diagonal(0, -2, -1).mean(-1).tolist()}
    drawn = repeated(model.config, repeats)
    if drawn is not None:
        scores = induction(model, drawn)  # (N, L, H)
        values["attn_induction"] = {"attn": scores.mean(0).tolist()}
        values["attn_induction_error"] = {"attn": (scores.std(0) / math.sqrt(len(scores))).tolist()}


def entropy(maps: Tensor) -> Tensor:  # (…, T, T) -> (…)
    """The entropy of each row in nats, averaged over the rows."""
    return -torch.special.xlogy(maps, maps).sum(-1).mean(-1)


def distance(maps: Tensor) -> Tensor:  # (…, T, T) -> (…)
    """Tokens from the query back to the key, weighted by attention, averaged over the rows."""
    places = torch.arange(maps.size(-1), device=maps.device)
    return (maps * (places[:, None] - places).clamp(min=0)).sum(-1).mean(-1)


def repeated(config: CompleteModel, repeats: Repeats) -> np.ndarray | None:  # -> (N, 2 n)
    """Sequences of n different random tokens, said twice; None where not even two tokens can be repeated."""
    tokens = np.arange(config.vocab_size) if repeats.tokens is None else repeats.tokens
    longest = config.block_size if repeats.longest is None else min(config.block_size, repeats.longest)
    n, rng = min(MAX_INDUCTION, longest // 2, len(tokens)), np.random.default_rng(0)
    if n < 2:
        return None
    once = np.stack([rng.choice(tokens, n, replace=False) for _ in range(INDUCTION_SEQUENCES)])
    return np.concatenate([once, once], axis=1)


def induction(model: GPT, drawn: np.ndarray) -> Tensor:  # (N, 2 n) -> (N, L, H)
    """The mean weight that a head puts on the token after the earlier occurrence of the present one, in each of these sequences of
    different tokens that are said twice. Olsson et al. 2022, arXiv:2209.11895."""
    maps = torch.stack(traced(model, drawn).maps, 1)  # (N, L, H, 2 n, 2 n)
    return maps.diagonal(1 - drawn.shape[1] // 2, -2, -1)[..., 1:].mean(-1).cpu()


def _lens(model: GPT, trace: Trace, tokens: np.ndarray, values: Values, tensors: dict) -> None:
    """The logit lens: read out the stream after each layer as if it were the last. nostalgebraist 2020."""
    config, (first, ends) = model.config, stream_nodes(model.config)
    ids = as_ids(model, tokens)
    tops, chances, rights, losses = [], [], [], []
    for x in trace.stream[:: max(1, len(ends))]:
        logits = read_out(model, x[0])  # (T, V)
        logs = logits.float().log_softmax(-1)
        top = logs.topk(min(N_TOP, config.vocab_size), dim=-1)
        tops.append(top.indices.int().cpu())
        chances.append(top.values.exp().half().cpu())
        right = logs[:-1].gather(-1, ids[1:, None])[:, 0]  # (T - 1,)
        rights.append(right.exp().half().cpu())
        losses.append(-right.mean().item())
    tensors["lens_top"], tensors["lens_p"], tensors["lens_right"] = torch.stack(tops), torch.stack(chances), torch.stack(rights)
    if len(tokens) > 1:
        for name, numbers in (("lens_loss", losses), ("lens_right", [math.exp(-loss) for loss in losses])):
            values[name] = {first: numbers[:1]} | ({ends[-1]: numbers[1:]} if numbers[1:] else {})


def read_out(model: GPT, x: Tensor) -> Tensor:  # (T, C) -> (T, V)
    """Logits from the stream at some place, by the final norm and the head."""
    logits, cap = model.head(model.norm(x)), model.config.logit_softcap
    return logits if cap is None else cap * torch.tanh(logits / cap)


# The training step before a probe.


@dataclass
class StepTaken:
    """What one optimizer step did to each part of the model; measuring it took `cost_s` seconds, and `cpu_s` of computing."""

    config: CompleteModel
    squares: dict[str, list[float]] = field(default_factory=dict)  # by parameter: squared norms of its gradient, weight and change
    cost_s: float = 0.0
    cpu_s: float = 0.0

    def values(self, norm_before_clipping: float) -> Values:
        """Gradient norms as they were before clipping, and updates relative to the weights."""
        clipped = math.sqrt(sum(gradient for gradient, _, _ in self.squares.values()))
        unclip = norm_before_clipping / clipped if clipped > 0 else 1.0
        sums = by_place(self.config, self.squares)
        return {
            "grad_params": _over_layers(self.config, {place: unclip * math.sqrt(gradient) for place, (gradient, _, _) in sums.items()}),
            "update_ratio": _over_layers(
                self.config, {place: math.sqrt(change / weight) if weight > 0 else None for place, (_, weight, change) in sums.items()}
            ),
        }


def by_place(config: CompleteModel, by_parameter: dict[str, list[float]]) -> dict[tuple[str, int], list[float]]:
    """By node and layer, the sums over its parameters of each of their numbers."""
    nodes, sums = parameter_nodes(config), {}
    for name, numbers in by_parameter.items():
        place = next(node for prefix, node in nodes.items() if name.startswith(prefix))
        sums[place] = [a + b for a, b in zip(sums.get(place, [0.0] * len(numbers)), numbers, strict=True)]
    return sums


def _over_layers(config: CompleteModel, numbers: dict[tuple[str, int], float | None]) -> dict[str, list]:
    values: dict[str, list] = {}
    for (node, layer), number in numbers.items():
        length = config.n_layer if node not in ("embedding", "embd_norm", "norm", "head") else 1
        values.setdefault(node, [None] * length)[layer] = number
    return values


def first_gradient(model: GPT, loss: Callable[[], Tensor]) -> Values:
    """The gradient norms of the first training step, before it is taken. The parameters are left without gradients, as they were."""
    loss().backward()
    squares = {name: [p.grad.float().square().sum().item()] for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return {"grad_params": _over_layers(model.config, {k: math.sqrt(v) for k, (v,) in by_place(model.config, squares).items()})}


@contextmanager
def watching_step(model: GPT, optimizer: torch.optim.Optimizer) -> Iterator[StepTaken]:
    """Measure the one optimizer step inside the `with`: the gradients, and how far each weight went."""
    taken = StepTaken(model.config)
    before: dict[str, Tensor] = {}
    gradients: dict[str, Tensor] = {}  # squares, () of each

    def timed(observe: Callable[[], None]):
        def hook(*_) -> None:
            start, cpu = time.perf_counter(), time.process_time()
            observe()
            taken.cost_s += time.perf_counter() - start
            taken.cpu_s += time.process_time() - cpu

        return hook

    @torch.no_grad()
    def keep() -> None:
        before.update({name: parameter.detach().clone() for name, parameter in model.named_parameters()})
        gradients.update({name: p.grad.float().square().sum() for name, p in model.named_parameters() if p.grad is not None})

    @torch.no_grad()
    def compare() -> None:
        numbers = []
        for name, parameter in model.named_parameters():
            if name in gradients:
                old = before[name]
                numbers.append(torch.stack([gradients[name], old.float().square().sum(), (parameter - old).float().square().sum()]))
        taken.squares = dict(zip(gradients, torch.stack(numbers).tolist(), strict=True)) if numbers else {}
        before.clear()
        gradients.clear()

    hooks = [optimizer.register_step_pre_hook(timed(keep)), optimizer.register_step_post_hook(timed(compare))]
    try:
        yield taken
    finally:
        for hook in hooks:
            hook.remove()


def parameter_nodes(config: CompleteModel) -> dict[str, tuple[str, int]]:
    """Maps the prefix of a parameter's name to the node and layer that it belongs to."""
    places = {"wte.": ("embedding", 0), "wpe.": ("embedding", 0)}
    for node in graph(config).nodes:
        if node.module:
            for layer in range(config.n_layer if node.in_block else 1):
                places[node.module.format(layer=layer) + "."] = (node.id, layer)
    for layer in range(config.n_layer):
        for part in ("attn", "mlp"):
            places[f"blocks.{layer}.{part}.gain"] = ("add" if config.parallel else f"{part}.add", layer)
    return places


def rounded(values: Values) -> Values:
    """Four significant digits; None for what is no finite number."""

    def short(entry: Any) -> Any:
        if isinstance(entry, list):
            return [short(each) for each in entry]
        return float(f"{entry:.4g}") if entry is not None and math.isfinite(entry) else None

    return {name: {node: short(layers) for node, layers in nodes.items()} for name, nodes in values.items()}
