"""What the page is told of experiments: ready ones, those that are kept, and one with its runs and curves."""

import json

import pytest
from starlette.testclient import TestClient

from playground.config import experiment as documents
from playground.config.gallery import DOCUMENTS
from playground.config.settings import Settings
from playground.runs import access, experiments, store
from playground.runs.access import Visitor
from playground.runs.store import Buffer, Store
from playground.training.events import Validation
from playground.web.experiments import of_plan
from playground.web.routes import KEY_HEADER, Routes
from playground.workers.audience import Audience
from tests.conftest import TINY

KEY = access.new_key()
ALICE = Visitor.from_key(KEY)
SHAPE = {path: value for path, value in TINY.items() if path != "train.max_steps"}
DOCUMENT = documents.read(
    {
        "title": "Norms", "question": "Is pre-norm lower?", "changes": SHAPE | {"data.tokenizer": "char"}, "prediction": "lower",
        "factors": {"model.norm_placement": ["pre", "post"]}, "seeds": 3, "budget": {"unit": "steps", "amount": 6},
        "claims": [{"kind": "lower", "arm": "pre", "than": "post", "delta": 0.0}],
    }
)  # fmt: skip
LOSSES = {"pre": {1: 2.0, 2: 2.1, 3: 1.9}, "post": {1: 3.0, 2: 3.2, 3: 2.8}}


def begun(db, document: documents.Experiment) -> str:
    """The id of an experiment whose runs have ended as LOSSES say, without having been trained."""
    settings = Settings(db.root)
    plan = experiments.planned(document, settings)
    experiment_id = experiments.add(db, document, ALICE, "run")
    while (following := experiments.next_run(db, settings, experiment_id, plan, ALICE)) is not None:
        run_id, planned = following
        buffer, loss = Buffer(db, run_id), LOSSES[planned.arm][planned.seed]
        buffer.add(Validation(3, loss + 1, 10, whole=False, seconds=0.1))
        buffer.add(Validation(6, loss, 40, whole=True, seconds=0.2), step=6)
        assert buffer.flush()
        db.change_state(run_id, store.FINISHED, [store.STARTING], val_loss=loss)
    return experiment_id


@pytest.fixture
def kept(tmp_path):
    """(database, client, id of an experiment that has ended)."""
    db = Store(tmp_path)
    db.create()
    return db, TestClient(Routes(Settings(tmp_path), db).app()), begun(db, DOCUMENT)


def test_the_gallery_tells_each_ready_experiment_with_its_arms_and_rule(kept):
    _, client, _ = kept
    told = {each["name"]: each for each in client.get("/experiments/ready").json()}
    assert told.keys() == DOCUMENTS.keys()
    for name, each in told.items():
        quick = each["quick"]
        assert quick["n_runs"] == len(quick["arms"]) * (len(quick["seeds"]) + len(quick["rates"])) <= 24, name
        assert documents.read(quick["document"]) and all(claim["words"] for claim in quick["claims"])
    assert [arm["graph"]["n_layer"] for arm in told["depth"]["quick"]["arms"]] == [4, 2, 1]
    sizes = [arm["n_params"] for arm in told["depth"]["quick"]["arms"]]
    assert max(sizes) < 1.02 * min(sizes) and told["depth"]["quick"]["arms"][1]["matched"]


def test_a_warm_up_that_never_ends_is_said_where_training_matters(kept):
    _, client, _ = kept
    told = {each["name"]: each["quick"]["warnings"] for each in client.get("/experiments/ready").json()}
    assert not any(told.values()), "near-zero and others look before the first step"
    plan = experiments.planned(DOCUMENT, Settings(kept[0].root))  # six steps, a warm-up of a hundred
    assert [words.split(":")[0] for words in of_plan(plan, Settings(kept[0].root))["warnings"]] == ["“pre”", "“post”"]


def test_one_that_has_ended_says_its_verdict_and_shows_its_runs(kept):
    _, client, experiment_id = kept
    told = client.get(f"/experiments/{experiment_id}").json()
    assert (told["verdict"], told["is_complete"], told["predicted"]) == ("supported", True, "Your prediction was right.")
    assert told["judged"][0]["pairs"] == pytest.approx({"1": -1.0, "2": -1.1, "3": -0.9})
    low, high = told["judged"][0]["interval"]
    assert low < -1.1 < -0.9 < high < 0
    assert told["found"]["pre"]["values"] == {"1": 2.0, "2": 2.1, "3": 1.9}
    assert {(run["arm"], run["seed"]): run["curve"] for run in told["members"]}["post", 2] == [[3], [4.2]]


def test_the_list_names_who_began_one_without_their_id(kept):
    db, client, experiment_id = kept
    (stranger,) = client.get("/experiments").json()
    (owner,) = client.get("/experiments", headers={KEY_HEADER: KEY}).json()
    assert (stranger["id"], stranger["verdict"], stranger["ended"], stranger["n_runs"]) == (experiment_id, "supported", 6, 6)
    assert (stranger["mine"], owner["mine"]) == (False, True)
    answers = json.dumps([stranger, owner, client.get(f"/experiments/{experiment_id}", headers={KEY_HEADER: KEY}).json()])
    assert ALICE.id not in answers and db.experiments()[0].owner == ALICE.id


def test_whoever_watches_an_experiment_watches_its_runs(kept, tmp_path):
    db, _, experiment_id = kept
    now = [0.0]
    audience = Audience(lambda: now[0])
    client = TestClient(Routes(Settings(tmp_path), db, audience=audience).app())
    now[0] = 100.0
    client.get(f"/experiments/{experiment_id}")
    assert {audience.unseen_s(run_id) for run_id in db.members(experiment_id)} == {0.0} and audience.unseen_s("another") == 100.0


def test_a_private_run_of_one_is_not_listed(kept):
    db, client, experiment_id = kept
    hidden = next(iter(db.members(experiment_id)))
    db.set_private(hidden, True)
    assert hidden not in json.dumps(client.get(f"/experiments/{experiment_id}").json()["members"])


def test_what_is_not_there_says_so(kept):
    _, client, _ = kept
    answer = client.get("/experiments/nowhere")
    assert answer.status_code == 404 and answer.json()["code"] == "no_such_experiment"


def test_finished_ones_can_be_read_whatever_the_limits_are_now(kept, tmp_path):
    db, _, experiment_id = kept
    client = TestClient(Routes(Settings(tmp_path, max_params=10), db).app())
    assert client.get(f"/experiments/{experiment_id}").json()["verdict"] == "supported"
    assert all("problem" in each for each in client.get("/experiments/ready").json())


def test_the_list_of_runs_says_of_which_experiment_each_is(kept):
    _, client, experiment_id = kept
    assert [run["experiment"] for run in client.get("/runs").json()] == [{"id": experiment_id, "title": "Norms"}] * 6


def test_one_that_stops_when_it_is_decided_has_a_verdict_before_its_last_seed(kept):
    db, client, _ = kept
    experiment_id = begun(db, DOCUMENT.model_copy(update={"seeds": 5, "stop_when_decided": True}))
    listed = next(each for each in client.get("/experiments").json() if each["id"] == experiment_id)
    assert (listed["verdict"], listed["ended"], listed["n_runs"]) == ("supported", 6, 10)
    told = client.get(f"/experiments/{experiment_id}").json()
    assert told["is_complete"] and told["stops_early"] and "after 3 of 5 seeds" in " ".join(told["sentences"])
