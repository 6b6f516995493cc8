"""Linear layers, and a quicker matrix product for CPUs that torch's default library does not make full use of.

On x86 torch multiplies float32 matrices by MKL, which keeps to AVX2 on processors that are not Intel's; oneDNN, which
comes with torch as well, uses AVX-512 there. That can pay where AVX-512 takes one pass, on AMD's from Zen 5 on; on Zen 4 a
step was measured to gain nothing. Same float32 arithmetic, in another order. Knows nothing of models.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ZEN_5 = 26  # the first of AMD's families whose AVX-512 takes one pass
FEW_ROWS = 64  # for fewer MKL is the quicker one everywhere


class Linear(nn.Linear):
    """`nn.Linear` whose product `accelerate` may change: (…, I) -> (…, O)."""

    quick = False

    def forward(self, x: Tensor) -> Tensor:
        many = x.numel() >= FEW_ROWS * self.in_features
        if self.quick and many and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu"):
            return _Product.apply(x, self.weight, self.bias)
        return F.linear(x, self.weight, self.bias)


def accelerate(model: nn.Module) -> None:
    """Use the quicker product in a model on a CPU where there is one. Depends on the machine alone, not on measurements: a
    continued run computes what it did before."""
    quick = mkl_is_held_back() and next(model.parameters()).device.type == "cpu"
    for module in model.modules():
        if isinstance(module, Linear):
            module.quick = quick


@cache
def mkl_is_held_back() -> bool:
    """Whether this processor has wide AVX-512 that MKL leaves alone, and torch has oneDNN's product to put in its place."""
    has_product = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if not has_product or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    try:
        return is_wide(Path("/proc/cpuinfo").read_text())
    except OSError:
        return False


def is_wide(cpuinfo: str) -> bool:
    """Whether a processor, as Linux describes it, is one of AMD's from Zen 5 on."""
    family = re.search(r"^cpu family\s*: (\d+)$", cpuinfo, re.MULTILINE)
    return "AuthenticAMD" in cpuinfo and family is not None and int(family[1]) >= ZEN_5


class _Product(torch.autograd.Function):
    """x w^T + b and its derivatives, each by oneDNN. It reads transposed matrices where they lie, without a copy."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # (…, I), (O, I), (O,) -> (…, O)
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return _times(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        rows_x, rows_dy = x.reshape(-1, x.size(-1)), dy.reshape(-1, dy.size(-1))  # (N, I), (N, O)
        dx = _times(dy, weight.t()) if ctx.needs_input_grad[0] else None
        dw = db = None
        if ctx.needs_input_grad[1]:  # fewer rows than columns are quicker
            wide = weight.size(0) <= weight.size(1)
            dw = _times(rows_dy.t(), rows_x.t()) if wide else _times(rows_x.t(), rows_dy.t()).t()
        if ctx.has_bias and ctx.needs_input_grad[2]:
            db = rows_dy.sum(0)
        return dx, dw, db


def _times(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # (…, I), (O, I), (O,) -> (…, O)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
