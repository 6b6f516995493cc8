"""The replay of a captured step does what eager steps do; on a CPU nothing is captured."""

import pytest
import torch

from playground.config.optim import OPTIMIZERS
from playground.training.checkpoints import Checkpoints
from playground.training.cuda_graph import WARM_UP_STEPS
from playground.training.state import TrainState

GPU = torch.device("cuda")
CHANGES = [{"optim.name": name} for name in OPTIMIZERS]
CHANGES += [{"train.accumulation": 2}, {"optim.grad_clip": None}]


def test_on_a_cpu_every_step_is_eager(new_state):
    state = new_state()
    for _ in range(WARM_UP_STEPS + 2):
        state.step()
    assert (state.runner.captured, state.runner.not_captured, state.runner.eager_steps) == (None, "", WARM_UP_STEPS + 2)


def test_a_batch_is_what_lies_at_its_places(new_state):
    one, other = new_state().batches, new_state().batches
    for _ in range(3):
        inputs, targets = other.take(other.places())
        assert all(map(torch.equal, one.next(), (inputs, targets)))


@pytest.mark.gpu
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_replayed_steps_have_the_losses_of_eager_ones(config_of, load_data, changes):
    config = config_of({"model.dropout": 0.0, **changes})
    found = []
    for capture in (True, False):
        state = TrainState(config, load_data(config), GPU)
        if not capture:
            state.runner.not_captured = "for comparison"
        found.append([state.step(watched=i == 12)[0].item() for i in range(20)])
        assert (state.runner.captured is not None) == capture, state.runner.not_captured
    assert found[0] == pytest.approx(found[1], abs=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dropout_draws_the_same_recorded_watched_and_resumed(config_of, load_data, tmp_path, dtype):
    """To the bit: what is drawn depends on seed and step alone, and the kernels add in a fixed order."""
    config = config_of({"model.dropout": 0.3, "model.attn_dropout": 0.3, "train.dtype": dtype})
    data = load_data(config)

    def fresh(capture=True) -> TrainState:
        state = TrainState(config, data, GPU)
        if not capture:
            state.runner.not_captured = "for comparison"
        return state

    whole, eager, watched = fresh(), fresh(capture=False), fresh()
    losses = [whole.step().loss.item() for _ in range(20)]
    assert whole.runner.captured is not None, whole.runner.not_captured
    assert [eager.step().loss.item() for _ in range(20)] == losses
    assert [watched.step(watched=i % 5 == 4).loss.item() for i in range(20)] == losses
    early, checkpoints = fresh(), Checkpoints(tmp_path)
    assert [early.step().loss.item() for _ in range(9)] == losses[:9]
    early.save(checkpoints, None, None)
    resumed = fresh()
    resumed.restore(checkpoints, checkpoints.newest_to_resume())
    assert [resumed.step().loss.item() for _ in range(11)] == losses[9:]
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.gpu
def test_what_cannot_be_captured_says_why_and_goes_on(config_of, load_data):
    config = config_of({})
    state = TrainState(config, load_data(config), GPU)

    def read_back(module, inputs, output):
        output.sum().item()

    state.model.register_forward_hook(read_back)
    losses = [state.step()[0].item() for _ in range(10)]
    assert losses[-1] < losses[0] and "can be captured" in state.runner.not_captured
