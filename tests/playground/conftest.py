"""A text, a task, a tiny model and a link that remembers: what a training test needs."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from models.knobs import nested, parse
from playground.config.run import RunConfig
from playground.data import corpora, dataset
from playground.data.dataset import TaskData, TextData
from playground.runs.creation import complete
from playground.training.loop import Loop, Orders
from playground.training.state import TrainState

TEXT = "".join(f"{i} green bottles hanging on the wall, {i * i} green bottles hanging on the wall;\n" for i in range(40))

TINY = {
    "model.n_layer": 2, "model.n_head": 2, "model.n_embd": 16, "model.block_size": 8, "model.dropout": 0.2,
    "optim.warmup_steps": 2, "optim.lr": 0.01,
    "train.max_steps": 20, "train.batch_size": 4, "train.device": "cpu", "train.dtype": "float32",
    "train.eval_interval": 5, "train.checkpoint_interval": 5, "train.log_interval": 2,
    "probe.interval": 3, "probe.sample_tokens": 6,
}  # fmt: skip

TASK = {
    "data.source": "task:copy", "data.length": 4, "data.alphabet": 4, "model.block_size": 17, "model.dropout": 0.0, "model.n_embd": 32,
    "train.batch_size": 32, "optim.lr": 0.01,
}  # fmt: skip


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tiny models are quickest on one thread, and don't wait for a busy second core."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def task_changes() -> dict:
    """Changes that make the tiny config one of a task that it can begin to learn."""
    return TASK


@pytest.fixture(scope="session")
def data_root(tmp_path_factory) -> Path:
    """Where the data of all these tests are prepared, each once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def config_of(data_root):
    """`config_of({"train.max_steps": 5})`: the tiny config with these changes, completed from its data."""
    own = corpora.add_text(data_root, TEXT)

    def build_config(changes: dict | None = None) -> RunConfig:
        return complete(parse(RunConfig, nested({**TINY, "data.source": own, **(changes or {})})), data_root)

    return build_config


@pytest.fixture(scope="session")
def load_data(data_root):
    def load(config: RunConfig) -> TextData | TaskData:
        return dataset.load(config.data, data_root)

    return load


@pytest.fixture(scope="session")
def new_state(config_of, load_data):
    """`new_state({"train.max_steps": 5})`: a fresh TrainState of the tiny config with these changes."""

    def build_state(changes: dict | None = None) -> TrainState:
        config = config_of(changes)
        return TrainState(config, load_data(config), torch.device("cpu"))

    return build_state


@dataclass
class Script:
    """A link that keeps all events and, once a step is done, wants something else."""

    wants: dict[int, Orders] = field(default_factory=dict)
    events: list = field(default_factory=list)
    loop: Loop | None = None

    def emit(self, event) -> None:
        self.events.append(event)

    def sync(self) -> Orders:
        due = [step for step in self.wants if step <= self.loop.state.steps_done]
        return self.wants[max(due)] if due else Orders()

    def flush(self) -> None:
        pass

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def link_of(monkeypatch):
    """`link_of({3: Orders("pause")})`: a link whose loop asks after every step, and looks whenever it may, whatever that costs on
    a busy machine."""
    monkeypatch.setattr("playground.training.loop.SYNC_EVERY_S", 0.0)
    monkeypatch.setattr("playground.training.loop.EARLY_CREDIT_S", 1000.0)
    monkeypatch.setattr("playground.config.looks.PROBE_SHARE", 1e6)
    monkeypatch.setattr("playground.config.looks.VALIDATION_SHARE", 1e6)
    return Script


@pytest.fixture
def run_loop(link_of):
    """`run_loop(state, folder, {3: Orders("pause")})`: the outcome and the link of such a loop."""

    def run(state: TrainState, folder: Path, wants: dict | None = None, **options):
        link = link_of(wants or {})
        link.loop = Loop(state, folder, link, **options)
        return link.loop.run(), link

    return run
