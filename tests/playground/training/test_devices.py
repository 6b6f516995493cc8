"""Where and in which precision to compute."""

import pytest
import torch

from models.knobs import ConfigError
from playground.training import devices
from playground.training.devices import autocast, available_devices, choose_device, choose_dtype, one_thread


def test_the_best_device_is_chosen_and_can_be_overridden():
    assert available_devices()[-1] == "cpu"
    assert choose_device("auto").type == available_devices()[0]
    assert choose_device("cpu") == torch.device("cpu")


def test_a_device_that_is_not_there_is_refused_with_those_that_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"train\.device: this machine has no cuda; use auto or .*cpu"):
        choose_device("cuda")


@pytest.mark.parametrize("native", [True, False])
def test_the_cpu_computes_in_the_precision_it_is_quick_at_unless_told_otherwise(monkeypatch, native):
    monkeypatch.setattr(devices, "multiplies_bfloat16", lambda: native)
    cpu = torch.device("cpu")
    assert choose_dtype("auto", cpu) == (torch.bfloat16 if native else torch.float32)
    assert choose_dtype("bfloat16", cpu) == torch.bfloat16 and choose_dtype("float32", cpu) == torch.float32


def test_on_a_cpu_all_but_the_layers_own_products_stays_in_float32():
    weight = torch.ones(2, 2)
    for dtype in (torch.float32, torch.bfloat16):
        with autocast(torch.device("cpu"), dtype):
            assert (weight @ weight).dtype == torch.float32


def test_one_thread_is_one_and_then_as_many_as_before():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(ValueError), one_thread():
            assert torch.get_num_threads() == 1
            raise ValueError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
