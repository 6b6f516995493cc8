"""The quicker product against torch's own."""

import copy

import pytest
import torch

from models import linear
from models.config import ModelConfig
from models.gpt import GPT
from models.linear import Linear, accelerate, is_wide, mkl_is_held_back, multiplies_bfloat16

needs_onednn = pytest.mark.skipif(
    not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")), reason="this torch has no oneDNN"
)


SHAPES = [(16, 48, (3, 7)), (48, 16, (5,)), (16, 16, (2, 1)), (24, 65, (1, 9)), (8, 8, ())]


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """So that tiny layers are many enough."""
    monkeypatch.setattr(linear, "FEW_ROWS", 0)
    monkeypatch.setattr(linear, "FEW_PRODUCTS", 0)


def gradients(layer, x, product):
    layer.product = product
    layer.zero_grad()
    x = x.clone().requires_grad_()
    y = layer(x)
    y.backward(torch.cos(torch.arange(y.numel(), dtype=y.dtype)).view_as(y))
    return [y.detach(), x.grad, *(p.grad.clone() for p in layer.parameters())]


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("inputs", "outputs", "shape"), SHAPES)
def test_values_and_gradients_are_those_of_torch(inputs, outputs, shape, bias):
    torch.manual_seed(0)
    layer, x = Linear(inputs, outputs, bias=bias), torch.randn(*shape, inputs)
    torch.testing.assert_close(gradients(layer, x, torch.float32), gradients(layer, x, None), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("inputs", "outputs", "shape"), SHAPES)
def test_in_bfloat16_they_are_those_of_rounded_factors(inputs, outputs, shape, bias):
    torch.manual_seed(0)
    layer, x = Linear(inputs, outputs, bias=bias), torch.randn(*shape, inputs)
    found = gradients(layer, x, torch.bfloat16)
    assert {each.dtype for each in found} == {torch.float32}
    y, dx, dw, *db = found
    x, w = x.bfloat16().double(), layer.weight.detach().bfloat16().double()
    dy = torch.cos(torch.arange(y.numel(), dtype=torch.float32)).view_as(y)
    rounded = dy.bfloat16().double().view(-1, outputs)
    exact = [x @ w.t(), (rounded @ w).view_as(dx), rounded.t() @ x.view(-1, inputs)]
    if bias:
        exact[0] = exact[0] + layer.bias.detach().double()
        torch.testing.assert_close(db[0], dy.view(-1, outputs).sum(0), rtol=1e-5, atol=1e-5)
    for one, other in zip((y, dx, dw), exact, strict=True):  # the results, too, are rounded to 8 bits
        torch.testing.assert_close(one.double(), other, rtol=2**-8, atol=1e-2)


@needs_onednn
@pytest.mark.parametrize("product", [torch.float32, torch.bfloat16])
def test_it_leaves_other_precisions_and_judging_to_torch(product):
    layer, x = Linear(8, 8), torch.randn(2, 8)
    layer.product = product
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    with torch.no_grad():
        assert torch.equal(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))
    assert layer.double()(x.double()).dtype == torch.float64
    assert layer(torch.randn(2, 8, dtype=torch.float64)).grad_fn.name() != "_ProductBackward"


@needs_onednn
@pytest.mark.parametrize("product", [torch.float32, torch.bfloat16])
def test_it_leaves_a_few_rows_to_torch(monkeypatch, product):
    monkeypatch.setattr(linear, "FEW_ROWS", 4)
    monkeypatch.setattr(linear, "FEW_PRODUCTS", 4 * 8 * 16)
    layer = Linear(8, 16)
    layer.product = product
    names = [layer(torch.randn(rows, 8)).grad_fn.name() for rows in (3, 4)]
    assert names[0] != "_ProductBackward" == names[1]


@pytest.mark.parametrize(
    ("vendor", "family", "wide"), [("AuthenticAMD", 25, False), ("AuthenticAMD", 26, True), ("GenuineIntel", 26, False), ("", "x", False)]
)
def test_it_is_for_processors_on_which_it_is_quicker(vendor, family, wide):
    assert is_wide(f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: 17\n") == wide


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_learns_the_same_with_it(dtype):
    """Twenty steps end where they end without it, but for rounding."""
    torch.manual_seed(0)
    model = GPT(ModelConfig(vocab_size=11, n_layer=2, n_head=2, n_embd=32, block_size=16, mlp_ratio=3.0, head_bias=True))
    twin, idx = copy.deepcopy(model), torch.randint(11, (4, 17))
    accelerate(twin, dtype)
    product = torch.bfloat16 if dtype == torch.bfloat16 else torch.float32 if mkl_is_held_back() else None
    assert {module.product for module in twin.modules() if isinstance(module, Linear)} == {product}
    losses = []
    for each in (model, twin):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.03)  # at 0.1 the steps magnify a rounding
        for _ in range(20):
            loss = torch.nn.functional.cross_entropy(each(idx[:, :-1]).flatten(0, 1), idx[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    rounding = 0.01 if dtype == torch.bfloat16 else 1e-5
    assert losses[0] == pytest.approx(losses[1], abs=rounding) and losses[0] < 2.2
    assert (losses[0] != losses[1]) or product is None


def test_processors_without_its_instructions_keep_to_float32(monkeypatch):
    multiplies_bfloat16.cache_clear()
    try:
        for has, wanted in (({}, False), ({"avx512_bf16": False}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True}, True)):
            monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: has)
            assert multiplies_bfloat16() == (wanted and torch.backends.mkldnn.is_available())
            multiplies_bfloat16.cache_clear()
    finally:
        multiplies_bfloat16.cache_clear()
