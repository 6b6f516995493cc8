"""Optimisers and learning rate schedules. Knows nothing of models beyond named parameters."""

from __future__ import annotations

import math

import torch
from torch import nn

from playground.config.run import OptimConfig
from playground.training.optimizers import EPS, Lion, Muon, ScheduleFreeAdamW


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Matrices (and embeddings) decay, vectors do not. Tied weights appear once. A group's `rate` is its share of the learning rate."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    if config.name == "muon":
        groups = _for_muon(model, config, vectors)
    groups = [{"rate": 1.0, **group} for group in groups if group["params"]]
    device, betas = next(model.parameters()).device, (config.beta1, config.beta2)
    fused = device.type in ("cpu", "cuda")
    match config.name:
        case "sgd":
            optimizer = torch.optim.SGD(groups, lr=config.lr, momentum=config.beta1, fused=fused)
        case "muon":
            optimizer = Muon(groups, lr=config.lr, momentum=config.momentum, betas=betas, ns_steps=config.ns_steps)
        case "lion":
            optimizer = Lion(groups, lr=config.lr, betas=betas)
        case "schedule_free":
            optimizer = ScheduleFreeAdamW(groups, lr=config.lr, betas=betas)
        case "adamw":
            capturable = device.type == "cuda"
            optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=betas, eps=EPS, fused=fused, capturable=capturable)
    if device.type == "cuda":  # a number would be recorded with the step; a tensor is read at each
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(float(config.lr), device=device)
    return optimizer


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the next step, in each group by its share."""
    for group in optimizer.param_groups:
        rate = lr * group["rate"]
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _for_muon(model: nn.Module, config: OptimConfig, vectors: list) -> list[dict]:
    """The matrices of the linear layers inside blocks, and what is left to AdamW: embeddings, head and vectors."""
    inside = {}
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Linear) and child is not getattr(model, "head", None):
                inside[child.weight] = module.parts if name == "qkv" else None
    rest = [p for p in model.parameters() if p.dim() >= 2 and p not in inside]
    rate = 1.0 if config.rest_lr is None else config.rest_lr / config.lr
    return [
        {"params": list(inside), "parts": list(inside.values()), "weight_decay": config.weight_decay},
        {"params": rest, "adamw": True, "rate": rate, "weight_decay": config.weight_decay},
        {"params": vectors, "adamw": True, "rate": rate, "weight_decay": 0.0},
    ]


def learning_rate(config: OptimConfig, step: int, position: float) -> float:
    """The rate of update number `step` (from 0), at `position` 0 … 1 of what follows the warm-up.

    Warm-up rises linearly over `warmup_steps` updates and reaches `lr` just after them.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / (config.warmup_steps + 1)
    floor = config.lr / 10 if config.min_lr is None else config.min_lr
    position = min(max(position, 0.0), 1.0)
    match "constant" if config.name == "schedule_free" else config.schedule:
        case "constant":
            return config.lr
        case "wsd":
            return floor + (config.lr - floor) * min(1.0, (1 - position) / config.decay_share)
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
