"""Optimisers and learning rate schedules. Knows nothing of models beyond named parameters."""

from __future__ import annotations

import math

import torch
from torch import nn

from playground.config import OptimConfig


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Two groups: matrices (and embeddings) decay, vectors do not. Tied weights appear once."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.beta1)
    fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=1e-8, fused=fused)


def learning_rate(config: OptimConfig, step: int, position: float) -> float:
    """The rate of update number `step` (from 0), at `position` 0 … 1 of what follows the warm-up.

    Warm-up rises linearly over `warmup_steps` updates and reaches `lr` just after them.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / (config.warmup_steps + 1)
    floor = config.lr / 10 if config.min_lr is None else config.min_lr
    position = min(max(position, 0.0), 1.0)
    match config.schedule:
        case "constant":
            return config.lr
        case "linear":
            return floor + (config.lr - floor) * (1 - position)
        case "cosine":
            return floor + (config.lr - floor) * 0.5 * (1 + math.cos(math.pi * position))


class Schedule:
    """The learning rate over a run that ends by steps, or by seconds where no steps are set.

    `warmup_ended_s` is part of a checkpoint: a schedule over seconds starts to fall there.
    """

    def __init__(self, config: OptimConfig, max_steps: int | None, max_seconds: float | None):
        self.config, self.max_steps, self.max_seconds = config, max_steps, max_seconds
        self.warmup_ended_s = 0.0

    def lr(self, step: int, seconds: float) -> float:
        """The rate for update number `step` (from 0), `seconds` of training into the run."""
        if step < self.config.warmup_steps:
            self.warmup_ended_s = seconds
            return learning_rate(self.config, step, 0.0)
        if self.max_steps is not None:
            position = (step - self.config.warmup_steps) / max(1, self.max_steps - self.config.warmup_steps)
        else:
            position = (seconds - self.warmup_ended_s) / max(1e-9, self.max_seconds - self.warmup_ended_s)
        return learning_rate(self.config, step, position)
