"""Optimizers against plain implementations, schedules against their closed forms."""

import itertools
import math

import numpy as np
import pytest
import schedulefree
import torch
from torch import nn

from models.config import ModelConfig
from models.gpt import GPT
from playground.config.optim import OPTIMIZERS, OptimConfig
from playground.training.optim import Schedule, build_optimizer, learning_rate
from playground.training.optimizers import orthogonal


def groups_by_name(model, config):
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: group["weight_decay"] for group in build_optimizer(model, config).param_groups for p in group["params"]}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("tie", [True, False])
def test_every_parameter_is_trained_once_and_only_matrices_decay(name, tie):
    model = GPT(ModelConfig(vocab_size=7, n_layer=2, n_head=2, n_embd=8, block_size=4, tie_weights=tie, head_bias=True))
    optimizer = build_optimizer(model, OptimConfig(name=name, weight_decay=0.3))
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(trained) == len({id(p) for p in trained}) == len(list(model.parameters()))
    decays = groups_by_name(model, OptimConfig(name=name, weight_decay=0.3))
    for parameter, decay in decays.items():
        is_matrix = parameter.endswith(".weight") and "norm" not in parameter
        assert decay == (0.3 if is_matrix else 0.0), parameter
    assert 0.3 in decays.values() and 0.0 in decays.values()


def test_a_model_without_vectors_has_one_group():
    model = GPT(ModelConfig(vocab_size=7, n_layer=1, n_head=2, n_embd=8, block_size=4, bias=False, norm_placement="none"))
    assert len(build_optimizer(model, OptimConfig()).param_groups) == 1


def steps_of(config, pairs):
    """A matrix and a vector after one update for each pair of gradients."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    start = [p.detach().clone() for p in model.parameters()]
    optimizer = build_optimizer(model, config)
    for pair in pairs:
        for parameter, gradient in zip(model.parameters(), pair, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
    return start, [p.detach() for p in model.parameters()]


def gradients(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, dtype=torch.float64, generator=generator), torch.randn(2, dtype=torch.float64, generator=generator)


GRADIENTS = [gradients(seed) for seed in range(6)]


def test_adamw_is_the_formula_of_its_paper():
    config = OptimConfig(lr=0.1, beta1=0.8, beta2=0.95, weight_decay=0.2)
    start, found = steps_of(config, GRADIENTS)
    for i, decay in ((0, 0.2), (1, 0.0)):
        w, m, v = start[i], 0, 0
        for t, pair in enumerate(GRADIENTS, 1):
            g = pair[i]
            m = 0.8 * m + 0.2 * g
            v = 0.95 * v + 0.05 * g**2
            w = w - 0.1 * ((m / (1 - 0.8**t)) / ((v / (1 - 0.95**t)).sqrt() + 1e-8) + decay * w)
        torch.testing.assert_close(found[i], w, rtol=0, atol=1e-12)


def test_sgd_has_momentum_and_decay():
    config = OptimConfig(name="sgd", lr=0.1, beta1=0.7, weight_decay=0.2)
    start, found = steps_of(config, GRADIENTS)
    for i, decay in ((0, 0.2), (1, 0.0)):
        w, velocity = start[i], 0
        for pair in GRADIENTS:
            velocity = 0.7 * velocity + pair[i] + decay * w
            w = w - 0.1 * velocity
        torch.testing.assert_close(found[i], w, rtol=0, atol=1e-12)


def test_lion_is_the_formula_of_its_paper():
    config = OptimConfig(name="lion", lr=0.1, beta1=0.8, beta2=0.95, weight_decay=0.2)
    start, found = steps_of(config, GRADIENTS)
    for i, decay in ((0, 0.2), (1, 0.0)):
        w, m = start[i], 0
        for pair in GRADIENTS:
            w = w - 0.1 * (torch.sign(0.8 * m + 0.2 * pair[i]) + decay * w)
            m = 0.95 * m + 0.05 * pair[i]
        torch.testing.assert_close(found[i], w, rtol=0, atol=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_schedule_free_adamw_is_that_of_its_authors(decay):
    """Both the point where gradients are taken and the average, with a rate that warms up."""
    config = OptimConfig(name="schedule_free", lr=0.1, beta1=0.8, beta2=0.95, weight_decay=decay)
    torch.manual_seed(0)
    ours, theirs = nn.Linear(3, 2).double(), nn.Linear(3, 2).double()
    theirs.load_state_dict(ours.state_dict())
    groups = [{"params": [theirs.weight], "weight_decay": decay}, {"params": [theirs.bias], "weight_decay": 0.0}]
    reference = schedulefree.AdamWScheduleFree(groups, lr=0.1, betas=(0.8, 0.95), eps=1e-8)
    optimizer = build_optimizer(ours, config)
    reference.train()
    for step, pair in enumerate(GRADIENTS):
        for model, each in ((ours, optimizer), (theirs, reference)):
            for group in each.param_groups:
                group["lr"] = 0.1 * min(1.0, (step + 1) / 3)
            for parameter, gradient in zip(model.parameters(), pair, strict=True):
                parameter.grad = gradient.clone()
            each.step()
        torch.testing.assert_close(list(ours.parameters()), list(theirs.parameters()), rtol=0, atol=1e-12)
    reference.eval()
    trained = [p.detach().clone() for p in ours.parameters()]
    with optimizer.averaged():
        torch.testing.assert_close(list(ours.parameters()), list(theirs.parameters()), rtol=0, atol=1e-12)
        assert not torch.equal(ours.weight, trained[0])
    assert all(torch.equal(p, before) for p, before in zip(ours.parameters(), trained, strict=True))


def test_a_schedule_free_run_ignores_the_schedule_and_warms_up():
    config = OptimConfig(name="schedule_free", lr=0.5, warmup_steps=4)
    assert [learning_rate(config, step, 0.9) for step in (0, 3, 4, 50)] == pytest.approx([0.1, 0.4, 0.5, 0.5])


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 16, 64), (1, 5, 40)])
def test_newton_schulz_makes_matrices_nearly_orthogonal(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 1e-3
    found = orthogonal(matrices, steps=5)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.3 and values.max() < 1.3, "only the smallest of a square matrix may lag behind"
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    alike = (found * (u @ v)).sum((-2, -1)) / (found.norm(dim=(-2, -1)) * (u @ v).norm(dim=(-2, -1)))
    assert alike.min() > 0.95, "in the directions of the nearest orthogonal matrix"


def newton_schulz(matrix: np.ndarray) -> np.ndarray:
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (np.sqrt((x**2).sum()) + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def test_muon_is_its_formula_for_the_matrices_of_blocks_and_adamw_for_the_rest():
    """Against numpy, matrix by matrix: queries, keys and values each by themselves."""
    config = OptimConfig(name="muon", lr=0.1, rest_lr=0.03, momentum=0.7, beta1=0.8, beta2=0.95, weight_decay=0.2)
    torch.manual_seed(0)
    model = GPT(ModelConfig(vocab_size=7, n_layer=2, n_head=4, n_kv_head=2, n_embd=8, block_size=4, tie_weights=False)).double()
    optimizer = build_optimizer(model, config)
    start = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    given = {name: [np.random.default_rng([i, len(name)]).normal(size=p.shape) for i in range(4)] for name, p in model.named_parameters()}
    for i in range(4):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * group["rate"]
        for name, p in model.named_parameters():
            p.grad = torch.from_numpy(given[name][i].copy())
        optimizer.step()
    for name, p in model.named_parameters():
        w, m, v = start[name], 0.0, 0.0
        inside = name.startswith("blocks.") and p.dim() == 2
        for t, g in enumerate(given[name], 1):
            if inside:
                m = 0.7 * m + g
                ends = (0, 8, 12, 16) if "qkv" in name else (0, len(g))
                pieces = [(g + 0.7 * m)[low:high] for low, high in itertools.pairwise(ends)]
                w = w * (1 - 0.1 * 0.2) - 0.1 * np.concatenate([0.2 * np.sqrt(max(x.shape)) * newton_schulz(x) for x in pieces])
            else:
                m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
                w = w * (1 - 0.03 * (0.2 if p.dim() == 2 else 0.0)) - 0.03 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-8)
        np.testing.assert_allclose(p.detach().numpy(), w, rtol=0, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("name", ["muon", "lion", "schedule_free"])
def test_a_rate_may_be_a_tensor(name):
    """As it must be where a step is recorded once and played again."""
    _, found = steps_of(OptimConfig(name=name, lr=0.1), GRADIENTS)
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    optimizer = build_optimizer(model, OptimConfig(name=name, lr=0.1))
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(0.1, dtype=torch.float64)
    for pair in GRADIENTS:
        model.weight.grad, model.bias.grad = (gradient.clone() for gradient in pair)
        optimizer.step()
    torch.testing.assert_close([p.detach() for p in model.parameters()], found, rtol=0, atol=1e-12)


def test_warm_up_rises_in_equal_steps_and_reaches_the_rate_just_after():
    config = OptimConfig(lr=0.5, warmup_steps=4, schedule="constant")
    assert [learning_rate(config, step, 0.0) for step in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5])


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [1.0, 0.8, 0.6, 0.4, 0.2]),
        ("wsd", [1.0, 1.0, 1.0, 0.7, 0.2]),
        ("cosine", [1.0, 0.2 + 0.4 * (1 + math.sqrt(0.5)), 0.6, 0.2 + 0.4 * (1 - math.sqrt(0.5)), 0.2]),
    ],
)
def test_schedules_fall_to_the_floor(schedule, wanted):
    config = OptimConfig(lr=1.0, min_lr=0.2, warmup_steps=0, schedule=schedule, **({"decay_share": 0.4} if schedule == "wsd" else {}))
    assert [learning_rate(config, 0, position) for position in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx(wanted)
    assert learning_rate(config, 0, 1.7) == pytest.approx(wanted[-1])


def test_the_floor_is_a_tenth_where_none_is_set_and_zero_is_a_floor():
    assert learning_rate(OptimConfig(lr=2.0, warmup_steps=0), 0, 1.0) == pytest.approx(0.2)
    assert learning_rate(OptimConfig(lr=2.0, min_lr=0.0, warmup_steps=0), 0, 1.0) == 0.0


def test_a_schedule_over_steps_ignores_the_clock():
    config = OptimConfig(lr=1.0, min_lr=0.0, warmup_steps=2, schedule="linear")
    schedule = Schedule(config, max_steps=12, max_seconds=5.0)
    found = [schedule.lr(step, seconds=100.0 * step) for step in range(13)]
    assert found == pytest.approx([1 / 3, 2 / 3, *(1 - i / 10 for i in range(11))])


def test_a_schedule_over_seconds_falls_from_the_end_of_the_warm_up_to_the_time_limit():
    config = OptimConfig(lr=1.0, min_lr=0.0, warmup_steps=2, schedule="linear")
    schedule = Schedule(config, max_steps=None, max_seconds=11.0)
    assert [schedule.lr(0, 0.0), schedule.lr(1, 1.0)] == pytest.approx([1 / 3, 2 / 3])
    assert schedule.warmup_ended_s == 1.0
    assert [schedule.lr(step, seconds) for step, seconds in ((2, 1.0), (3, 6.0), (90, 11.0), (91, 30.0))] == pytest.approx([1, 0.5, 0, 0])


def test_a_warm_up_longer_than_the_run_is_no_error():
    schedule = Schedule(OptimConfig(lr=1.0, warmup_steps=100), max_steps=10, max_seconds=None)
    assert [schedule.lr(step, 0.0) for step in (0, 9)] == pytest.approx([1 / 101, 10 / 101])
    assert 0 < Schedule(OptimConfig(lr=1.0, warmup_steps=10), max_steps=10, max_seconds=None).lr(10, 0.0) <= 1
