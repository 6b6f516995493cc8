"""The live routes over a real store and real files."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import re
import shutil
import threading
import time
import zipfile
from urllib.parse import quote

import numpy as np
import pytest
import torch
from safetensors.torch import load
from starlette.testclient import TestClient

from models.knobs import parse
from models.source import source
from playground.config import estimate
from playground.config.looks import looks
from playground.config.run import RunConfig
from playground.config.settings import Settings, from_environment
from playground.data import dataset, tokenizers
from playground.data.corpora import add_text
from playground.inside.quantities import QUANTITIES
from playground.runs import export, frames, sampler, store
from playground.runs.access import HOST, Visitor, new_key
from playground.runs.creation import create_run
from playground.runs.folder import RunFolder
from playground.runs.lookup import triangles
from playground.runs.sampler import SampleConfig
from playground.runs.store import Store
from playground.training.events import Progress, Validation
from playground.web import answers, plots
from playground.web.computing import Computing
from playground.web.downloads import file_name
from playground.web.looking import Looking
from playground.web.routes import Routes
from playground.web.status import about_config
from playground.workers.worker import Interruption, execute
from tests.patience import still

TINY = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 16}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A root with one finished run of 12 steps, trained in this process."""
    root = tmp_path_factory.mktemp("live")
    db = Store(root)
    db.create()
    source = add_text(root, "she sells sea shells on the sea shore. " * 60)
    config = RunConfig.model_validate(
        {"model": TINY, "data": {"source": source}, "train": {"max_steps": 12, "batch_size": 4, "log_interval": 2, "eval_interval": 6},
         "probe": {"interval": 4, "sample_tokens": 10}}
    )  # fmt: skip
    settings = from_environment({"PLAYGROUND_ROOT": str(root)})
    run_id = create_run(db, settings, config, Visitor.from_key(new_key()), state=store.STARTING, name="a <b>name</b>")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("playground.training.loop.EARLY_CREDIT_S", 1000.0)  # writes whenever it may, also on a busy machine
        patch.setattr("playground.config.looks.PROBE_SHARE", 1e6)  # looks as often as it is told to
        patch.setattr("playground.config.looks.VALIDATION_SHARE", 1e6)
        assert execute(root, run_id, 1, Interruption()).state == "finished"
    return root, db, run_id


@pytest.fixture
def client(trained):
    root, db, _ = trained
    return TestClient(Routes(Settings(root), db).app())


def test_a_fresh_cursor_gets_everything_and_the_next_only_what_is_new(trained, client):
    _, db, run_id = trained
    everything = client.get(f"/runs/{run_id}").json()
    assert everything["reset"] and everything["generation"] == 1
    assert everything["events"]["progress"]["step"] == [1, 2, 4, 6, 8, 10, 12]
    again = client.get(f"/runs/{run_id}?generation=1&cursor={everything['cursor']}").json()
    assert again["events"] == {} and not again["reset"] and again["cursor"] == everything["cursor"]
    progress = Progress(step=14, tokens=1, seconds=1.0, loss=float("nan"), grad_norm=1.0, lr=0.1, tokens_per_s=5.0)
    db.append(run_id, [progress], {})
    time.sleep(0.2)  # answers are kept for a moment
    new = client.get(f"/runs/{run_id}?generation=1&cursor={everything['cursor']}").json()
    assert new["events"]["progress"]["step"] == [14]
    assert new["events"]["progress"]["loss"] == [None], "NaN reaches the browser as null"


def test_a_new_generation_starts_over_whatever_the_cursor_says(trained, client):
    run_id = trained[2]
    answer = client.get(f"/runs/{run_id}?generation=0&cursor=99999").json()
    assert answer["reset"] and answer["events"]["progress"]["step"][0] == 1


def test_the_owner_is_never_told(trained, client):
    _, db, run_id = trained
    owner = db.run(run_id).owner
    for path in (f"/runs/{run_id}", "/runs", f"/runs/{run_id}/config.json"):
        assert owner not in client.get(path).text


def test_attention_bytes_are_the_lower_triangles(trained, client):
    root, _, run_id = trained
    answer = client.get(f"/runs/{run_id}/probe?maps=1").json()
    n = len(answer["tokens"])
    data = np.frombuffer(base64.b64decode(answer["maps"]), dtype=np.uint8).reshape(2, 2, n * (n + 1) // 2)
    newest = max((root / "runs" / run_id / "probes").glob("*/*.safetensors"), key=lambda path: int(path.stem))
    maps = load(newest.read_bytes())["attention"]
    assert answer["step"] == int(newest.stem) == 12
    rows, columns = np.tril_indices(n)
    assert np.abs(data / 255 - maps.numpy()[:, :, rows, columns]).max() < 0.5 / 255 + 1e-3
    assert client.get(f"/runs/{run_id}/probe?step=0").json()["step"] == 0


def test_attention_of_no_heads_is_empty():
    assert triangles(np.zeros((0, 0, 2, 2), dtype=np.float16)) == ""


def test_a_probe_says_what_the_file_says(trained, client):
    root, db, run_id = trained
    text = db.run(run_id).probe_text
    probe = client.get(f"/runs/{run_id}/probe?step=9").json()  # the last one before
    file = RunFolder(root, run_id).probe(text, probe["step"]).read_bytes()
    tensors = load(file)
    assert probe["step"] == 8 and "maps" not in probe
    assert probe["stream_rms"] == pytest.approx(tensors["stream_rms"].numpy(), rel=1e-5)
    words = np.array(probe["lens_words"])[np.array(probe["lens_top"])]
    known = tokenizers.load(RunFolder(root, run_id).tokenizer.read_text())
    assert words[2][3].tolist() == [known.token(i) for i in tensors["lens_top"][2][3].tolist()]
    assert set(probe["gains"]) == {name.removeprefix("gain.") for name in tensors if name.startswith("gain.")}
    recorded = client.get(f"/runs/{run_id}").json()["events"]["probe"]
    assert probe["values"] == recorded["values"][recorded["step"].index(8)]


def test_the_recorded_probes_are_listed_and_those_of_another_text_are_the_checkpoints(trained, client):
    root, db, run_id = trained
    mine = client.get(f"/runs/{run_id}/probes").json()
    assert mine["steps"] == [0, 1, 2, 4, 5, 8, 10, 12] and mine["recorded"]
    assert mine["busy"] is None and mine["text"] == db.run(run_id).probe_text
    other = client.get(f"/runs/{run_id}/probes?text=sea").json()
    assert other["steps"] == sampler.steps(root, run_id) == [0, 12] and not other["recorded"]
    assert client.get(f"/runs/{run_id}/probes", params={"text": mine["text"]}).json() == mine


def test_another_text_is_answered_from_a_checkpoint_and_leaves_nothing(trained, client):
    root, _, run_id = trained
    before = sorted(RunFolder(root, run_id).path.rglob("*"))
    answer = ready(client, f"/runs/{run_id}/probe?text=sea shells&step=11&maps=1").json()
    assert answer["step"] == 0 and "".join(answer["tokens"]) == "sea shells" and answer["maps"]
    assert sorted(RunFolder(root, run_id).path.rglob("*")) == before
    refused = ready(client, f"/runs/{run_id}/probe?text=愛")
    assert "'愛'" in refused.json()["problem"]


def test_parts_are_switched_off_on_demand(trained, client):
    run_id = trained[2]
    answer = ready(client, f"/runs/{run_id}/ablate?off=head:1.2,mlp:2").json()
    assert (answer["step"], answer["off"]) == (12, ["head:1.2", "mlp:2"])
    assert ready(client, f"/runs/{run_id}/ablate?off=mlp:2&step=2").json()["step"] == 0  # the nearest
    wrong = ready(client, f"/runs/{run_id}/ablate?off=head:3.1,nonsense")
    assert "head:3.1" in wrong.json()["problem"] and "nonsense" in wrong.json()["problem"]
    worth = ready(client, f"/runs/{run_id}/ablate").json()
    assert len(worth["rises"]) == 2 * (1 + 1 + 2 + 1) and worth["rises"]["mlp:2"] is not None
    by_mean = ready(client, f"/runs/{run_id}/ablate?by=mean").json()
    assert by_mean["rises"].keys() == worth["rises"].keys() and by_mean["rises"] != worth["rises"]
    assert "use zero or mean" in ready(client, f"/runs/{run_id}/ablate?by=median").json()["problem"]


def test_one_token_is_another_on_demand(trained, client):
    run_id = trained[2]
    answer = ready(client, f"/runs/{run_id}/patch?position=10&token=l&text=sea shells").json()
    assert (answer["step"], answer["tokens"], answer["token"], answer["position"]) == (12, list("sea shells"), "l", 10)
    assert [len(answer[name]) for name in ("changed", "restored")] == [3, 3]
    assert answer["restored"][0] == [0.0] * 9 + [1.0] and answer["changed"][2][:9] == [0.0] * 9 and answer["changed"][2][9] > 0
    assert len(ready(client, f"/runs/{run_id}/patch?position=3&token=l&text=sea shells&where=mlp&step=2").json()["changed"]) == 2
    for wrong, said in (("position=0&token=l", "use 1 to"), ("token=se", "not one token"), ("token=s", "what stands there"),
                        ("token=l&where=head", "use stream, attn, mlp"), ("token=愛", "does not contain")):  # fmt: skip
        assert said in ready(client, f"/runs/{run_id}/patch?text=sea shells&{wrong}").json()["problem"]


def ready(client, path: str, **about):
    """The answer, asked for until it is there, as a page does."""
    began = time.monotonic()
    while (answer := client.get(path, **about)).status_code == 503 and answer.json()["code"] == "underway":
        assert still(began)
        time.sleep(0.1)
    return answer


def test_what_stands_out_is_said_with_its_rule(trained, client):
    found = client.get(f"/runs/{trained[2]}/findings").json()
    assert isinstance(found, list) and all(each["sentence"] and each["rule"] for each in found)


def test_everything_measured_as_a_table(trained, client):
    run_id = trained[2]
    rows = list(csv.DictReader(io.StringIO(client.get(f"/runs/{run_id}/measures.csv").text)))
    recorded = client.get(f"/runs/{run_id}").json()["events"]["probe"]
    wanted = recorded["values"][recorded["step"].index(4)]["attn_entropy"]["attn"][1][0]
    (row,) = [r for r in rows if (r["step"], r["quantity"], r["node"], r["layer"], r["head"]) == ("4", "attn_entropy", "attn", "2", "1")]
    assert float(row["value"]) == wanted and int(row["tokens"]) == 4 * 4 * 16
    assert {row["head"] for row in rows if row["quantity"] == "stream_rms"} == {""}


def test_the_graph_names_the_places_of_the_stream_and_what_is_measured(trained, client):
    answer = client.get(f"/runs/{trained[2]}/graph").json()
    assert answer["stream"] == [["embedding", 0], ["attn.add", 0], ["mlp.add", 0], ["attn.add", 1], ["mlp.add", 1]]
    assert {each["name"] for each in answer["quantities"]} == set(QUANTITIES) and answer["n_head"] == 2


def test_downloads_are_the_files_themselves(trained, client):
    root, db, run_id = trained
    weights = client.get(f"/runs/{run_id}/weights")
    assert set(load(weights.content)) == set(load((root / "runs" / run_id / "checkpoints" / "000012.safetensors").read_bytes()))
    assert "attachment" in weights.headers["content-disposition"]
    first = load(client.get(f"/runs/{run_id}/weights?step=0").content)
    assert not torch.equal(first["wte.weight"], load(weights.content)["wte.weight"])
    rows = list(csv.DictReader(io.StringIO(client.get(f"/runs/{run_id}/metrics.csv").text)))
    assert [int(row["step"]) for row in rows if row["train_loss"]][:7] == [1, 2, 4, 6, 8, 10, 12]
    assert file_name(db.run(run_id)) == f"a--b-name--b-{run_id}"
    assert client.get(f"/runs/{run_id}/weights?step=5").status_code == 404


@pytest.mark.parametrize("path", ["/runs/aaaaaaaaaa/probe", "/runs/aaaaaaaaaa/probes", "/runs/aaaaaaaaaa/graph",
                                  "/runs/aaaaaaaaaa/ablate?off=mlp:1",
                                  "/runs/aaaaaaaaaa/findings", "/runs/aaaaaaaaaa/measures.csv", "/assets/x/" + "a" * 5000,
                                  "/runs/aaaaaaaaaa/train.py",
                                  "/overlay?runs=zzz",
                                  "/assets/core.js", "/assets/x/..%2f..%2fapp.py",
                                  "/assets/x/main.js", "/runs/aaaaaaaaaa/weights", "/runs/../../etc/passwd"])  # fmt: skip
def test_what_is_not_there_is_not_found(client, path):
    assert client.get(path).status_code == 404


def asked_code(client, config: RunConfig | dict, more: str = ""):
    """The answer about a design, which the page sends without what is at its default."""
    tree = config if isinstance(config, dict) else config.model_dump(mode="json", exclude_defaults=True)
    return client.get(f"/code?config={quote(json.dumps(tree))}{more}")


def test_the_code_of_a_design_is_that_of_its_model(trained, client):
    root, _, run_id = trained
    config = RunFolder(root, run_id).read_config()
    assert asked_code(client, config).json() == {"code": source(config.model)}
    with_loop = asked_code(client, config, "&training").json()["code"]
    assert "class CausalSelfAttention" in with_loop and "optimizer.step()" in with_loop
    assert f'"{dataset.prepared_folder(config.data, root).relative_to(root)}/train.npy"' in with_loop


def test_code_that_cannot_be_written_says_why(trained, client):
    root, _, run_id = trained
    config = RunFolder(root, run_id).read_config().model_dump(mode="json")
    endless = config | {"train": config["train"] | {"max_steps": None, "max_seconds": 5.0}}
    assert "train.max_steps=None: a run that ends by the clock" in asked_code(client, endless, "&training").json()["problem"]
    assert "code" in asked_code(client, endless).json(), "its model can be"
    assert "model.n_layer" in asked_code(client, {"model": {"vocab_size": 5, "n_layer": 0}}).json()["problem"]
    assert "a config is a JSON object" in client.get("/code?config=[]").json()["problem"]
    assert client.get("/code").status_code == client.get("/code?config={").status_code == 400


def test_a_run_downloads_as_a_script(trained, client):
    _, db, run_id = trained
    answer = client.get(f"/runs/{run_id}/train.py")
    assert answer.headers["content-disposition"] == f'attachment; filename="{file_name(db.run(run_id))}.py"'
    assert "attachment" in answer.headers["content-disposition"] and f"Trains run {run_id} on its tokens" in answer.text
    compile(answer.text, "train.py", "exec")
    assert client.get(f"/runs/{run_id}/train.py?ready").json() == {"ready": True}
    assert "<b>" not in answer.text, "nothing that a person typed is in it"


def test_a_run_that_began_with_other_weights_is_no_script(trained, client):
    root, db, run_id = trained
    config = RunConfig.model_validate(RunFolder(root, run_id).read_config().model_dump())
    owner = Visitor.from_key(new_key())
    further = create_run(db, Settings(root), config, owner, state=store.STOPPED, parent=run_id)
    try:
        refused = client.get(f"/runs/{further}/train.py")
        assert (refused.status_code, refused.json()["code"]) == (422, "not_written")
        assert "began with the weights of another one" in client.get(f"/runs/{further}/train.py?ready").json()["problem"]
    finally:
        db.delete_run(further)


def test_a_refusal_has_a_code_beside_the_words(trained, client):
    run_id = trained[2]
    for path, status, code in (
        ("/runs/aaaaaaaaaa/graph", 404, "no_such_run"), (f"/runs/{run_id}/weights?step=5", 404, "not_found"),
        (f"/runs/{run_id}?cursor=abc", 400, "bad_request"), ("/nothing/like/this", 404, "not_found"),
    ):  # fmt: skip
        answer = client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (status, code) and answer.json()["error"]


def test_wrong_numbers_are_refused(trained, client):
    assert client.get(f"/runs/{trained[2]}?cursor=abc").status_code == 400
    assert client.get("/overlay?x=evil").status_code == 400
    assert client.get(f"/overlay?x=flops&runs={trained[2]}").json()["layout"]["xaxis"]["title"]["text"] == "FLOP spent on training"


def test_the_list_says_what_differs_from_the_default(trained, client):
    run_id = trained[2]
    (run,) = client.get("/runs").json()
    assert run["id"] == run_id and run["name"] == "a <b>name</b>"
    assert run["called"] == run["name"] and run["knobs"]["model.n_layer"] == "2" and "optim.weight_decay" not in run["knobs"]
    assert run["no_family"] == ""


def test_a_text_that_was_recorded_once_is_answered_from_checkpoints_that_are_newer(trained, client, tmp_path):
    root, db, run_id = trained
    copy = tmp_path / "root"
    shutil.copytree(root, copy)
    folder, old = RunFolder(copy, run_id), db.run(run_id).probe_text
    for step in set(folder.probe_steps(old)) - {0, 4}:
        folder.probe(old, step).unlink()
    there = TestClient(Routes(Settings(copy), Store(copy)).app())
    Store(copy).set_probe_text(run_id, "the sea")
    assert folder.probe_steps(old) == [0, 4] and sampler.steps(copy, run_id) == [0, 12]
    found = {step: ready(there, f"/runs/{run_id}/probe", params={"step": step, "text": old}).json()["step"] for step in (4, 8, 12, 99)}
    assert found == {4: 4, 8: 4, 12: 12, 99: 12}


def asks_for_all(client, path: str, n: int, key=None) -> list:
    """As many requests at once; their answers."""
    found, headers = [], {} if key is None else {"x-playground-key": key}
    crowd = [threading.Thread(target=lambda: found.append(client.get(path, headers=headers))) for _ in range(n)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    return found


def test_a_crowd_that_wants_the_same_model_leaves_the_other_routes_quick(trained, until):
    """45 at once used to occupy every thread of the server until all parts were computed."""
    root, db, run_id = trained
    live = Routes(Settings(root), db)
    client, release = TestClient(live.app()), threading.Event()
    holder = threading.Thread(target=lambda: live.looking.computing.run(release.wait))
    holder.start()
    try:
        answers = asks_for_all(client, f"/runs/{run_id}/ablate", 45)
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.json()["code"] for answer in answers} == {"underway"}
        assert all(answer.headers["retry-after"] == "1" and answer.json()["words"] for answer in answers)
        assert client.get("/runs").status_code == 200
        for text in ("sea", "shells"):
            client.get(f"/runs/{run_id}/probe", params={"text": text})
        refused = client.get(f"/runs/{run_id}/probe", params={"text": "shore"})
        assert (refused.status_code, refused.json()["code"]) == (503, "busy"), "without a key all are one visitor"
        own = client.get(f"/runs/{run_id}/probe", params={"text": "shore"}, headers={"x-playground-key": new_key()})
        assert own.json()["place"] == 2, "the first two are at work, and one is in line"
    finally:
        release.set()
        holder.join()
    until(lambda: client.get(f"/runs/{run_id}/ablate").status_code == 200, "the answer")
    until(lambda: client.get(f"/runs/{run_id}/probe", params={"text": "shore"}).status_code == 200, "that of the last in line")


def test_what_nobody_listens_to_ends_between_two_turns(trained, until):
    root, db, run_id = trained
    live = Routes(Settings(root), db, looking=Looking(root, Computing(), unheard_s=0.2))
    client, release, turns = TestClient(live.app()), threading.Event(), []
    run = live.looking.computing.run

    def slowly(do):
        turns.append(1)
        release.wait(20)
        return run(do)

    live.looking.computing.run = slowly
    assert client.get(f"/runs/{run_id}/ablate").json()["code"] == "underway"
    until(lambda: turns, "its first turn")
    time.sleep(0.3)
    release.set()
    until(lambda: not live.looking.line._running, "its end")
    assert len(turns) == 1


def test_a_run_whose_config_cannot_be_read_is_listed_with_what_is_known_of_it(tmp_path):
    db = Store(tmp_path)
    db.create()
    for run_id, state in (("aaaaaaaaaa", store.FINISHED), ("bbbbbbbbbb", store.QUEUED)):
        db.add_run(run_id, name="of tomorrow", owner="x", config='{"model": {"n_story": 3}}', n_params=7, state=state)
    client = TestClient(Routes(Settings(tmp_path), db).app())
    rows = client.get("/runs").json()
    assert [(row["name"], row["n_params"], row["n_layer"], row["max_steps"]) for row in rows] == [("of tomorrow", 7, None, None)] * 2
    assert all(row["knobs"] is None and "cannot read its config" in row["no_family"] for row in rows)
    assert client.get("/runs/aaaaaaaaaa").json()["run"]["source"] == ""
    for route in ("graph", "findings"):  # its folder has the same config
        RunFolder(tmp_path, "aaaaaaaaaa").path.mkdir(parents=True, exist_ok=True)
        RunFolder(tmp_path, "aaaaaaaaaa").config.write_text('{"model": {"n_story": 3}}')
        refused = client.get(f"/runs/aaaaaaaaaa/{route}")
        assert refused.status_code == 422 and "n_story" in refused.json()["error"], route
    table = frames.results(db.runs(), {})
    assert [row["id"] for row in table] == ["bbbbbbbbbb", "aaaaaaaaaa"]


def test_whoever_waits_is_told_their_place_and_about_when_they_start(tmp_path):
    db, people = Store(tmp_path), [Visitor.from_key(new_key()) for _ in range(2)]
    db.create()
    settings = Settings(tmp_path, max_running=1)
    config = RunConfig.model_validate({"model": TINY, "train": {"max_steps": 100, "batch_size": 4}})
    new = lambda visitor, state: create_run(db, settings, config, visitor, state=state)  # noqa: E731
    running, mine, also_mine, theirs = (new(people[i], s) for i, s in ((0, "running"), (0, "queued"), (0, "queued"), (1, "queued")))
    db.append(running, [], {"step": 50, "seconds": 20.0})
    client = TestClient(Routes(settings, db).app())
    status = {row["id"]: row for row in client.get("/runs").json()}
    assert [status[run_id]["place"] for run_id in (theirs, mine, also_mine)] == [1, 2, 3], "people take turns"
    assert status[theirs]["starts_in_s"] == pytest.approx(20.0) and "place" not in status[running]
    assert status[mine]["starts_in_s"] is None, "nobody knows yet how fast this machine is"
    estimate.save(tmp_path, estimate.Machine(1, dict.fromkeys(estimate.KINDS, 0.0) | {"layers": 0.05}))
    live = TestClient(Routes(settings, db).app())
    starts = [live.get(f"/runs/{run_id}").json()["run"]["starts_in_s"] for run_id in (theirs, mine, also_mine)]
    assert starts == pytest.approx([20.0, 30.0, 40.0], rel=0.05), "100 steps of two layers, 0.05 s each"


def test_while_a_run_trains_the_step_of_the_next_look_is_told(tmp_path):
    db = Store(tmp_path)
    db.create()
    config = RunConfig.model_validate({"model": TINY, "train": {"max_steps": 60, "batch_size": 4}})
    run_id = create_run(db, Settings(tmp_path), config, Visitor.from_key(new_key()), state="running")
    told = lambda: TestClient(Routes(Settings(tmp_path), db).app()).get(f"/runs/{run_id}").json()["run"]  # noqa: E731
    schedule = looks(db.run(run_id).config)
    for step in (0, 7, 21, 59, 60):
        db.append(run_id, [], {"step": step})
        later = (each for each in range(step + 1, 61) if schedule.probed(each))
        assert told()["next_look"] == next(later, None)
    db.append(run_id, [], {"state": "finished"})
    assert "next_look" not in told()


def test_an_overlay_has_two_lines_a_run_and_shows_names_as_text(trained):
    _, db, run_id = trained
    frame = frames.metrics(db, [run_id])
    figure = plots.overlay(frame, {run_id: "a <b>name</b>"}, {run_id: 1000}, "seconds")
    assert len(figure.data) == 2 and figure.data[0].name == "a &lt;b&gt;name&lt;/b&gt;"
    spans = frame[frame["whole_split"].eq(False)]["eval_loss"].tolist()
    assert list(figure.data[1].y) == spans and len(spans) == 2
    tokens, flops = (plots.overlay(frame, {run_id: "x"}, {run_id: 1000}, x).data[1].x for x in ("tokens", "flops"))
    assert tokens[0] == pytest.approx(6 * 4 * 16) and flops[0] == pytest.approx(6 * 4 * 16 * 1000)


def test_ticked_runs_are_grouped_by_a_setting_in_which_they_differ(tmp_path):
    db, settings = Store(tmp_path), Settings(tmp_path)
    db.create()
    losses = {(1, 1): [3.0, 2.0], (1, 2): [3.2, 2.4], (2, 1): [2.9, 1.0]}  # by layers and seed
    ids = []
    for (layers, seed), curve in losses.items():
        config = parse(RunConfig, {"model": TINY | {"n_layer": layers}, "train": {"seed": seed}, "data": {"tokenizer": "char"}})
        run_id = create_run(db, settings, config, HOST, state=store.RUNNING)
        db.append(run_id, [Validation(5 * i, loss, 10, whole=False, seconds=i) for i, loss in enumerate(curve, 1)], {})
        ids.append(run_id)
    client = TestClient(Routes(settings, db).app())
    plain = client.get(f"/overlay?runs={','.join(ids)}").json()
    assert plain["differing"] == [["model.n_layer", "layers"], ["train.seed", "seed"]] and len(plain["data"]) == 2 * 3
    told = client.get(f"/overlay?group=model.n_layer&runs={','.join(ids)}").json()
    low, high, mean, *_ = told["data"]
    assert (mean["name"], mean["x"], mean["customdata"]) == ("layers: 1 (2 runs)", [5, 10], [2, 2])
    assert mean["y"] == pytest.approx([3.1, 2.2]) and (low["y"], high["y"]) == ([3.0, 2.0], [3.2, 2.4])
    assert told["data"][5]["name"] == "layers: 2 (1 run)" and told["data"][5]["y"] == [2.9, 1.0]
    assert len(client.get(f"/overlay?group=model.bias&runs={','.join(ids)}").json()["data"]) == 6, "no setting in which they differ"


def test_frames_keep_what_is_not_finite(trained, tmp_path):
    db = Store(tmp_path)
    db.create()
    config = RunConfig()
    db.add_run("aaaaaaaaaa", name="x", owner="y", config=config.model_dump_json(), n_params=1, state=store.RUNNING)
    events = [Progress(1, 10, 1.0, float("inf"), 1.0, 0.1, 5.0), Validation(1, loss=float("nan"), n_tokens=5, whole=True, seconds=1.0)]
    db.append("aaaaaaaaaa", events, {})
    frame = frames.metrics(db, ["aaaaaaaaaa"])
    assert frame["train_loss"].iloc[0] == float("inf")
    lines = list(csv.DictReader(io.StringIO("".join(frames.metrics_csv(db, "aaaaaaaaaa")))))
    assert [(line["train_loss"], line["val_loss"]) for line in lines] == [("inf", ""), ("", "nan")], "none is not nan"
    assert frames.to_csv([{"a": float("nan"), "b": None}, {"c": -float("inf")}]) == b"a,b,c\nnan,,\n,,-inf\n"


def test_a_folder_is_needed_for_a_run(tmp_path):
    with pytest.raises(store.NoSuchRun):
        RunFolder(tmp_path, "../../etc")


def test_a_run_downloads_as_a_folder_that_transformers_loads(trained, client, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    root, db, run_id = trained
    response = ready(client, f"/runs/{run_id}/transformers.zip")
    zipfile.ZipFile(io.BytesIO(response.content)).extractall(tmp_path)
    folder = tmp_path / file_name(db.run(run_id))
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ours = sampler.load(root, run_id, None)
    ids = tokenizer("she sells", return_tensors="pt").input_ids
    assert ids[0].tolist() == ours.tokenizer.encode("she sells").tolist()
    torch.testing.assert_close(model(ids).logits, ours.model(ids), rtol=1e-5, atol=1e-5)
    write = pipeline("text-generation", model=str(folder))
    (said,) = write("she", max_new_tokens=8, do_sample=False)
    greedy = "".join(token.text for token in sampler.sample(root, run_id, None, "she", SampleConfig(max_new_tokens=8, temperature=0)))
    assert said["generated_text"] == "she" + greedy
    context = db.run(run_id).config.model.block_size
    for prompt in ("she", "she sells sea shells " * context):  # as people call it who know nothing of its context
        (said,) = write(prompt, handle_long_generation="hole", **({} if len(prompt) < context else {"max_new_tokens": 4}))
        assert len(tokenizer(said["generated_text"]).input_ids) >= context
    assert tokenizer.model_max_length == model.generation_config.max_length == context


def test_the_code_on_the_model_card_writes_and_its_config_trains_the_same_again(trained, client, tmp_path, monkeypatch, capsys):
    _, db, run_id = trained
    zipfile.ZipFile(io.BytesIO(ready(client, f"/runs/{run_id}/transformers.zip").content)).extractall(tmp_path)
    run, name = db.run(run_id), file_name(db.run(run_id))
    card = (tmp_path / name / "README.md").read_text()
    _, front, rest = card.split("---\n", 2)
    assert "pipeline_tag: text-generation" in front and f"# {html.escape(run.name)}" in rest
    assert f"{run.n_params:,} parameters" in rest and f"The context is {run.config.model.block_size} tokens" in rest
    assert f"{run.val_loss:.4f} nats per token" in rest
    code = re.search(r"```python\n(.*?)```", rest, re.S)[1]
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert len(capsys.readouterr().out) > 10
    assert parse(RunConfig, json.loads((tmp_path / name / "playground.json").read_text())) == parse(RunConfig, json.loads(run.config_json))


def test_where_no_family_fits_the_knob_is_named(trained, client):
    _, db, run_id = trained
    config = db.run(run_id).config
    model = config.model.model_copy(update={"activation": "relu2", "norm_type": "rmsnorm"})
    said = about_config(config.model_copy(update={"model": model}))["no_family"]
    assert "closest is" in said and ("activation" in said or "norm_type" in said)


def test_where_many_pages_are_open_each_is_told_to_ask_less_often_and_all_share_one_answer(trained, monkeypatch):
    root, db, run_id = trained
    live = Routes(Settings(root), db)
    client, computed = TestClient(live.app()), []
    compute = answers.delta
    monkeypatch.setattr(answers, "delta", lambda *key: computed.append(key) or compute(*key))
    named = lambda name: {"x-playground-page": name}  # noqa: E731
    for i in range(10):
        assert client.get(f"/runs/{run_id}", headers=named(f"p{i}")).json()["poll_ms"] == 0
    assert len(computed) < 10, "whatever a page calls itself, the answer is the same"
    client.get("/runs", headers=named("one-more"))
    time.sleep(0.2)
    assert client.get(f"/runs/{run_id}").json()["poll_ms"] == 1000, "a program that gives no name is told too"


@pytest.mark.parametrize("damage", ["", '{"model": {', "[]", None])
def test_a_run_whose_config_is_damaged_is_refused_in_words(tmp_path, damage):
    db = Store(tmp_path)
    db.create()
    run_id = create_run(db, Settings(tmp_path), RunConfig(), HOST, state=store.STOPPED)
    file = RunFolder(tmp_path, run_id).config
    file.unlink() if damage is None else file.write_text(damage)
    client = TestClient(Routes(Settings(tmp_path), db).app(), raise_server_exceptions=False)
    for path in ("", "/graph", "/probes", "/probe", "/findings", "/config.json", "/metrics.csv", "/weights", "/ablate", "/patch"):
        answer = client.get(f"/runs/{run_id}{path}")
        assert answer.status_code in (200, 404, 422), (path, answer.text)
    refused = client.get(f"/runs/{run_id}/graph")
    assert refused.status_code == 422
    assert refused.json() == {"error": f"the config.json of run {run_id} is damaged or missing", "code": "invalid"}


def test_the_list_tells_what_has_changed_without_probe_texts_and_compressed(trained):
    root, db, run_id = trained
    client = TestClient(Routes(Settings(root), db).app())
    whole = client.get("/runs?since=").json()
    assert whole["runs"][0]["experiment"] is None
    assert whole["whole"] and whole["runs"] == client.get("/runs").json() and "probe_text" not in whole["runs"][0]
    assert client.get(f"/runs?since={whole['version']}").json()["runs"] == []
    many = Routes(Settings(root), db)
    status = many.statuses.of(db.run(run_id)) | {"log": "a line\n" * 1000}
    many.statuses.of = lambda run: status
    client = TestClient(many.app())
    packed = client.get("/runs")
    assert packed.headers["content-encoding"] == "gzip" and int(packed.headers["content-length"]) < len(packed.content) / 4
    plain = client.get("/runs", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.json() == packed.json()


def test_a_page_that_opens_a_long_run_gets_no_more_points_than_a_screen_shows(tmp_path):
    db = Store(tmp_path)
    db.create()
    db.add_run("aaaaaaaaaa", name="x", owner="y", config=RunConfig().model_dump_json(), n_params=1, state=store.RUNNING)
    db.append("aaaaaaaaaa", [Progress(i, i, 1.0, 9.0 if i == 5000 else 2.0 + i % 7, 1.0, 0.1, 5.0) for i in range(1, 30_001)], {})
    client, steps, losses, cursor, more = TestClient(Routes(Settings(tmp_path), db).app()), [], [], 0, True
    while more:
        answer = client.get(f"/runs/aaaaaaaaaa?generation=0&cursor={cursor}").json()
        cursor, more = answer["cursor"], answer["more"]
        steps += answer["events"]["progress"]["step"]
        losses += answer["events"]["progress"]["loss"]
    assert 1000 < len(steps) < 2100 and steps == sorted(steps) and (steps[0], steps[-1]) == (1, 30_000)
    assert losses[steps.index(5000)] == 9.0, "the spike is there"
    db.append("aaaaaaaaaa", [Progress(30_001 + i, 1, 1.0, 2.0, 1.0, 0.1, 5.0) for i in range(900)], {})
    assert len(client.get(f"/runs/aaaaaaaaaa?generation=0&cursor={cursor}").json()["events"]["progress"]["step"]) == 900, (
        "what is new is all there"
    )


def test_a_folder_that_is_written_has_its_place_in_line_and_is_kept_for_a_while(trained, monkeypatch, until):
    root, db, run_id = trained
    client, release, written = TestClient(Routes(Settings(root), db).app()), threading.Event(), []
    shutil.rmtree(root / "exports", ignore_errors=True)
    write = export._write
    monkeypatch.setattr(export, "_write", lambda *args: (written.append(args[2]), release.wait(20), write(*args))[-1])
    path = f"/runs/{run_id}/transformers.zip"
    assert client.get(f"{path}?ready&step=0").json()["code"] == "underway"
    until(lambda: written, "its beginning")
    assert client.get(f"{path}?ready&step=12").json()["place"] == 1
    release.set()
    assert ready(client, f"{path}?ready&step=12").json() == {"ready": True}
    for step in (0, 12, 12):
        assert len(ready(client, f"{path}?step={step}").content) > 1000
    assert written == [0, 12], "each is written once"
    monkeypatch.setattr(export, "KEPT_S", -1.0)
    ready(client, f"{path}?step=0")
    assert len(list((root / "exports").iterdir())) == 1
