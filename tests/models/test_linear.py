"""The quicker product against torch's own."""

import copy

import pytest
import torch

from models import linear
from models.config import ModelConfig
from models.gpt import GPT
from models.linear import Linear, accelerate, is_wide, mkl_is_held_back

needs_onednn = pytest.mark.skipif(
    not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")), reason="this torch has no oneDNN"
)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """So that tiny layers are many enough."""
    monkeypatch.setattr(linear, "FEW_ROWS", 0)


def gradients(layer, x, quick):
    layer.quick = quick
    layer.zero_grad()
    x = x.clone().requires_grad_()
    y = layer(x)
    y.backward(torch.cos(torch.arange(y.numel(), dtype=y.dtype)).view_as(y))
    return [y.detach(), x.grad, *(p.grad.clone() for p in layer.parameters())]


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("inputs", "outputs", "shape"), [(16, 48, (3, 7)), (48, 16, (5,)), (16, 16, (2, 1)), (24, 65, (1, 9)), (8, 8, ())])
def test_values_and_gradients_are_those_of_torch(inputs, outputs, shape, bias):
    torch.manual_seed(0)
    layer, x = Linear(inputs, outputs, bias=bias), torch.randn(*shape, inputs)
    torch.testing.assert_close(gradients(layer, x, True), gradients(layer, x, False), rtol=1e-4, atol=1e-5)


@needs_onednn
def test_it_leaves_other_precisions_to_torch():
    layer, x = Linear(8, 8), torch.randn(2, 8)
    layer.quick = True
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert layer.double()(x.double()).dtype == torch.float64
    assert layer(torch.randn(2, 8, dtype=torch.float64)).grad_fn.name() != "_ProductBackward"


@needs_onednn
def test_it_leaves_a_few_rows_to_torch(monkeypatch):
    monkeypatch.setattr(linear, "FEW_ROWS", 4)
    layer = Linear(8, 8)
    layer.quick = True
    names = [layer(torch.randn(rows, 8)).grad_fn.name() for rows in (3, 4)]
    assert names[0] != "_ProductBackward" == names[1]


@pytest.mark.parametrize(
    ("vendor", "family", "wide"), [("AuthenticAMD", 25, False), ("AuthenticAMD", 26, True), ("GenuineIntel", 26, False), ("", "x", False)]
)
def test_it_is_for_processors_on_which_it_is_quicker(vendor, family, wide):
    assert is_wide(f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: 17\n") == wide


def test_a_model_learns_the_same_with_it():
    """Whatever this machine uses: twenty steps end where they end without it, but for rounding."""
    torch.manual_seed(0)
    model = GPT(ModelConfig(vocab_size=11, n_layer=2, n_head=2, n_embd=32, block_size=16, mlp_ratio=3.0, head_bias=True))
    twin, idx = copy.deepcopy(model), torch.randint(11, (4, 17))
    accelerate(twin)  # as it is decided here
    assert {module.quick for module in twin.modules() if isinstance(module, Linear)} == {mkl_is_held_back()}
    losses = []
    for each in (model, twin):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.1)
        for _ in range(20):
            loss = torch.nn.functional.cross_entropy(each(idx[:, :-1]).flatten(0, 1), idx[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-4) and losses[0] < 2.4
