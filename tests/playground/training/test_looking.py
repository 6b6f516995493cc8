"""What looking at a model costs is measured in computing time: it is told where it is much, and little in runs of some length."""

from __future__ import annotations

import pytest
import torch

from models.knobs import changed
from playground.config.presets import PRESETS
from playground.data import dataset
from playground.runs.creation import complete
from playground.training.events import Notice
from playground.training.loop import USUAL_SHARE, Loop
from playground.training.state import TrainState


def test_a_short_run_says_what_looking_at_it_has_cost(new_state, run_loop, tmp_path):
    outcome, link = run_loop(new_state(), tmp_path)
    share = outcome.looking_cpu_s / outcome.cpu_s
    assert USUAL_SHARE < share < 1
    said = link.of(Notice)[-1]
    assert said.text == f"looking at the model took {share:.0%} of this run's computing time; in long runs it is at most 5%"
    assert said.step == outcome.step


def test_one_that_costs_no_more_than_usual_says_nothing(new_state, run_loop, tmp_path, monkeypatch):
    monkeypatch.setattr("playground.training.loop.USUAL_SHARE", 1.0)
    _, link = run_loop(new_state(), tmp_path)
    assert not [event for event in link.of(Notice) if "looking" in event.text]


@pytest.mark.slow
def test_in_a_thousand_steps_of_the_default_run_looking_takes_a_twentieth_at_most(tmp_path):
    default = PRESETS["default"].config
    config = complete(changed(default, train=changed(default.train, max_steps=1000, device="cpu")), tmp_path)
    state = TrainState(config, dataset.load(config.data, tmp_path), torch.device("cpu"))
    outcome = Loop(state, tmp_path / "run").run()
    assert outcome.step == 1000 and outcome.n_probes > 10
    assert outcome.looking_cpu_s <= USUAL_SHARE * outcome.cpu_s, outcome
