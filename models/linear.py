"""Linear layers, and faster matrix products for CPUs that torch's default library does not fully use.

Processors with instructions for bfloat16 multiply it twice as fast as float32 and accumulate in float32; the inputs and
outputs of a layer stay float32. On x86 torch multiplies float32 matrices by MKL, which keeps to AVX2 on processors that are not Intel's;
oneDNN, which comes with torch as well, uses AVX-512 there. That can be faster where AVX-512 takes one pass, on AMD's from
Zen 5 on; on Zen 4 a step was measured to gain nothing. The arithmetic is float32 either way, in another order. Knows nothing of models.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ZEN_5 = 26  # the first of AMD's families whose AVX-512 takes one pass
FEW_ROWS = 64  # with fewer rows MKL is faster everywhere
FEW_PRODUCTS = 2**24  # rows x inputs x outputs: below it the casts to bfloat16 took longer than they saved


class Linear(nn.Linear):
    """`nn.Linear` whose product in training `accelerate` may change: (…, I) -> (…, O)."""

    product: torch.dtype | None = None  # dtype of the product while gradients are enabled; None leaves it to torch

    def forward(self, input: Tensor) -> Tensor:
        if self.product is not None and torch.is_grad_enabled() and self._gains(input):
            return _Product.apply(input, self.weight, self.bias, self.product)
        return F.linear(input, self.weight, self.bias)

    def _gains(self, x: Tensor) -> bool:
        if x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
            return False
        if self.product == torch.bfloat16:
            return x.numel() * self.out_features >= FEW_PRODUCTS
        return x.numel() >= FEW_ROWS * self.in_features


def accelerate(model: nn.Module, dtype: torch.dtype) -> None:
    """On a CPU, let the linear layers compute their products in training in `dtype`, by the faster library. The choice depends
    on the machine alone, not on a measurement, so a resumed run computes the same as before."""
    product = torch.bfloat16 if dtype == torch.bfloat16 else torch.float32 if mkl_is_held_back() else None
    on_cpu = next(model.parameters()).device.type == "cpu"
    for module in model.modules():
        if isinstance(module, Linear):
            module.product = product if on_cpu else None


@cache
def multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for products of bfloat16, and torch the library that uses them."""
    has = torch.cpu.get_capabilities()
    return torch.backends.mkldnn.is_available() and bool(has.get("avx512_bf16") or has.get("amx_bf16"))


@cache
def mkl_is_held_back() -> bool:
    """Whether this processor has full-width AVX-512 that MKL does not use, and torch has oneDNN's product instead."""
    has_product = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if not has_product or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    try:
        return is_wide(Path("/proc/cpuinfo").read_text())
    except OSError:
        return False


def is_wide(cpuinfo: str) -> bool:
    """Whether /proc/cpuinfo describes a processor of AMD from Zen 5 on."""
    family = re.search(r"^cpu family\s*: (\d+)$", cpuinfo, re.MULTILINE)
    return "AuthenticAMD" in cpuinfo and family is not None and int(family[1]) >= ZEN_5


class _Product(torch.autograd.Function):
    """x w^T + b and its derivatives, each product in `dtype` by oneDNN, its result cast back to float32. oneDNN reads transposed
    matrices without a copy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:  # (…, I), (O, I), (O,) -> (…, O)
        x, weight = x.to(dtype), weight.to(dtype)
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        y = _times(x, weight)
        return y if bias is None else y.add_(bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    # the decorator's type in torch lacks the parameter name `ctx`, which `Function.backward` has
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        (dy,) = grad_outputs
        x, weight = ctx.saved_tensors
        dx = dw = db = None
        if ctx.has_bias and ctx.needs_input_grad[2]:
            db = dy.reshape(-1, dy.size(-1)).sum(0)
        dy = dy.to(x.dtype)
        rows_x, rows_dy = x.reshape(-1, x.size(-1)), dy.reshape(-1, dy.size(-1))  # (N, I), (N, O)
        if ctx.needs_input_grad[0]:
            dx = _times(dy, weight.t())
        if ctx.needs_input_grad[1]:  # a result with fewer rows than columns is faster
            wide = weight.size(0) <= weight.size(1)
            dw = _times(rows_dy.t(), rows_x.t()) if wide else _times(rows_x.t(), rows_dy.t()).t()
        return dx, dw, db, None


def _times(x: Tensor, weight: Tensor) -> Tensor:  # (…, I), (O, I) of one dtype -> (…, O) of float32
    if x.dtype == torch.bfloat16:
        return F.linear(x, weight).float()
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
