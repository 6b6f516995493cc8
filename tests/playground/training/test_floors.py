"""No model does better than the floor in the long run, beyond what chance allows."""

import pytest
import torch
import torch.nn.functional as F

from models.knobs import nested, parse
from playground.config.run import RunConfig
from playground.data import dataset
from playground.data.batches import UNSCORED
from playground.data.tasks.base import scored
from playground.runs.creation import complete
from playground.training.state import TrainState

SHORTER = {"train.max_steps": 600}  # near the floor after 300 steps, and still there after 1500
# Where not everything can be known, and a small model comes close to what can.
NEARLY = {
    "markov": {"data.source": "task:markov", "data.length": 24, "data.alphabet": 4, "data.order": 1},
    "bigram": {"data.source": "task:bigram", "data.length": 24, "data.alphabet": 3},
    "copy, everything": {"data.source": "task:copy", "data.length": 4, "data.alphabet": 5, "data.scored": "all", **SHORTER},
    "sort, everything": {"data.source": "task:sort", "data.length": 4, "data.alphabet": 5, "data.scored": "all", **SHORTER},
}
SMALL = {
    "model.n_layer": 2, "model.n_head": 2, "model.n_embd": 32, "model.block_size": 32, "model.dropout": 0.0,
    "optim.lr": 3e-3, "optim.warmup_steps": 20, "train.max_steps": 1500, "train.batch_size": 64,
}  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(each, marks=pytest.mark.slow if each in ("markov", "bigram") else ()) for each in NEARLY])
def test_a_long_run_comes_near_the_floor_and_not_below_it(name, tmp_path):
    config = complete(parse(RunConfig, nested(SMALL | NEARLY[name])), tmp_path)
    data = dataset.load(config.data, tmp_path)
    state = TrainState(config, data, torch.device("cpu"))
    before = state.held_out().loss
    for _ in range(config.train.max_steps):
        state.step()
    state.model.eval()
    losses = []
    with torch.no_grad():
        for inputs, targets, *_ in data.chunks(config.width, torch.device("cpu")):
            each = F.cross_entropy(state.model(inputs).transpose(1, 2), targets, reduction="none", ignore_index=UNSCORED)
            losses.append(each[targets != UNSCORED])
    nats = torch.from_numpy(data.held_out.nats[scored(data.held_out, data.stride, config.data.scored)])
    above = torch.cat(losses) - nats  # per token, in the same order
    mean, error = above.mean().item(), above.std().item() / len(above) ** 0.5
    assert mean == pytest.approx(state.held_out().loss - data.about.floor, abs=1e-5)
    assert mean > -3 * error, "better than possible"
    assert mean < 0.15 * (before - data.about.floor), "the floor is within reach"
