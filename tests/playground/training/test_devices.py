"""Where and in which precision to compute."""

import pytest
import torch

from models.knobs import ConfigError
from playground.training.devices import autocast, available_devices, choose_device, choose_dtype


def test_the_best_device_is_chosen_and_can_be_overridden():
    assert available_devices()[-1] == "cpu"
    assert choose_device("auto").type == available_devices()[0]
    assert choose_device("cpu") == torch.device("cpu")


def test_a_device_that_is_not_there_is_refused_with_those_that_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"train\.device: this machine has no cuda; use auto or .*cpu"):
        choose_device("cuda")


def test_the_cpu_computes_in_float32_unless_told_otherwise():
    assert choose_dtype("auto", torch.device("cpu")) == torch.float32
    assert choose_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16


def test_autocast_computes_products_in_the_dtype():
    weight = torch.ones(2, 2)
    for dtype in (torch.float32, torch.bfloat16):
        with autocast(torch.device("cpu"), dtype):
            assert (weight @ weight).dtype == dtype
