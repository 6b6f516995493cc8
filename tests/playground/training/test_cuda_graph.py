"""The replay of a captured step does what eager steps do; on a CPU nothing is captured."""

import pytest
import torch

from playground.config.optim import OPTIMIZERS
from playground.training.cuda_graph import WARM_UP_STEPS
from playground.training.state import TrainState

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
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


@needs_gpu
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_replayed_steps_have_the_losses_of_eager_ones(config_of, load_data, changes):
    config = config_of({"model.dropout": 0.0, **changes})
    found = []
    for capture in (True, False):
        state = TrainState(config, load_data(config), torch.device("cuda"))
        if not capture:
            state.runner.not_captured = "for comparison"
        found.append([state.step(watched=i == 12)[0].item() for i in range(20)])
        assert (state.runner.captured is not None) == capture, state.runner.not_captured
    assert found[0] == pytest.approx(found[1], abs=1e-4)


@needs_gpu
def test_what_cannot_be_captured_says_why_and_goes_on(config_of, load_data):
    config = config_of({})
    state = TrainState(config, load_data(config), torch.device("cuda"))
    state.model.register_forward_hook(lambda module, inputs, output: output.sum().item())
    losses = [state.step()[0].item() for _ in range(10)]
    assert losses[-1] < losses[0] and "can be captured" in state.runner.not_captured
