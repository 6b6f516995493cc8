"""What the projector is told: charts whose losses can be compared, of runs that everybody may see, for the host alone."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from playground.config.experiment import Experiment
from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.runs import experiments, store
from playground.runs.access import Access, Visitor, new_key
from playground.runs.creation import create_run
from playground.runs.store import Member, Store
from playground.training.events import Validation
from playground.web.projector import MOST_CHARTS, Projector
from playground.web.routes import Routes
from playground.web.wall import Wall

TOKEN = "the token of the host"
ADA = Visitor.from_key(new_key())
SMALL = {"n_layer": 1, "n_head": 1, "n_embd": 8, "block_size": 32}


def config(**data) -> RunConfig:
    return RunConfig.model_validate({"model": SMALL, "train": {"max_steps": 9}, "data": data})


@pytest.fixture
def room(tmp_path):
    """(database, settings, what the projector is told)"""
    db, settings = Store(tmp_path), Settings(tmp_path)
    db.create()
    live = Routes(settings, db, access=Access(db, TOKEN))
    wall = Wall(live, "http://192.0.2.7:7860/")
    client = TestClient(live.app(*wall.routes(), *Projector(wall).routes()))
    return db, settings, lambda key=TOKEN: client.get("/host/projector", headers={"x-playground-host": key, "x-playground-key": new_key()})


def run(db: Store, settings: Settings, name: str, *losses: float, state: str = store.FINISHED, member=None, private=False, **data) -> str:
    run_id = create_run(db, settings, config(**data), ADA, state=state, name=name, member=member, private=private)
    points = [Validation(step=i, loss=loss, n_tokens=9, whole=False, seconds=0.1) for i, loss in enumerate(losses)]
    whole = [Validation(step=9, loss=0.1, n_tokens=90, whole=True, seconds=0.1)]
    db.append(run_id, [*points, *whole], {"step": 9})
    return run_id


def test_it_is_for_the_host_and_has_nothing_private(room):
    db, settings, told = room
    run(db, settings, "open to all", 3.0, 2.0)
    run(db, settings, "a secret", 3.0, 1.0, private=True)
    assert told("somebody").status_code == 403 and "open to all" not in told("somebody").text
    answer = told()
    assert "open to all" in answer.text and "secret" not in answer.text
    assert answer.json()["link"] == "http://192.0.2.7:7860/" and len(answer.json()["code"]) >= 21


def test_what_learns_from_other_data_or_in_other_tokens_has_a_chart_of_its_own(room):
    db, settings, told = room
    run(db, settings, "characters", 3.0, 2.0)
    run(db, settings, "characters too", 3.1, 2.1, state=store.STARTING)
    run(db, settings, "bytes", 5.0, 4.0, tokenizer="byte")
    run(db, settings, "a task", 1.0, 0.5, source="task:copy", length=4)
    charts = told().json()["charts"]
    first, *others = [sorted(line["name"] for line in chart["lines"]) for chart in charts]
    assert first == ["characters", "characters too"], "those that train first"
    assert sorted(others) == [["a task"], ["bytes"]]
    (first, second) = sorted(charts[0]["lines"], key=lambda line: line["name"])
    assert first["points"] == [[0, 3.0], [1, 2.0]], "the loss over the whole text is of other windows"
    assert (first["going"], second["going"]) == (False, True)


def test_an_experiment_is_one_chart_with_its_arms(room):
    db, settings, told = room
    document = Experiment.model_validate(
        {
            "title": "Norms", "question": "Is pre-norm lower?", "budget": {"unit": "steps", "amount": 9}, "changes": {"model.n_layer": 1},
            "arms": [{"name": "pre"}, {"name": "post", "changes": {"model.norm_placement": "post"}}],
            "claims": [{"kind": "lower", "arm": "pre", "than": "post", "delta": 0.0}],
        }
    )  # fmt: skip
    kept = experiments.add(db, document, ADA, "run")
    for arm, seed, loss in (("pre", 1, 2.0), ("post", 1, 4.0), ("post", 2, 5.0)):
        run(db, settings, f"{arm} {seed}", loss, member=Member(kept, arm, seed, "compared"))
    (chart,) = told().json()["charts"]
    assert chart["title"] == "Norms" and "3 of" in chart["note"]
    assert sorted((line["arm"], line["name"], line["points"][0][1]) for line in chart["lines"]) == [
        (0, "pre", 2.0), (1, "post", 4.0), (1, "post", 5.0),
    ]  # fmt: skip


def test_more_kinds_of_data_than_a_wall_can_show_are_counted(room):
    db, settings, told = room
    for length in range(2, 2 + MOST_CHARTS + 2):
        run(db, settings, f"length {length}", 1.0, source="task:copy", alphabet=length)
    assert len(told().json()["charts"]) == MOST_CHARTS and told().json()["more"] == 2
