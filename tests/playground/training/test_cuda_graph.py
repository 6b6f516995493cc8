"""Steps that are recorded on a GPU do what steps taken one by one do; elsewhere nothing is recorded."""

import pytest
import torch

from playground.training.cuda_graph import WARM_UP_STEPS
from playground.training.state import TrainState

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CHANGES = [{"optim.name": name} for name in ("adamw", "muon", "sgd", "lion", "schedule_free")]
CHANGES += [{"train.accumulation": 2}, {"optim.grad_clip": None}]


def test_a_cpu_takes_steps_one_by_one(new_state):
    state = new_state()
    for _ in range(WARM_UP_STEPS + 2):
        state.step()
    assert (state.player.recording, state.player.not_recorded, state.player.steps_here) == (None, "", WARM_UP_STEPS + 2)


def test_a_batch_is_what_lies_at_its_places(new_state):
    one, other = new_state().batches, new_state().batches
    for _ in range(3):
        inputs, targets = other.take(other.places())
        assert all(map(torch.equal, one.next(), (inputs, targets)))


@needs_gpu
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_a_recorded_run_has_the_losses_of_one_that_is_not(config_of, load_data, changes):
    config = config_of({"model.dropout": 0.0, **changes})
    found = []
    for record in (True, False):
        state = TrainState(config, load_data(config), torch.device("cuda"))
        if not record:
            state.player.not_recorded = "for comparison"
        found.append([state.step(watched=i == 12)[0].item() for i in range(20)])
        assert (state.player.recording is not None) == record, state.player.not_recorded
    assert found[0] == pytest.approx(found[1], abs=1e-4)


@needs_gpu
def test_what_cannot_be_recorded_says_why_and_goes_on(config_of, load_data):
    config = config_of({})
    state = TrainState(config, load_data(config), torch.device("cuda"))
    state.model.register_forward_hook(lambda module, inputs, output: output.sum().item())
    losses = [state.step()[0].item() for _ in range(10)]
    assert losses[-1] < losses[0] and "cannot be recorded" in state.player.not_recorded
