"""Ablation: switch off parts of a model, to see how much worse it is without them.

Zero ablation, as in Michel et al. 2019, arXiv:1905.10650: what a part adds is replaced by zeros; a layer
that is switched off passes the residual stream on unchanged. Mean ablation, as in Wang et al. 2022, arXiv:2211.00593:
what it adds is replaced by its mean over some data, so that only what it says about the tokens is lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from models.attention import CausalSelfAttention
from models.config import ModelConfig
from models.gpt import GPT
from models.knobs import ConfigError, Problem

_PART = re.compile(r"(layer|attn|mlp|head):([1-9][0-9]{0,3})(?:\.([1-9][0-9]{0,3}))?")


@dataclass(frozen=True)
class Part:
    """`kind` is layer, attn, mlp or head; `layer` and `head` count from 0."""

    kind: str
    layer: int
    head: int | None = None

    def __str__(self) -> str:
        """As people write it, counting from 1: `mlp:2`, `head:2.4`."""
        return f"{self.kind}:{self.layer + 1}" + ("" if self.head is None else f".{self.head + 1}")


def parts_of(config: ModelConfig) -> list[Part]:
    """Everything that can be switched off, layer by layer."""
    found = []
    for layer in range(config.n_layer):
        found.append(Part("layer", layer))
        if config.has_attention:
            found += [Part("attn", layer), *(Part("head", layer, head) for head in range(config.n_head))]
        if config.has_mlp:
            found.append(Part("mlp", layer))
    return found


def parse_parts(text: str, config: ModelConfig) -> tuple[Part, ...]:
    """From `layer:2,head:1.3`, counting from 1. Raises ConfigError with a problem for each part that the model lacks."""
    known, found, problems = set(parts_of(config)), [], []
    for name in filter(None, (each.strip() for each in text.split(","))):
        match = _PART.fullmatch(name)
        part = match and Part(match[1], int(match[2]) - 1, None if match[3] is None else int(match[3]) - 1)
        if part in known:
            found.append(part)
        else:
            heads = f", head:1.1 to head:{config.n_layer}.{config.n_head}" if config.has_attention else ""
            have = f"layer:1 to layer:{config.n_layer}{heads}" + ", attn:N" * config.has_attention + ", mlp:N" * config.has_mlp
            problems.append(Problem("off", f"{name[:40]!r} is no part of this model; it has {have}"))
    if problems:
        raise ConfigError(problems)
    return tuple(dict.fromkeys(found))


@contextmanager
def without(model: GPT, parts: Iterable[Part], means: Mapping[Part, Tensor] | None = None) -> Iterator[None]:
    """Inside the `with` the model computes as if what the parts add were zero, or else their `means`."""
    with _replacing(model, {part: partial(_put, None if means is None else means[part]) for part in parts}):
        yield


class Means:
    """The mean of what each part of a model adds, over all tokens that the model reads inside `watched`. In float64."""

    def __init__(self, model: GPT):
        self.model, self.parts = model, parts_of(model.config)
        self._sums: dict[Part, Tensor] = {}
        self._n_tokens = 0

    @contextmanager
    def watched(self, counted: Tensor) -> Iterator[None]:
        """Inside the `with` one batch is read; `counted` (B, T) bool says which of its tokens count, such as those that are not padding."""
        self._n_tokens += int(counted.sum())

        def add(part: Part, added: Tensor) -> Tensor:
            total = added[counted].double().sum(0)
            self._sums[part] = total + self._sums.get(part, 0)
            return added

        with _replacing(self.model, {part: partial(add, part) for part in self.parts}):
            yield

    def get(self) -> dict[Part, Tensor]:
        """(C,) by layer or sublayer, (head_size,) by head."""
        return {part: total / max(1, self._n_tokens) for part, total in self._sums.items()}


Replace = Callable[[Tensor], Tensor]  # what takes the place of the (B, T, C) that a part adds, or the (B, T, head_size) of a head


def _put(mean: Tensor | None, added: Tensor) -> Tensor:
    return torch.zeros_like(added) if mean is None else mean.to(added.dtype).expand_as(added)


@contextmanager
def _replacing(model: GPT, parts: Mapping[Part, Replace]) -> Iterator[None]:
    hooks = [_hook(model, part, replace) for part, replace in parts.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _hook(model: GPT, part: Part, replace: Replace):
    block = model.blocks[part.layer]
    if part.kind == "layer":
        return block.register_forward_hook(_of_layer(replace))
    branch = block.mlp if part.kind == "mlp" else block.attn
    if branch is None:
        raise ValueError(f"{part} is no part of this model")
    if block.attn is not None and part.head is not None:
        return block.attn.f.proj.register_forward_pre_hook(_of_head(block.attn.f, part.head, replace))
    return branch.norm_out.register_forward_hook(_of_branch(replace))


def _of_layer(replace: Replace):
    def hook(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        return inputs[0] + replace(output - inputs[0])

    return hook


def _of_branch(replace: Replace):
    def hook(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        return replace(output)

    return hook


def _of_head(attention: CausalSelfAttention, head: int, replace: Replace):
    """A hook that replaces one head's output before the output projection."""
    own = slice(head * attention.head_size, (head + 1) * attention.head_size)

    def hook(module: nn.Module, inputs: tuple) -> tuple[Tensor]:
        y = inputs[0].clone()
        y[..., own] = replace(y[..., own])
        return (y,)

    return hook
