"""The named endpoints through Gradio's own client, against `python app.py` in a process of its own."""

from __future__ import annotations

import json
import re
import time
import urllib.request

import pytest

from playground.config.experiment import Experiment
from playground.config.presets import PRESETS
from playground.config.run import RunConfig
from playground.runs.store import Store
from playground.system.files import REPOSITORY
from playground.ui.api.documents import Document
from playground.ui.api.part import Config
from tests.patience import still
from tests.playground.ui.serving import app_at

ENDPOINTS = {
    "/presets", "/preset", "/config_schema", "/review_run", "/data_sources", "/upload_text", "/texts", "/delete_text",
    "/start_run", "/fork_run", "/control_run", "/rename_run", "/delete_run",
    "/run_status", "/wait_run", "/list_runs", "/metrics", "/checkpoints", "/findings", "/download",
    "/sample_text", "/sample", "/probe", "/ablate", "/patch",
    "/ready_experiments", "/review_experiment", "/start_experiment", "/experiment", "/wait_experiment", "/list_experiments",
    "/control_experiment",
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
    with app_at(root, PLAYGROUND_MAX_UPLOAD_BYTES="100000") as url:
        yield Client(url, verbose=False), url, root


@pytest.fixture(scope="module")
def endpoints(served):
    return served[0].view_api(return_format="dict", print_info=False)["named_endpoints"]


@pytest.fixture
def call(served, endpoints):
    """Call an endpoint; its answer must be what its description says."""

    def answer(name, *args, **kwargs):
        value = served[0].predict(*args, api_name=name, **kwargs)
        misfit = unlike(value, endpoints[name]["returns"][0]["type"])
        assert not misfit, f"{name}: {misfit}"
        return value

    return answer


KINDS = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None), "array": list, "object": dict}


def unlike(value, schema: dict, at: str = "answer") -> str:
    """Where a value is not what a schema says, a field that it does not name included; empty where it is."""
    if "anyOf" in schema:
        return (
            ""
            if any(not unlike(value, each) for each in schema["anyOf"])
            else f"{at} is {value!r:.200}, not one of {schema['anyOf']!r:.300}"
        )
    if not isinstance(value, KINDS[schema["type"]]) or (isinstance(value, bool) and schema["type"] != "boolean"):
        return f"{at} is {value!r:.200}, not {schema['type']}"
    if "enum" in schema:
        return "" if value in schema["enum"] else f"{at} is {value!r}, not one of {schema['enum']}"
    if isinstance(value, list):
        of = schema.get("prefixItems") or [schema["items"]] * len(value)
        return next(filter(None, (unlike(each, kind, f"{at}[{i}]") for i, (each, kind) in enumerate(zip(value, of, strict=True)))), "")
    if isinstance(value, dict) and "properties" in schema:
        if missing := set(schema.get("required", ())) - value.keys():
            return f"{at} has no {missing}"
        if unknown := value.keys() - schema["properties"].keys():
            return f"{at} has {unknown} too"
        return next(filter(None, (unlike(each, schema["properties"][name], f"{at}.{name}") for name, each in value.items())), "")
    if isinstance(value, dict) and "additionalProperties" in schema:
        return next(filter(None, (unlike(each, schema["additionalProperties"], f"{at}.{name}") for name, each in value.items())), "")
    return ""


def test_a_value_unlike_its_schema_is_noticed():
    schema = {"type": "object", "properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}, "required": ["a"]}
    assert not unlike({"a": 1}, schema) and not unlike({"a": None}, schema)
    assert unlike({"a": "1"}, schema) and unlike({}, schema) and unlike({"a": 1, "b": 2}, schema) and unlike([], schema)
    assert unlike([1, "a"], {"type": "array", "items": {"type": "integer"}}) and unlike(True, {"type": "integer"})
    assert unlike("c", {"type": "string", "enum": ["a", "b"]}) and not unlike("a", {"type": "string", "enum": ["a", "b"]})


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
    while (status := call("/wait_run", run_id, 20))["state"] in ("queued", "starting", "running"):
        assert still(began), status
    return status


def test_the_public_endpoints_are_exactly_the_promised_ones(served):
    info = served[0].view_api(return_format="dict", print_info=False)
    assert set(info["named_endpoints"]) == ENDPOINTS and not info["unnamed_endpoints"]


def test_the_readme_lists_every_endpoint_and_its_example_runs(served, trained, capsys):
    text = (REPOSITORY / "playground/ui/README.md").read_text()
    assert set(re.findall(r"`(/\w+)`", text.partition("```")[0])) == ENDPOINTS
    example = re.search(r"```python\n(from gradio_client.*?)```", text, re.S)[1]
    small = re.sub(r"(?m)^design = .*$", f"design = {TINY | {'data': {'tokenizer': 'char'}}!r}", example)
    exec(small.replace("http://127.0.0.1:7860", served[1]), {})
    reviewed, found, written = capsys.readouterr().out.split("\n", 2)
    assert "'possible': True" in reviewed and "'sentence':" in found and len(written) > 20


def test_every_endpoint_says_what_it_takes_and_returns(endpoints):
    """With words, types and an example that is of the type."""
    assert len({each["description"] for each in endpoints.values()}) == len(endpoints)
    for name, endpoint in endpoints.items():
        assert len(endpoint["description"]) > 15 and endpoint["description"].rstrip().endswith("."), name
        for parameter in endpoint["parameters"]:
            at = f"{name} {parameter['parameter_name']}"
            assert parameter["python_type"]["description"].endswith("."), at
            assert parameter["type"]["description"] == parameter["python_type"]["description"], at
            assert not unlike(parameter["example_input"], parameter["type"], at) and parameter["example_input"] is not None, at
            assert parameter["example_input"] != "", at
        (answer,) = endpoint["returns"]
        assert answer["python_type"]["description"].endswith("."), name
        assert not re.search(r"\bany\b|\{\}", f"{answer['python_type']['type']} {answer['type']}", re.I), name


def test_the_types_name_every_section_and_field():
    assert Config.__annotations__.keys() == RunConfig.model_fields.keys()
    assert Document.__annotations__.keys() == Experiment.model_fields.keys()


def test_the_document_of_the_page_is_not_burdened_with_the_schemas(served):
    """Gradio puts what its components say of themselves into it several times."""
    config = json.load(urllib.request.urlopen(f"{served[1]}config"))
    apis = [each for each in config["components"] if each["type"] == "api"]
    assert len(apis) > 50 and len(json.dumps([[each.get("api_info"), each.get("api_info_as_input")] for each in apis])) < 60 * len(apis)


# A design.


def test_a_program_finds_out_what_can_be_asked_for(call, refused):
    presets = {each["name"]: each for each in call("/presets")}
    assert presets.keys() == PRESETS.keys() and presets["default"]["title"] == "Small GPT"
    assert call("/preset", "fast-cpu")["config"] == PRESETS["fast-cpu"].config.model_dump(mode="json")
    assert "there is no preset" in refused("/preset", "nope", code="invalid")
    whole = call("/config_schema")["properties"]
    paths = {f"{section}.{knob}" for section, schema in whole.items() for knob in schema["properties"]}
    assert paths == {spec.path for spec in RunConfig.specs()}  # not what is filled in, as vocab_size
    assert call("/config_schema", "model")["properties"] == whole["model"]["properties"]
    assert whole["model"]["properties"]["n_layer"]["maximum"] == 64 and whole["model"]["properties"]["n_layer"]["knob"]["label"] == "layers"
    assert "no section" in refused("/config_schema", "modell", code="invalid")
    sources = {each["source"]: each for each in call("/data_sources")}
    assert sources["tiny-tales"]["is_here"] and not sources["tiny-shakespeare"]["is_here"]
    assert sources["task:sort"]["kind"] == "task" and sources["task:sort"]["settings"] == {"length": 8, "alphabet": 8}


def test_a_design_is_reviewed_before_it_is_trained(served, call, refused):
    before = len(Store(served[2]).runs())
    reviewed = call("/review_run", TINY | {"data": {"tokenizer": "char"}})
    cost = reviewed["cost"]
    assert reviewed["possible"] and reviewed["problems"] == [] and cost["n_params"] == cost["parts"][-1]["n_params"]
    assert cost["trains_on"] == 40 * 4 * 16 and cost["unit"] == "tokens" and cost["epochs"] < 0.01
    assert reviewed["data"]["title"] == "Tiny Tales" and "optim.warmup_steps" in reviewed["warnings"][0]
    assert "layers 1" in reviewed["name"] and reviewed["formulas"]
    wrong = call("/review_run", {"model": {"n_head": 3, "n_layr": 2}, "optim": {"lr": -1}})
    assert not wrong["possible"] and wrong["cost"] is None
    assert {"model.n_head", "model.n_layr", "optim.lr"} == {each["setting"] for each in wrong["problems"]}
    large = call("/review_run", {"model": {"n_layer": 64, "n_embd": 4096}})
    assert not large["possible"] and "more than" in large["problems"][0]["message"]
    task = call("/review_run", {"train": {"max_seconds": 5, "max_steps": None}}, "sort")
    assert task["possible"] and task["cost"]["trains_on"] is None and task["data"]["kind"] == "task"
    assert "there is no preset" in refused("/review_run", {}, "nope", code="invalid")
    assert "a config is an object" in refused("/review_run", "nonsense", code="invalid")
    assert len(Store(served[2]).runs()) == before


def test_an_experiment_is_reviewed_before_it_begins(served, call):
    document = call("/ready_experiments")["residual"]
    reviewed = call("/review_experiment", document)
    assert (
        reviewed["possible"]
        and reviewed["n_runs"] == 6
        and [arm["name"] for arm in reviewed["arms"]] == ["with residuals", "without residuals"]
    )
    assert reviewed["arms"][1]["changes"] == [["residual connections", "off"]] and "lower" in reviewed["claims"][0]
    wrong = call("/review_experiment", document | {"seeds": 0, "colour": "red"})
    assert not wrong["possible"] and {each["setting"] for each in wrong["problems"]} == {"seeds", "colour"}
    assert call("/list_experiments") == [] and not Store(served[2]).members()


# Experiments and runs.


def test_a_program_trains_an_experiment(call, refused):
    document = call("/ready_experiments")["residual"]
    shape = {f"{section}.{name}": value for section, values in TINY.items() for name, value in values.items() if name != "max_steps"}
    document |= {"changes": shape, "budget": {"unit": "steps", "amount": 6}, "seeds": 1}
    begun = call("/start_experiment", document, "lower", "")
    began = time.monotonic()
    while (found := call("/wait_experiment", begun["experiment_id"], 20))["wanted"] != "done":
        assert still(began), found
    assert found == call("/experiment", begun["experiment_id"])
    assert found["verdict"] == "undecided" and found["sentences"][-1] == "Your prediction is not decided."
    assert [list(arm["values"]) for arm in found["arms"]] == [["1"], ["1"]] and found["runs_ended"] == 2
    assert call("/list_experiments")[0]["title"] == "Residual connections"
    assert call("/control_experiment", begun["experiment_id"], "stop", begun["owner_key"]) == {"experiment_id": begun["experiment_id"]}
    assert "only who began" in refused("/control_experiment", begun["experiment_id"], "stop", "k" * 30, code="not_allowed")
    assert "there is no experiment" in refused("/experiment", "aaaaaaaaaa", code="no_such_experiment")
    assert "claims" in refused("/start_experiment", {"title": "half"}, "", "", code="invalid")


def test_a_program_can_do_all_that_the_page_can(served, call):
    _, url, root = served
    source = call("/upload_text", "round the rugged rock the ragged rascal ran. " * 50)["source"]
    started = call("/start_run", TINY | {"data": {"source": source}}, "by a program", "default", "")
    run_id, key = started["run_id"], started["owner_key"]
    status = finished(call, run_id)
    assert status["state"] == "finished" and status["step"] == 40 and status["name"] == "by a program"
    assert any(row["train_loss"] for row in call("/metrics", run_id))
    assert call("/checkpoints", run_id) == [0, 20, 40]
    assert call("/findings", run_id)[0]["sentence"] and call("/list_runs", limit=1)[0]["id"] == run_id
    probe = call("/probe", run_id, "rugged", 20)
    assert probe["step"] == 20 and probe["tokens"] == list("rugged")
    assert [len(probe["attention"]), len(probe["attention"][0]), len(probe["attention"][0][0])] == [1, 2, 6]
    assert abs(sum(probe["attention"][0][1][5]) - 1) < 0.01
    assert probe["values"]["attn_entropy"]["attn"][0][0] > 0
    lost = call("/ablate", run_id, "layer:1", "rugged rock", 40)
    assert (lost["step"], lost["off"]) == (40, ["layer:1"]) and lost["before"]["held_out_loss"] != lost["after"]["held_out_loss"]
    other = call("/patch", run_id, 11, "r", "rugged rock")
    assert (other["step"], other["token"], other["restored"][0][10]) == (40, "r", 1.0) and not any(other["changed"][1][:10])
    links = call("/download", run_id)
    assert links.keys() == {"weights", "metrics.csv", "measures.csv", "config.json", "transformers.zip"}
    for name, address in links.items():
        assert address.startswith(f"{url}live/runs/{run_id}/") and urllib.request.urlopen(address).status == 200, name
    assert call("/rename_run", run_id, "another name", key)["name"] == "another name"
    child = call("/control_run", run_id, "continue", key)["run_id"]
    assert child != run_id and finished(call, child)["parent"] == run_id
    changes = {"optim": {"lr": 0.01}, "train": {"max_steps": 5}}
    assert call("/review_run", changes, run_id=run_id, step=20)["possible"]
    misfit = call("/review_run", {"model": {"n_embd": 32}}, run_id=run_id)
    assert not misfit["possible"] and "do not fit" in misfit["problems"][0]["message"] and misfit["cost"]["n_params"]
    fork = call("/fork_run", run_id, changes, 20, "", "")["run_id"]
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
        "/run_status": [], "/metrics": [], "/checkpoints": [], "/download": [], "/probe": ["text", None], "/wait_run": [], "/findings": [],
        "/control_run": ["stop", "k" * 30], "/rename_run": ["n", "k" * 30], "/delete_run": ["k" * 30],
    }.items():  # fmt: skip
        assert refused(name, run_id, *arguments) not in ("", "None")


@pytest.mark.parametrize("text, words", [("", "empty"), ("a\0b", "binary"), ("x" * 200_000, "at most 0.1 MB"), (5, "a text is needed")])
def test_a_text_that_cannot_be_used_is_refused(refused, text, words):
    assert words in refused("/upload_text", text)


@pytest.fixture
def trained(call) -> str:
    """A run that has ended."""
    run_id = call("/start_run", {**TINY, "data": {"tokenizer": "char"}}, "", "default", "")["run_id"]
    finished(call, run_id)
    return run_id


def test_a_sample_is_one_text_or_a_stream_of_growing_ones(served, call, trained):
    asked = {"prompt": "a", "max_new_tokens": 60, "seed": 3}
    text = call("/sample_text", trained, **asked)
    parts = list(served[0].submit(trained, **asked, api_name="/sample"))
    tokens = [token for part in parts for token in part["tokens"]]
    assert len(tokens) == len(text) == 60 and "".join(token["text"] for token in tokens) == text
    assert len(parts[0]["tokens"]) == 1 and len(tokens[0]["runners_up"]) == 5
    told = 0
    for part in parts:
        told += len(part["tokens"])
        assert part["text"] == text[:told]
    assert call("/sample", trained, **asked)["text"] == text
    assert call("/sample_text", trained, **asked) == text and call("/sample_text", trained, **asked | {"seed": 4}) != text


def test_wrong_sampling_values_are_all_named(served, refused, trained):
    from gradio_client.exceptions import AppError

    for name in ("/sample", "/sample_text"):
        said = refused(name, trained, "x", None, 0, -1.0, 0, 2.0, -5)
        assert all(name in said for name in ("max_new_tokens", "temperature", "top_k", "top_p", "seed"))
        assert "does not contain" in refused(name, trained, "日本", None, 5, 1.0, None, None, 1)
        assert "no checkpoint at step 7" in refused(name, trained, "x", 7, 5, 1.0, None, None, 1)
    job = served[0].submit(trained, "x", None, 0, api_name="/sample")
    assert list(job) == []  # which gradio_client does whatever the server answers
    with pytest.raises(AppError, match="max_new_tokens"):
        job.result()


def test_a_wait_ends_with_the_run_or_its_time(call, refused, trained):
    began = time.monotonic()
    assert call("/wait_run", trained, 60)["state"] == "finished" and time.monotonic() - began < 30
    started = call("/start_run", TINY | {"train": {"max_steps": 100_000}}, "", "default", "")
    began = time.monotonic()
    status = call("/wait_run", started["run_id"], 1)
    assert status["state"] in ("queued", "starting", "running") and time.monotonic() - began >= 1
    call("/control_run", started["run_id"], "stop", started["owner_key"])
    assert finished(call, started["run_id"])["state"] == "stopped"
    for seconds in (61, -1, "a", None, 10**20):
        assert "from 0 to 60" in refused("/wait_run", trained, seconds, code="invalid")


def test_a_private_run_is_nobody_elses(call, refused):
    started = call("/start_run", TINY, "", "default", "", True)
    run_id, key = started["run_id"], started["owner_key"]
    other = call("/start_run", TINY)["owner_key"]
    began = time.monotonic()
    while call("/wait_run", run_id, 20, key)["state"] != "finished":
        assert still(began)
    for wrong in ("", other):
        for name, arguments in {
            "/run_status": {}, "/wait_run": {}, "/metrics": {}, "/checkpoints": {}, "/findings": {}, "/download": {}, "/sample": {},
            "/sample_text": {}, "/probe": {"text": "a"}, "/ablate": {"off": "layer:1"}, "/patch": {"position": 1, "token": "a"},
            "/review_run": {}, "/fork_run": {},
        }.items():  # fmt: skip
            assert "there is no run" in refused(name, run_id=run_id, owner_key=wrong, **arguments, code="no_such_run"), name
        assert run_id not in {each["id"] for each in call("/list_runs", wrong)}
    assert call("/sample_text", run_id, max_new_tokens=3, owner_key=key) and run_id in {each["id"] for each in call("/list_runs", key)}
