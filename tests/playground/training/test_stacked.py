"""Runs that train as one program are the runs they would have been by themselves.

On a CPU these tests show that the arithmetic is put together rightly; its kernels are right for several models at once whichever way
they are called. Whether those of a GPU are is shown by the tests marked `gpu` alone.
"""

import pytest
import torch

from playground.config.optim import OPTIMIZERS
from playground.training import stacked
from playground.training.checkpoints import Checkpoints
from playground.training.events import Progress
from playground.training.loop import Loop, Orders
from playground.training.stacked import Group, train_together
from playground.training.state import TrainState

N_STEPS = 20
EACH = [{"train.seed": 1}, {"train.seed": 2, "optim.lr": 0.003, "optim.grad_clip": 0.1}, {"train.seed": 3, "optim.warmup_steps": 6}]
MAGNIFIES = {"muon": 5, "lion": 10}  # a sign and an orthogonal matrix depend on small gradients as much as on large ones
SHAPES = [{"optim.name": name} for name in OPTIMIZERS]
SHAPES += [
    {"train.accumulation": 3}, {"model.tie_weights": False}, {"model.share_layers": True}, {"model.position": "rope"},
    {"model.position": "alibi", "model.norm_type": "rmsnorm", "model.activation": "swiglu"}, {"model.window": 3},
    {"model.norm_placement": "post", "model.residual_gain": "rezero", "model.qk_norm": "head", "model.attn_softcap": 20.0},
    {"data.source": "task:copy", "data.length": 4, "data.alphabet": 4, "model.block_size": 17},
]  # fmt: skip


@pytest.fixture
def states_of(new_state):
    """`states_of(changes)`: three fresh runs of one shape that differ in seed, rate, clipping and warm-up."""
    return lambda changes: [new_state({"model.dropout": 0.0, **changes, **each}) for each in EACH]


@pytest.mark.parametrize("changes", SHAPES, ids=str)
@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_the_first_losses_are_those_of_runs_trained_one_by_one(states_of, changes):
    alone = [[state.step() for _ in range(N_STEPS)] for state in states_of(changes)]
    states = states_of(changes)
    group = Group(states)
    together = [group.step() for _ in range(N_STEPS)]
    for i, steps in enumerate(alone):
        for step, beside in zip(steps, (each[i] for each in together), strict=True):
            assert beside.loss.item() == pytest.approx(step.loss.item(), abs=1e-4)
            assert beside.norm.item() == pytest.approx(step.norm.item(), rel=1e-3)
            assert beside.lr == step.lr
    assert len({step.loss.item() for step in together[0]}) == 3, "they are three different runs"


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_each_records_and_saves_as_an_ordinary_run_and_may_leave_before_the_others(states_of, link_of, load_data, tmp_path):
    """One is stopped by its owner, one pauses; what each leaves is what an ordinary run goes on from."""
    wants = [{}, {7: Orders("stop")}, {11: Orders("pause")}]
    loops = []
    for i, state in enumerate(states_of({"train.max_steps": N_STEPS})):
        link = link_of(wants[i])
        link.loop = Loop(state, tmp_path / str(i), link, share=1 / 3)
        loops.append(link.loop)
    ended = list(train_together(loops))
    assert [(loops.index(loop), outcome.state, outcome.step) for loop, outcome in ended] == [
        (1, "stopped", 7), (2, "paused", 11), (0, "finished", N_STEPS)
    ]  # fmt: skip
    for loop, outcome in ended:
        points = loop.link.of(Progress)
        assert points[0].step == 1 and points[-1].step == outcome.step
        checkpoints = Checkpoints(loop.folder / "checkpoints")
        newest = checkpoints.newest_to_resume()
        assert newest.step == outcome.step
        other = TrainState(loop.config, load_data(loop.config), torch.device("cpu"))
        other.restore(checkpoints, newest)
        for name, weight in other.model.state_dict().items():
            assert torch.equal(weight, loop.state.model.state_dict()[name])
    loop = loops[2]
    resumed = TrainState(loop.config, load_data(loop.config), torch.device("cpu"))
    resumed.restore(Checkpoints(loop.folder / "checkpoints"), Checkpoints(loop.folder / "checkpoints").newest_to_resume())
    alone = states_of({"train.max_steps": N_STEPS})[2]
    losses = [alone.step().loss.item() for _ in range(N_STEPS)]
    assert [resumed.step().loss.item() for _ in range(N_STEPS - 11)] == pytest.approx(losses[11:], abs=1e-4)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_what_goes_wrong_in_one_ends_that_one(states_of, link_of, tmp_path, monkeypatch):
    loops = []
    for i, state in enumerate(states_of({"train.max_steps": 12})):
        link = link_of({})
        link.loop = Loop(state, tmp_path / str(i), link)
        loops.append(link.loop)
    full = OSError(28, "No space left on device")

    def save(*_):
        if loops[1].state.steps_done:
            raise full

    monkeypatch.setattr(loops[1].checkpoints, "save", save)
    ended = dict(train_together(loops))
    assert ended[loops[1]] is full and loops[1].state.steps_done == 5
    assert [ended[loops[i]].state for i in (0, 2)] == ["finished", "finished"]


def test_an_error_that_all_share_is_raised(states_of, link_of, tmp_path, monkeypatch):
    loops = [Loop(state, tmp_path / str(i), link_of({})) for i, state in enumerate(states_of({}))]
    for loop in loops:
        loop.link.loop = loop

    def fail(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Group, "step", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(train_together(loops))


def test_a_group_whose_gradient_is_not_that_of_its_runs_ends(states_of, monkeypatch):
    right = stacked.F.scaled_dot_product_attention
    group = Group(states_of({}))
    monkeypatch.setattr(stacked.F, "scaled_dot_product_attention", lambda *args, **kwargs: right(*args, **kwargs) * 1.01)
    with pytest.raises(stacked.NotTheSame, match=r"at step 1 the gradient of runs trained together was .* trained one by one"):
        group.step()


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "near"), [("float32", 1e-4), ("bfloat16", 1e-2)])
@pytest.mark.parametrize("changes", SHAPES, ids=str)
def test_on_a_gpu_recorded_steps_of_several_runs_are_those_of_each(config_of, load_data, changes, dtype, near):
    configs = [config_of({"model.dropout": 0.0, "train.dtype": dtype, **changes, **each}) for each in EACH]
    states, alone = ([TrainState(config, load_data(config), torch.device("cuda")) for config in configs] for _ in range(2))
    group = Group(states)
    together = [[step.loss.item() for step in group.step(watched=i == 12)] for i in range(N_STEPS)]
    assert group.runner.captured is not None, group.runner.not_captured
    near *= MAGNIFIES.get(configs[0].optim.name, 1)
    for i, state in enumerate(alone):
        assert [losses[i] for losses in together] == pytest.approx([state.step().loss.item() for _ in range(N_STEPS)], abs=near)
