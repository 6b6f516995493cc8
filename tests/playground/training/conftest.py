"""A text, a tiny model and a link that remembers: what a training test needs."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from models.knobs import nested, parse
from playground.config import RunConfig
from playground.data.split import Split, n_train
from playground.data.tokenizers import build
from playground.training.loop import Loop, Wanted
from playground.training.state import TrainState

TEXT = "".join(f"{i} green bottles hanging on the wall, {i * i} green bottles hanging on the wall;\n" for i in range(40))

TINY = {
    "model.n_layer": 2, "model.n_head": 2, "model.n_embd": 16, "model.block_size": 8, "model.dropout": 0.2,
    "optim.warmup_steps": 2, "optim.lr": 0.01,
    "train.max_steps": 20, "train.batch_size": 4, "train.device": "cpu", "train.dtype": "float32",
    "train.eval_interval": 5, "train.checkpoint_interval": 5, "train.log_interval": 2,
    "probe.interval": 3, "probe.sample_tokens": 6,
}  # fmt: skip


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tiny models are quickest on one thread, and don't wait for a busy second core."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def split() -> Split:
    tokenizer = build("char", TEXT)
    ids = tokenizer.encode(TEXT)
    return Split(ids[: n_train(len(ids))], ids[n_train(len(ids)) :], tokenizer)


@pytest.fixture(scope="session")
def new_state(split):
    """`new_state({"train.max_steps": 5})`: a fresh TrainState of the tiny config with these changes."""

    def build_state(changes: dict | None = None) -> TrainState:
        config = parse(RunConfig, nested({**TINY, "model.vocab_size": split.tokenizer.vocab_size, **(changes or {})}))
        return TrainState(config, split, torch.device("cpu"))

    return build_state


@dataclass
class Script:
    """A link that keeps all events and, once a step is done, wants something else."""

    wants: dict[int, Wanted] = field(default_factory=dict)
    events: list = field(default_factory=list)
    loop: Loop | None = None

    def emit(self, event) -> None:
        self.events.append(event)

    def sync(self) -> Wanted:
        due = [step for step in self.wants if step <= self.loop.state.steps_done]
        return self.wants[max(due)] if due else Wanted()

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def run_loop(monkeypatch):
    """`run_loop(state, folder, {3: Wanted("pause")})`: the outcome and the link of a loop that asks after every step."""
    monkeypatch.setattr("playground.training.loop.SYNC_EVERY_S", 0.0)

    def run(state: TrainState, folder: Path, wants: dict | None = None, **options):
        link = Script(wants or {})
        link.loop = Loop(state, folder, link, **options)
        return link.loop.run(), link

    return run
