"""Each task has two presets: both are trained, and only one of them learns it."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from models.knobs import differences
from playground.config.presets import PAIRS, PRESETS, demonstrations
from playground.data import dataset
from playground.runs.creation import complete
from playground.system.cores import n_cpus
from playground.training.state import Score, TrainState

# Steps after which the difference shows: fewer than the presets take, so that all pairs together stay under three minutes.
STEPS = {
    "copy": 200, "reverse": 300, "sort": 300, "selective-copy": 350, "induction": 250, "recall": 800, "addition": 500,
    "modular-addition": 300, "parity": 600, "majority": 75, "dyck": 300, "markov": 300, "bigram": 200,
}  # fmt: skip
QUICK = ("copy", "reverse", "induction", "majority", "bigram")  # with every suite; the others are marked slow
ONLY_KIND_OF_ARCHITECTURE = {"n_layer", "position", "sublayers", "window", "window_pattern"}


@dataclass
class Trained:
    """How a preset ended; `excess`: nats per token above the best possible."""

    score: Score
    excess: float
    sizes: dict


def trained(preset: str, steps: int, root: Path) -> Trained:
    config = PRESETS[preset].config
    config = complete(config.model_copy(update={"train": config.train.model_copy(update={"max_steps": steps})}), root)
    data = dataset.load(config.data, root)
    state = TrainState(config, data, torch.device("cpu"))
    for _ in range(steps):
        state.step()
    score = state.held_out()
    return Trained(score, score.loss - data.about.floor, state.by_size())


@pytest.fixture(scope="module")
def ends(request, tmp_path_factory) -> Iterator[dict[str, Future]]:
    """How the presets of the chosen tests end: one core for each, as many at once as there are."""
    chosen = {item.callspec.params["name"] for item in request.session.items if "ends" in getattr(item, "fixturenames", ())}
    root, spawn = tmp_path_factory.mktemp("pairs"), multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_cpus(), spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        presets = [(preset, STEPS[name]) for name in PAIRS if name in chosen for preset in (name, f"{name}-cannot")]
        yield {preset: pool.submit(trained, preset, steps, root) for preset, steps in presets}


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PAIRS])
def test_one_of_the_two_learns_the_task_and_the_other_does_not(name, ends):
    can, cannot = (ends[preset].result() for preset in (name, f"{name}-cannot"))
    assert can.excess < 0.5 * cannot.excess, (can, cannot)
    assert can.score.token_accuracy > cannot.score.token_accuracy + 0.1
    noise = 3 * 1.0 / can.score.n_tokens**0.5
    assert can.excess > -noise, "below the best possible loss by more than chance allows"


@pytest.mark.parametrize("name", PAIRS)
def test_what_the_two_show_is_said_in_fields(name):
    shown = demonstrations(f"task:{name}")
    assert list(shown) == [name, f"{name}-cannot"] and [shows.learns for shows in shown.values()] == [True, False]
    assert all(shows.architecture in PRESETS[preset].title for preset, shows in shown.items())
    assert demonstrations("tiny-tales") == {} and PRESETS["default"].shows is None


@pytest.mark.parametrize("name", PAIRS)
def test_the_two_differ_in_their_architecture_alone(name):
    changed = differences(PRESETS[name].config, PRESETS[f"{name}-cannot"].config)
    assert changed
    assert {path.partition(".")[0] for path in changed} == {"model"}
    assert {path.partition(".")[2] for path in changed} <= ONLY_KIND_OF_ARCHITECTURE
