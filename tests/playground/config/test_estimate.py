"""What a run will cost: closed forms, and a machine that was really measured."""

import pytest
import torch

from models.config import ModelConfig, flops_per_token
from models.knobs import flat, nested, parse
from playground.config import estimate
from playground.config.estimate import Machine
from playground.config.optim import OptimConfig
from playground.config.presets import PRESETS
from playground.config.run import RunConfig, TrainConfig, complete
from playground.workers import speed

MODEL = ModelConfig(vocab_size=100, n_layer=4, n_embd=128, block_size=64)
FREE = dict.fromkeys(estimate.KINDS, 0.0)
MACHINE = Machine(1, FREE | {"layers": 0.001} | dict(zip(estimate.MATMUL, (1e-9, 0.5e-9, 0.25e-9), strict=True)))


def run_config(**train) -> RunConfig:
    return RunConfig(model=MODEL, train=TrainConfig(**train))


def test_time_grows_with_steps_and_is_cut_by_the_time_limit():
    short, long = (estimate.run_seconds(run_config(max_steps=n), MACHINE) for n in (100, 200))
    assert long == pytest.approx(2 * short)
    assert estimate.run_seconds(run_config(max_steps=10_000_000, max_seconds=5), MACHINE) == 5


@pytest.mark.parametrize("accumulation", [1, 3])
def test_a_step_is_the_operations_of_its_forward_and_backward_pass(accumulation):
    """Against what torch counts as a real model takes a training step: the backward pass is two forward passes more."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from models.gpt import GPT

    config = run_config(batch_size=4, accumulation=accumulation)
    model, ids = GPT(MODEL), torch.zeros(4, 64, dtype=torch.long)
    # Fused attention is not counted on a CPU.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        for _ in range(accumulation):
            torch.nn.functional.cross_entropy(model(ids).view(-1, 100), ids.view(-1)).backward()
    per_s = 1e9
    compute_s = estimate.step_seconds(config, Machine(1, FREE | dict.fromkeys(estimate.MATMUL, 1 / per_s)))
    assert compute_s * per_s == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_what_steps_take_is_found_from_those_that_were_timed(monkeypatch):
    """Of a machine whose costs are known, by timing the shapes: any other shape is then forecast right."""
    prices = {kind: 10.0**-n for kind, n in zip(estimate.KINDS, (11, 11, 12, 11, 9, 9, 8, 9, 3, 3), strict=True)}
    monkeypatch.setattr(speed, "_measured_steps", lambda configs: [estimate.step_seconds(each, Machine(1, prices)) for each in configs])
    found = speed.measure(threads=1)
    assert found.costs == pytest.approx(prices, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({"dropout": 0.1}, "dropout"), ({"n_layer": 8}, "layers"), ({"block_size": 256}, "maps"), ({"vocab_size": 999}, "activations")],
)
def test_what_makes_a_step_dearer(changes, kind):
    config = complete(run_config(), 100, None)
    dearer = config.model_copy(update={"model": config.model.model_copy(update=changes)})
    assert estimate.work(dearer)[kind] > estimate.work(config)[kind]


def test_muon_multiplies_the_matrices_of_all_blocks():
    """Against what torch counts as its Newton-Schulz iterations run."""
    from torch.utils.flop_counter import FlopCounterMode

    from models.gpt import GPT
    from playground.training.optim import build_optimizer

    config = complete(run_config().model_copy(update={"optim": OptimConfig(name="muon")}), 100, None)
    model = GPT(config.model)
    optimizer = build_optimizer(model, config.optim)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    with FlopCounterMode(display=False) as counter:
        optimizer.step()
    assert estimate.work(config)["orthogonalize"] == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_dropout_draws_as_many_numbers_as_it_is_said_to():
    model = ModelConfig(vocab_size=100, n_layer=3, n_embd=64, n_head=2, block_size=32, dropout=0.1)
    assert estimate.dropout_draws_per_token(complete(RunConfig(model=model), 100, None).model) == 64 + 3 * (2 * 64 + 2 * 32)


def test_another_runs_speed_is_carried_over_by_flops():
    config, twice = run_config(max_steps=100), run_config(max_steps=100, batch_size=24)
    per_s = config.tokens_per_step * 100 / 7.0
    assert estimate.scaled_seconds(config, config, per_s) == pytest.approx(7.0)
    assert estimate.scaled_seconds(twice, config, per_s) == pytest.approx(14.0)
    deeper = config.model_copy(update={"model": MODEL.model_copy(update={"n_layer": 8})})
    ratio = flops_per_token(deeper.model) / flops_per_token(MODEL)
    assert estimate.scaled_seconds(deeper, config, per_s) == pytest.approx(7.0 * ratio)


def test_a_width_between_two_measured_ones_counts_as_both():
    at = {width: estimate._shares(width) for width in (8, 32, 64, 128, 256, 512, 1000)}
    assert at[8] == at[32] == (1, 0, 0) and at[128] == pytest.approx([0, 1, 0]) and at[512] == at[1000] == pytest.approx([0, 0, 1])
    assert at[64] == pytest.approx([0.5, 0.5, 0]) and at[256] == pytest.approx([0, 0.5, 0.5])


def test_memory_counts_weights_and_what_a_batch_keeps():
    """Against what autograd really saves for the backward pass."""
    from models.gpt import GPT

    config = complete(run_config(batch_size=64, max_steps=1), 100, None)
    model, saved = GPT(config.model), {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: saved.__setitem__(t.untyped_storage().data_ptr(), t.untyped_storage().nbytes()) or t, lambda t: t
    ):
        logits = model(torch.zeros(64, 64, dtype=torch.long))
        torch.nn.functional.cross_entropy(logits.view(-1, 100), torch.zeros(4096, dtype=torch.long))
    weights = (4 + estimate.PASSING_FLOATS) * 4 * sum(p.numel() for p in model.parameters())
    owned = {p.untyped_storage().data_ptr() for p in model.parameters()}
    activations = sum(size for pointer, size in saved.items() if pointer not in owned)
    guessed = estimate.memory_bytes(config) - estimate.PROCESS_BYTES
    assert 0.7 < guessed / (weights + activations) < 1.4


# The most private memory (MB, /proc/PID/smaps_rollup) that workers on Tiny Tales with 1,000 BPE tokens had over 6 steps with two
# validations and two checkpoints: two cores, torch 2.13, bfloat16 products.
MEASURED = (
    (233, {}),
    (346, {"n_layer": 4, "n_embd": 64, "block_size": 512, "batch_size": 16}),
    (737, {"n_layer": 4, "n_embd": 64, "block_size": 512, "batch_size": 8, "dropout": 0.2}),
    (678, {"n_layer": 4, "n_embd": 512, "n_head": 8, "block_size": 64, "batch_size": 4}),
    (643, {"n_layer": 4, "n_embd": 512, "n_head": 8, "block_size": 64, "batch_size": 4, "name": "sgd"}),
    (653, {"n_layer": 4, "n_embd": 512, "n_head": 8, "block_size": 64, "batch_size": 4, "name": "muon"}),
    (605, {"n_layer": 4, "n_embd": 512, "n_head": 8, "block_size": 64, "batch_size": 4, "name": "lion"}),
    (305, {"n_layer": 16, "n_embd": 64, "block_size": 128, "batch_size": 16}),
)


@pytest.mark.parametrize(("megabytes", "changes"), MEASURED)
def test_memory_is_what_workers_were_measured_to_take(megabytes, changes):
    sections = {
        name: section for section in ("model", "optim", "train") for name in getattr(PRESETS["default"].config, section).model_dump()
    }
    changed = {f"{sections[name]}.{name}": value for name, value in changes.items()}
    config = parse(RunConfig, nested(flat(PRESETS["default"].config) | changed))
    assert estimate.memory_bytes(complete(config, 1000, None)) == pytest.approx(megabytes * 1e6, rel=0.15)


def test_a_machine_is_measured_kept_and_read_again(tmp_path):
    assert estimate.load(tmp_path) is None
    machine = speed.measure(torch.get_num_threads())
    assert set(machine.costs) == set(estimate.KINDS) and all(0 <= cost < 0.1 for cost in machine.costs.values())
    estimate.save(tmp_path, machine)
    assert estimate.load(tmp_path) == machine
    for unknown in ("{half", '{"threads": 2, "layer_s": 0.001, "speeds": [1e9, 1e9, 1e9]}', '{"threads": 2, "costs": {"step": 0.001}}'):
        (tmp_path / "machine.json").write_text(unknown)
        assert estimate.load(tmp_path) is None, "is measured again"
