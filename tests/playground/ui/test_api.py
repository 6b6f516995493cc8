"""The named endpoints through Gradio's own client, against `python app.py` in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from playground.runs.store import Store
from playground.system.files import REPOSITORY
from tests.patience import LONGEST_S, still

ENDPOINTS = {
    "/start_run", "/fork_run", "/run_status", "/list_runs", "/metrics", "/control_run", "/rename_run", "/delete_run", "/checkpoints",
    "/sample", "/upload_text", "/texts", "/delete_text", "/probe", "/ablate", "/patch", "/download", "/ready_experiments",
    "/start_experiment", "/experiment", "/list_experiments", "/control_experiment",
}  # fmt: skip
TINY = {
    "model": {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16},
    "train": {"max_steps": 40, "batch_size": 4, "checkpoint_interval": 20},
    "probe": {"sample_tokens": 5},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(client, address, root) of a running app."""
    from gradio_client import Client

    root = tmp_path_factory.mktemp("api") / "root"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {
        **os.environ,
        "PLAYGROUND_ROOT": str(root),
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "PLAYGROUND_MAX_UPLOAD_BYTES": "100000",
    }
    process = subprocess.Popen(
        [sys.executable, "app.py"], cwd=REPOSITORY, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    line = process.stdout.readline()
    assert str(port) in line, line + process.stdout.read()
    url = f"http://127.0.0.1:{port}/"
    yield Client(url, verbose=False), url, root
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LONGEST_S)
    subprocess.run(
        [sys.executable, "-m", "playground", "stop", "--all", "--root", str(root)], cwd=REPOSITORY, capture_output=True, timeout=LONGEST_S
    )
    assert process.returncode == 0


@pytest.fixture
def call(served):
    return lambda name, *args, **kwargs: served[0].predict(*args, api_name=name, **kwargs)


@pytest.fixture
def refused(call):
    """Call, expect an error for people and, where a code is given, that for programs; return its words."""
    from gradio_client.exceptions import AppError

    def expect(name, *args, code=None, **kwargs) -> str:
        with pytest.raises(AppError) as error:
            call(name, *args, **kwargs)
        assert "Traceback" not in str(error.value) and code in (None, error.value.title)
        return str(error.value)

    return expect


def finished(call, run_id: str) -> dict:
    began = time.monotonic()
    while (status := call("/run_status", run_id))["state"] not in ("finished", "failed", "diverged"):
        assert still(began), status
        time.sleep(0.2)
    return status


def test_the_public_endpoints_are_exactly_the_promised_ones(served):
    info = served[0].view_api(return_format="dict", print_info=False)
    assert set(info["named_endpoints"]) == ENDPOINTS and not info["unnamed_endpoints"]
    assert all(parameter["type"] for endpoint in info["named_endpoints"].values() for parameter in endpoint["parameters"])


def test_a_program_trains_an_experiment(call, refused):
    document = call("/ready_experiments")["residual"]
    shape = {f"{section}.{name}": value for section, values in TINY.items() for name, value in values.items() if name != "max_steps"}
    document |= {"changes": shape, "budget": {"unit": "steps", "amount": 6}, "seeds": 1}
    begun = call("/start_experiment", document, "lower", "")
    began = time.monotonic()
    while (found := call("/experiment", begun["experiment_id"]))["wanted"] != "done":
        assert still(began), found
        time.sleep(0.2)
    assert found["verdict"] == "undecided" and found["sentences"][-1] == "Your prediction is not decided."
    assert [list(arm["values"]) for arm in found["arms"]] == [["1"], ["1"]] and found["runs_ended"] == 2
    assert call("/list_experiments")[0]["title"] == "Residual connections"
    assert call("/control_experiment", begun["experiment_id"], "stop", begun["owner_key"]) == {"experiment_id": begun["experiment_id"]}
    assert "only who began" in refused("/control_experiment", begun["experiment_id"], "stop", "k" * 30, code="not_allowed")
    assert "there is no experiment" in refused("/experiment", "aaaaaaaaaa", code="no_such_experiment")
    assert "claims" in refused("/start_experiment", {"title": "half"}, "", "", code="invalid")


def test_a_program_can_do_all_that_the_page_can(served, call):
    client, url, root = served
    source = call("/upload_text", "round the rugged rock the ragged rascal ran. " * 50)["source"]
    started = call("/start_run", TINY | {"data": {"source": source}}, "by a program", "default", "")
    run_id, key = started["run_id"], started["owner_key"]
    status = finished(call, run_id)
    assert status["state"] == "finished" and status["step"] == 40 and status["name"] == "by a program"
    assert any(row["train_loss"] for row in call("/metrics", run_id))
    assert call("/checkpoints", run_id) == [0, 20, 40]
    tokens = list(client.submit(run_id, "round ", None, 12, 0.8, None, None, 3, api_name="/sample"))
    again = list(client.submit(run_id, "round ", None, 12, 0.8, None, None, 3, api_name="/sample"))
    assert len(tokens) == 12 and tokens == again and len(tokens[0]["runners_up"]) == 5
    probe = call("/probe", run_id, "rugged", 20)
    assert probe["step"] == 20 and probe["tokens"] == list("rugged")
    assert [len(probe["attention"]), len(probe["attention"][0]), len(probe["attention"][0][0])] == [1, 2, 6]
    assert abs(sum(probe["attention"][0][1][5]) - 1) < 0.01
    assert probe["values"]["attn_entropy"]["attn"][0][0] > 0
    lost = call("/ablate", run_id, "layer:1", "rugged rock", 40)
    assert (lost["step"], lost["off"]) == (40, ["layer:1"]) and lost["before"]["held_out_loss"] != lost["after"]["held_out_loss"]
    other = call("/patch", run_id, 11, "r", "rugged rock")
    assert (other["step"], other["token"], other["restored"][0][10]) == (40, "r", 1.0) and not any(other["changed"][1][:10])
    for name, address in call("/download", run_id).items():
        assert urllib.request.urlopen(url + address).status == 200, name
    assert call("/rename_run", run_id, "another name", key)["name"] == "another name"
    child = call("/control_run", run_id, "continue", key)["run_id"]
    assert child != run_id and finished(call, child)["parent"] == run_id
    fork = call("/fork_run", run_id, {"optim": {"lr": 0.01}, "train": {"max_steps": 5}}, 20, "", "")["run_id"]
    assert (finished(call, fork)["parent"], call("/run_status", fork)["step"]) == (run_id, 5)
    assert {run["id"] for run in call("/list_runs")} >= {run_id, child}
    call("/delete_run", child, key)
    assert child not in {run["id"] for run in call("/list_runs")}
    assert not (root / "runs" / child).exists()


def test_without_the_owner_key_nothing_changes(served, call, refused):
    run_id = call("/start_run", TINY | {"train": {"max_steps": 100_000}}, "", "default", "")["run_id"]
    other = call("/start_run", TINY, "", "default", "")["owner_key"]
    for key in (other, "", "x" * 40, "host"):
        for action in ("pause", "stop", "resume", "continue"):
            assert "only the owner" in refused("/control_run", run_id, action, key) or "owner key" in refused(
                "/control_run", run_id, action, key
            )
        assert "owner" in refused("/delete_run", run_id, key, code="not_allowed")
        assert "owner" in refused("/rename_run", run_id, "mine now", key)
    run = Store(served[2]).run(run_id)
    assert run.wanted == "run" and run.name != "mine now"


@pytest.mark.parametrize(
    "config, words",
    [
        ({"model": {"n_head": 3}}, "n_embd=128 is not divisible by n_head=3"),
        ({"model": {"n_layr": 3}}, "did you mean model.n_layer"),
        ({"model": {"n_layer": 0}, "optim": {"lr": -1}}, "optim.lr"),
        ({"data": {"source": "/etc/passwd"}}, "is not a data source"),
        ({"data": {"source": "../../etc/passwd"}}, "is not a data source"),
        ({"data": {"source": "upload:" + "0" * 64}}, "upload it again"),
        ({"optim": {"lr": "nan"}}, "optim.lr"),
        ({"train": {"max_steps": None}}, "needs an end"),
        ({"model": {"n_embd": 4096, "n_layer": 64}}, "parameters are more than"),
        ({"unknown": {}}, "no such setting"),
        ("nonsense", "a config is an object"),
        ({"model": 5}, "model"),
    ],
)
def test_a_wrong_config_is_refused_with_a_remedy_and_starts_nothing(served, refused, config, words):
    before = len(Store(served[2]).runs())
    assert words in refused("/start_run", config, "", "default", "")
    assert len(Store(served[2]).runs()) == before


@pytest.mark.parametrize("run_id", ["../../etc", "aaaaaaaaaa", "", "x" * 5000, None, 5, {"a": 1}])
def test_a_wrong_run_id_is_refused_everywhere(refused, run_id):
    for name, arguments in {
        "/run_status": [], "/metrics": [], "/checkpoints": [], "/download": [], "/probe": ["text", None],
        "/control_run": ["stop", "k" * 30], "/rename_run": ["n", "k" * 30], "/delete_run": ["k" * 30],
    }.items():  # fmt: skip
        assert refused(name, run_id, *arguments) not in ("", "None")


@pytest.mark.parametrize("text, words", [("", "empty"), ("a\0b", "binary"), ("x" * 200_000, "at most 0.1 MB"), (5, "a text is needed")])
def test_a_text_that_cannot_be_used_is_refused(refused, text, words):
    assert words in refused("/upload_text", text)


def test_wrong_sampling_values_are_all_named(call, refused):
    run_id = call("/start_run", {**TINY, "data": {"tokenizer": "char"}}, "", "default", "")["run_id"]
    finished(call, run_id)
    said = refused("/sample", run_id, "x", None, 0, -1.0, 0, 2.0, -5)
    assert all(name in said for name in ("max_new_tokens", "temperature", "top_k", "top_p", "seed"))
    assert "does not contain" in refused("/sample", run_id, "日本", None, 5, 1.0, None, None, 1)
    assert "no checkpoint at step 7" in refused("/sample", run_id, "x", 7, 5, 1.0, None, None, 1)
