"""Optimizers that torch lacks, or has only in a form that is slow on a CPU.

Each is an ordinary `torch.optim.Optimizer`: a step depends on the gradients, the state and the groups' settings
alone, so training resumes exactly from a saved state. A group's `lr` may be a number or a tensor of no dimensions; nothing is read
back from the device. Knows nothing of models.
"""

# torch has what works on whole lists of tensors under private names alone, also for its own optimizers:
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, overload, runtime_checkable

import torch
from torch import Tensor
from torch.optim import Optimizer

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
MATCH_ADAMW = 0.2
EPS = 1e-8


class GroupWise(Optimizer, ABC):
    """Base of an optimizer that updates a whole group of parameters at once, in `move`; those without a gradient stay."""

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [(parameter, parameter.grad) for parameter in group["params"] if parameter.grad is not None]
            if moved:
                self.move(group, [parameter for parameter, _ in moved], [gradient for _, gradient in moved])
        return loss

    @abstractmethod
    def move(self, group: dict, params: list[Tensor], grads: list[Tensor]) -> None:
        """Update these parameters of a group in place, each by its gradient."""


class Muon(GroupWise):
    """Momentum whose update is made orthogonal, for matrices; AdamW for the groups with `adamw=True`.

    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/, with Nesterov momentum, decoupled weight decay and the
    scale 0.2 √max(rows, columns) of Liu et al. 2025, arXiv:2502.16982, by which its updates are about as large as AdamW's.
    A group's `parts` gives for each of its matrices the sizes of the row blocks that are orthogonalised separately,
    such as queries, keys and values that lie in one matrix, or None. Blocks of equal shape are processed in one batch.
    """

    def __init__(self, groups: Iterable[dict], lr: float, momentum: float, betas: tuple[float, float], ns_steps: int):
        rates = {"lr": lr, "momentum": momentum, "betas": betas, "weight_decay": 0.0}
        super().__init__(groups, rates | {"adamw": False, "parts": None, "ns_steps": ns_steps})

    def move(self, group: dict, params: list[Tensor], grads: list[Tensor]) -> None:
        (_adamw if group["adamw"] else self._orthogonal)(group, params, grads, self.state)

    @staticmethod
    def _orthogonal(group: dict, params: list[Tensor], grads: list[Tensor], state: dict) -> None:
        momenta = _running(state, params, "momentum")
        torch._foreach_mul_(momenta, group["momentum"])
        torch._foreach_add_(momenta, grads)
        ahead = torch._foreach_add(grads, momenta, alpha=group["momentum"])
        _decay(group, params)
        parts = dict(zip(group["params"], group["parts"] or [None] * len(group["params"]), strict=True))
        alike: dict[tuple, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter, update in zip(params, ahead, strict=True):
            sizes = parts[parameter] or [parameter.size(0)]
            for rows, block in zip(parameter.split(sizes), update.split(sizes), strict=True):
                wide = (rows, block) if rows.size(0) <= rows.size(1) else (rows.T, block.T)
                alike[tuple(block.shape)].append(wide)
        for shape, blocks in alike.items():
            updates = orthogonal(torch.stack([block for _, block in blocks]), group["ns_steps"])
            updates *= group["lr"] * (MATCH_ADAMW * math.sqrt(max(shape)))
            torch._foreach_sub_([rows for rows, _ in blocks], list(updates.unbind()))


def orthogonal(matrices: Tensor, steps: int) -> Tensor:
    """(K, m, n) with m ≤ n -> roughly the nearest semi-orthogonal matrices: after five steps singular values lie between 0.7 and 1.2.

    A quintic Newton-Schulz iteration, x <- (a + b x x^T + c (x x^T)^2) x, in bfloat16 on a GPU, where that is quick, and in the
    matrices' own precision elsewhere. There, matrices at least twice as wide as high are multiplied only once, at the end: the
    product of all steps' factors is computed from the small Gram matrix x x^T, which needs the higher precision.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    from_gram = not matrices.is_cuda and x.size(-1) >= 2 * x.size(-2)
    gram, product = torch.bmm(x, x.mT), None
    for step in range(steps):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)  # the polynomial without + a·I
        if not from_gram:
            x = torch.baddbmm(x, factor, x, beta=a)
            if step < steps - 1:
                gram = torch.bmm(x, x.mT)
            continue
        factor.diagonal(dim1=-2, dim2=-1).add_(a)
        product = factor if product is None else torch.bmm(factor, product)
        if step < steps - 1:
            gram = torch.bmm(factor, torch.bmm(gram, factor))
    return (x if product is None else torch.bmm(product, x)).to(matrices.dtype)


class Lion(GroupWise):
    """Updates by the sign of a mean of momentum and gradient, with decoupled weight decay. Chen et al. 2023, arXiv:2302.06675."""

    def __init__(self, groups: Iterable[dict], lr: float, betas: tuple[float, float]):
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": 0.0})

    def move(self, group: dict, params: list[Tensor], grads: list[Tensor]) -> None:
        (beta1, beta2), momenta = group["betas"], _running(self.state, params, "momentum")
        directions = torch._foreach_lerp(grads, momenta, beta1)
        torch._foreach_sign_(directions)
        torch._foreach_lerp_(momenta, grads, 1 - beta2)
        _decay(group, params)
        torch._foreach_mul_(directions, group["lr"])
        torch._foreach_sub_(params, directions)


@runtime_checkable
class Averaging(Protocol):
    """An optimizer whose result is an average of the weights that it trains."""

    def averaged(self) -> AbstractContextManager[None]:
        """Inside the `with` the parameters are the average, which is evaluated, sampled from and saved."""
        ...


class ScheduleFreeAdamW(GroupWise):
    """AdamW without a schedule: gradients are taken between a fast point z and its running average x, and x is the result.
    Defazio et al. 2024, arXiv:2405.15682.

    The parameters hold the point between z and x where gradients are taken; `averaged` replaces it by x. A point's weight in
    the average is the square of the largest learning rate so far, so points of the warm-up weigh less.
    """

    def __init__(self, groups: Iterable[dict], lr: float, betas: tuple[float, float]):
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": 0.0})

    def move(self, group: dict, params: list[Tensor], grads: list[Tensor]) -> None:
        (_, beta2), lr = group["betas"], group["lr"]
        fast, average = (_running(self.state, params, name, torch.clone) for name in ("z", "x"))
        squares = _running(self.state, params, "exp_avg_sq")
        count, lr_max, weights = (_shared(self.state, params, name) for name in ("count", "lr_max", "weights"))
        count += 1
        lr_max.clamp_(min=lr)
        weights += lr_max**2
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, grads, grads, value=1 - beta2)
        changes = torch._foreach_div(squares, 1 - beta2**count)
        torch._foreach_sqrt_(changes)
        torch._foreach_add_(changes, EPS)
        changes = torch._foreach_div(grads, changes)
        if group["weight_decay"]:
            torch._foreach_add_(changes, params, alpha=group["weight_decay"])
        torch._foreach_mul_(changes, lr)
        torch._foreach_sub_(fast, changes)
        towards = torch._foreach_sub(fast, average)
        torch._foreach_mul_(towards, lr_max**2 / weights.clamp(min=torch.finfo(weights.dtype).tiny))
        torch._foreach_add_(average, towards)
        self._go_between(group, params)

    def _go_between(self, group: dict, params: list[Tensor]) -> None:
        fast, average = ([self.state[parameter][name] for parameter in params] for name in ("z", "x"))
        torch._foreach_copy_(params, torch._foreach_lerp(fast, average, group["betas"][0]))

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict) -> None:
        """Also sets the parameters to the point where gradients are taken."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            if known := [parameter for parameter in group["params"] if parameter in self.state]:
                self._go_between(group, known)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside the `with` the parameters are the average, which is evaluated, sampled from and saved."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for parameter, state in self.state.items():
            parameter.data, state["x"] = state["x"], parameter.data


def _adamw(group: dict, params: list[Tensor], grads: list[Tensor], state: dict) -> None:
    """Loshchilov and Hutter 2017, arXiv:1711.05101."""
    beta1, beta2 = group["betas"]
    means, squares = _running(state, params, "exp_avg"), _running(state, params, "exp_avg_sq")
    count = _shared(state, params, "count")
    count += 1
    torch._foreach_lerp_(means, grads, 1 - beta1)
    torch._foreach_mul_(squares, beta2)
    torch._foreach_addcmul_(squares, grads, grads, value=1 - beta2)
    sizes = torch._foreach_div(squares, 1 - beta2**count)
    torch._foreach_sqrt_(sizes)
    torch._foreach_add_(sizes, EPS)
    torch._foreach_mul_(sizes, (1 - beta1**count) / group["lr"])
    _decay(group, params)
    torch._foreach_addcdiv_(params, means, sizes, value=-1.0)


def _decay(group: dict, params: list[Tensor]) -> None:
    if group["weight_decay"]:
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])


def _running(state: dict, params: list[Tensor], name: str, begin=torch.zeros_like) -> list[Tensor]:
    """The state tensor of this name of each parameter, created by `begin` where missing."""
    for parameter in params:
        if name not in state[parameter]:
            state[parameter][name] = begin(parameter.detach())
    return [state[parameter][name] for parameter in params]


def _shared(state: dict, params: list[Tensor], name: str) -> Tensor:
    """One number for a whole group, kept with its first parameter."""
    first = params[0]
    return state[first].setdefault(name, torch.zeros((), dtype=first.dtype, device=first.device))
