"""Optimizers and learning rate schedules. Knows nothing of models beyond their parameters, and the rates that go with their width."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from models.gpt import GPT
from playground.config.optim import OPTIMIZERS, SCHEDULES, OptimConfig
from playground.training.optimizers import EPS, Lion, Muon, ScheduleFreeAdamW


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """The optimizer that the config names. Tied weights appear once. A group's `rate` is its share of the learning rate."""
    optimizer, device = BUILDERS[config.name](model, config), _device(model)
    if device.type == "cuda":  # a CUDA graph would keep a float as a constant; a tensor is read at each replay
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(float(config.lr), device=device)
    return optimizer


def groups_of(model: nn.Module, config: OptimConfig) -> list[dict]:
    """Matrices (and embeddings) decay, vectors do not. Where the model's parametrisation gives the matrices inside blocks a rate of their
    own, these are a group, and decay by as much per step as all others: torch multiplies the decay by the group's rate."""
    matrices, vectors, rate = [p for p in model.parameters() if p.dim() >= 2], _vectors(model), hidden_rate(model)
    hidden = set() if rate == 1.0 else set(_inside(model))
    return _filled([
        {"params": [p for p in matrices if p not in hidden], "weight_decay": config.weight_decay},
        {"params": [p for p in matrices if p in hidden], "rate": rate, "weight_decay": config.weight_decay / rate},
        {"params": vectors, "weight_decay": 0.0},
    ])  # fmt: skip


def hidden_rate(model: nn.Module) -> float:
    """The share of the learning rate that the matrices inside blocks get."""
    return model.config.by_width("hidden_rate") if isinstance(model, GPT) else 1.0


def _adamw(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    on_cuda = _device(model).type == "cuda"
    betas, fused = (config.beta1, config.beta2), _has_fused(model)
    return torch.optim.AdamW(groups_of(model, config), lr=config.lr, betas=betas, eps=EPS, fused=fused, capturable=on_cuda)


def _muon(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    betas = (config.beta1, config.beta2)
    return Muon(_groups_for_muon(model, config), lr=config.lr, momentum=config.momentum, betas=betas, ns_steps=config.ns_steps)


def _sgd(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups_of(model, config), lr=config.lr, momentum=config.beta1, fused=_has_fused(model))


def _lion(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    return Lion(groups_of(model, config), lr=config.lr, betas=(config.beta1, config.beta2))


def _schedule_free(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    return ScheduleFreeAdamW(groups_of(model, config), lr=config.lr, betas=(config.beta1, config.beta2))


BUILDERS: dict[str, Callable[[nn.Module, OptimConfig], torch.optim.Optimizer]] = {  # one for each of `OPTIMIZERS`
    "adamw": _adamw,
    "muon": _muon,
    "sgd": _sgd,
    "lion": _lion,
    "schedule_free": _schedule_free,
}


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of the next step, in each group times its `rate`."""
    for group in optimizer.param_groups:
        rate = lr * group["rate"]
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _has_fused(model: nn.Module) -> bool:
    """Whether torch's own optimizers have a fused step where the model is."""
    return _device(model).type in ("cpu", "cuda")


def _vectors(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.dim() < 2]


def _filled(groups: list[dict]) -> list[dict]:
    """The groups that have parameters, each with its share of the learning rate."""
    return [{"rate": 1.0, **group} for group in groups if group["params"]]


def _inside(model: nn.Module) -> dict[nn.Parameter, list[int] | None]:
    """The matrices of the linear layers inside blocks, each with the rows of its parts where it is several matrices in one."""
    inside = {}
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Linear) and child is not getattr(model, "head", None):
                inside[child.weight] = module.parts if name == "qkv" else None
    return inside


def _groups_for_muon(model: nn.Module, config: OptimConfig) -> list[dict]:
    """The matrices of the linear layers inside blocks, and what is left to AdamW: embeddings, head and vectors."""
    inside = _inside(model)
    rest = [p for p in model.parameters() if p.dim() >= 2 and p not in inside]
    rate = 1.0 if config.rest_lr is None else config.rest_lr / config.lr
    return _filled([
        {"params": list(inside), "parts": list(inside.values()), "weight_decay": config.weight_decay},
        {"params": rest, "adamw": True, "rate": rate, "weight_decay": config.weight_decay},
        {"params": _vectors(model), "adamw": True, "rate": rate, "weight_decay": 0.0},
    ])  # fmt: skip


def learning_rate(config: OptimConfig, step: int, position: float) -> float:
    """The rate of update number `step` (from 0), at `position` 0 … 1 of what follows the warm-up.

    Warm-up rises linearly over `warmup_steps` updates and reaches `lr` just after them.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / (config.warmup_steps + 1)
    share = SCHEDULES[config.schedule].share if OPTIMIZERS[config.name].is_scheduled else None
    if share is None:
        return config.lr
    floor = config.lr / 10 if config.min_lr is None else config.min_lr
    return floor + (config.lr - floor) * share(min(max(position, 0.0), 1.0), config)


class Schedule:
    """The learning rate over a run that ends by steps, or by seconds where no steps are set.

    `warmup_ended_s` is part of a checkpoint: a schedule over seconds starts to fall there.
    """

    def __init__(self, config: OptimConfig, max_steps: int | None, max_seconds: float | None):
        self.config, self.max_steps = config, max_steps
        self.max_seconds = math.inf if max_seconds is None else max_seconds
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
