"""The command `experiment`: a file, a ready one, or one that was cut off."""

import json

import pytest

from playground.config import experiment as documents
from playground.config.gallery import DOCUMENTS
from playground.runs.store import Store
from tests.command import run_here
from tests.conftest import TINY

SHAPE = {path: value for path, value in TINY.items() if path != "train.max_steps"}
DOCUMENT = {
    "title": "Norms", "question": "Is pre-norm lower?", "changes": SHAPE | {"data.tokenizer": "char"},
    "factors": {"model.norm_placement": ["pre", "post"]}, "seeds": 1, "budget": {"unit": "steps", "amount": 6},
    "claims": [{"kind": "lower", "arm": "pre", "than": "post", "delta": 0.0}],
}  # fmt: skip


@pytest.fixture
def command(tmp_path):
    return lambda *words: run_here("experiment", *words, root=tmp_path / "root")


def test_an_experiment_is_trained_and_goes_on_with_what_is_missing(command, tmp_path):
    file = tmp_path / "norms.json"
    file.write_text(json.dumps(DOCUMENT))
    done = command(file, "--predict", "lower", "--json")
    told = done.json
    assert done.status == 0 and told["verdict"] == "undecided" and [each["arm"] for each in told["arms"]] == ["pre", "post"]
    assert {"experiment_id", "verdict", "difference", "interval", "arms"} <= told.keys() and len(told["experiment_id"]) == 10
    assert "1 of 2: pre, seed 1" in done.err and documents.read(DOCUMENT).question in done.err
    db = Store(tmp_path / "root")
    db.delete_run(next(iter(db.members(told["experiment_id"]))))
    again = command(told["experiment_id"], "--json")
    assert (again.status, again.json["arms"]) == (0, told["arms"]) and "2 of 2: pre, seed 1" in again.err
    said = command(told["experiment_id"])
    assert said.status == 0 and "Your prediction is not decided." in said.out and "2 of 2" not in said.err, "nothing is left to train"


def test_a_ready_one_is_shown_as_the_file_that_it_could_be(command, tmp_path):
    shown = command("heads", "--show", "--seeds", "2").out
    assert json.loads(shown)["seeds"] == 2 and not (tmp_path / "root").exists()
    (tmp_path / "mine.json").write_text(shown)
    assert command(tmp_path / "mine.json", "--show").out == shown


def test_what_is_no_experiment_trains_nothing(command, tmp_path):
    known = ", ".join(DOCUMENTS)
    assert f"'warmup' is no file and no ready experiment; use one of {known}" in command("warmup").err
    assert command("aaaaaaaaaa").err == "there is no experiment 'aaaaaaaaaa'\n"
    for content, said in (
        ("{half", "is not JSON"), ("[]", "an experiment is a JSON object"), (json.dumps(DOCUMENT | {"seeds": 0, "arm": []}), "seeds"),
    ):  # fmt: skip
        (tmp_path / "bad.json").write_text(content)
        done = command(tmp_path / "bad.json")
        assert done.status == 2 and said in done.err, (content, done.err)
    assert command("warm-up", "--predict", "better").status == 2 and command("warm-up", "--seeds", "many").status == 2
    assert command("residual", "--thorough").err == "--thorough: 'residual' has no other form: its quick one decides\n"
    assert not (tmp_path / "root").exists()
