"""The command line, as a script sees it: arguments in, streams and an exit status out.

Most commands are given to `main` in this process, which saves a second or more each; what is about processes (signals, pipes,
the store between them) has processes, and one test holds that the two say the same.
"""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from models.knobs import flat
from playground.config.presets import PRESETS
from playground.config.run import RunConfig
from playground.data.config import TEXTS
from playground.data.tasks import TASKS
from playground.runs import store
from playground.runs.folder import RunFolder
from playground.runs.store import Store
from playground.system.files import REPOSITORY
from tests.command import Done, run_here
from tests.patience import LONGEST_S, still

SHAPE = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16}
STEPS = {"batch_size": 4, "max_steps": 40, "checkpoint_interval": 20, "eval_interval": 20}
BARE = [f"--model.{name}={value}" for name, value in SHAPE.items()] + [f"--train.{name}={value}" for name, value in STEPS.items()]
BARE += ["--probe.sample_tokens", "4"]
# A text that takes no time to prepare, as a built-in one or a task does in every new root.
TEXT = ["--data.source", str(REPOSITORY / "tests/data/bottles.txt")]
TINY = [*BARE, *TEXT]
ENDLESS = (*TINY, "--train.max_steps", "1000000", "--train.log_interval", "100", "--train.checkpoint_interval", "1000")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def begin(run_python, root):
    """Start a command in a process of its own; it ends with the test."""
    started = []

    def start(*words, root=root):
        process = run_python("-m", "playground", *map(str, words), "--root", str(root))
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture
def command(root):
    """Run a command to its end in this process, with `env` added to its environment."""
    return lambda *words, root=root, env=None: run_here(*words, root=root, env=env)


@pytest.fixture
def copied(trained, root):
    """(root, run id) of a finished run that may be changed."""
    shutil.copytree(trained[0], root)
    return root, trained[1]


def test_train_answers_in_json(begin, root):
    done = Done.of(begin("train", *TINY, "--json", "--name", "from a script"))
    assert (done.status, done.err) == (0, "")
    result = done.json
    assert (result["state"], result["steps"], result["name"]) == ("finished", 40, "from a script")
    for number in ("train_loss", "val_loss", "tokens_per_s", "elapsed_s"):
        assert result[number] > 0, number
    run = Store(root).run(result["run_id"])
    assert run.config.model.n_embd == 16
    assert (run.owner, run.n_params, run.val_loss) == ("host", result["n_params"], result["val_loss"])
    assert RunFolder(root, run.id).read_config().model.n_layer == 1


def test_one_command_trains_several_runs_that_differ_in_a_setting_and_a_seed(command, root):
    done = command("train", *TINY, "--train.max_steps=6", "--train.seed=5", "--repeat", "2", "--vary", "optim.lr=0.001, 3e-4", "--json")
    assert done.status == 0, done.err
    told = [json.loads(line) for line in done.out.splitlines()]
    assert [(each["state"], each["steps"]) for each in told] == [("finished", 6)] * 4
    runs = {run.id: run for run in Store(root).runs()}
    assert set(runs) == {each["run_id"] for each in told}
    made = [(runs[each["run_id"]].config.optim.lr, runs[each["run_id"]].config.train.seed) for each in told]
    assert made == [(1e-3, 5), (1e-3, 6), (3e-4, 5), (3e-4, 6)]
    assert told[3]["name"].endswith(", lr 3e-4, seed 6") and len({each["val_loss"] for each in told}) == 4


def test_seeds_alone_may_vary(command, root):
    done = command("train", *TINY, "--train.max_steps", "3", "--vary", "seed=7,9", "--name", "two", "--json")
    assert done.status == 0, done.err
    assert {(run.name, run.config.train.seed) for run in Store(root).runs()} == {("two, seed 7", 7), ("two, seed 9", 9)}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--vary", "model.n_layer=2,3"], "--vary: 'model.n_layer' cannot vary between runs of one shape"),
        (["--vary", "optim.lr"], "--vary: needs values: --vary optim.lr=A,B"),
        (["--vary", "optim.lr=1e-3,1e-3"], "--vary: '1e-3' is there twice"),
        (["--vary", "optim.lr=1e-3,-1"], "optim.lr: '-1' is not possible here"),
        (["--repeat", "0"], "--repeat: '0' is not possible"),
        (["--repeat", "40", "--vary", "seed=1,2"], "--repeat: 2 values 40 times are 80 runs"),
    ],
)
def test_variants_that_cannot_be_start_nothing(command, root, words, said):
    done = command("train", *TINY, *words)
    assert (done.status, done.out) == (2, "") and said in done.err
    assert not root.exists() or not Store(root).path.exists() or not Store(root).runs()


def test_stopping_one_of_several_begins_no_other(begin, root, until):
    process = begin("train", *ENDLESS, "--repeat", "3", "--json")
    until(lambda: root.exists() and Store(root).path.exists() and any(run.step > 0 for run in Store(root).runs()))
    process.send_signal(signal.SIGINT)
    done = Done.of(process)
    assert done.status == 0 and done.json["state"] == store.STOPPED
    assert len(Store(root).runs()) == 1


def test_flags_beat_the_file_which_beats_the_preset(command, root, tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model": {"n_embd": 32, "n_head": 4, "n_layer": 3, "block_size": 16}, "train": {"max_steps": 3}}))
    done = command("train", "--preset", "teaching", "--config", file, "--model.n_layer=1", "--model.head_bias", "false", "--json")
    assert done.status == 0, done.err
    model = Store(root).run(done.json["run_id"]).config.model
    assert (model.n_layer, model.n_embd, model.activation, model.head_bias) == (1, 32, "relu", False)
    assert done.json["steps"] == 3


def test_the_config_of_a_run_is_a_config_file(command, copied):
    root, run_id = copied
    done = command("train", "--config", RunFolder(root, run_id).config, "--train.max_steps", "2", "--json")
    assert done.status == 0, done.err
    configs = [RunFolder(root, id).read_config() for id in (run_id, done.json["run_id"])]
    assert configs[0].model == configs[1].model
    assert configs[1].train.max_steps == 2


def test_everything_that_is_wrong_is_said_at_once(command, root, tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{"model": {"n_heads": 4}, "optim": 3, "nonsense": {}}')
    words = ["--preset", "gigantic", "--config", file, "--model.n_layer", "0", "--model.n_embd", "100", "--model.n_head", "3"]
    words += ["--optim.lr", "nan", "--train.batch_size=-1", "--model.vocab_size", "7", "--n_layer", "3", "--data.source", "/no/such.txt"]
    done = command("train", *words, "stray", "--name", env={"PLAYGROUND_MAX_STEPS": "few"})
    assert (done.status, done.out) == (2, "")
    found = dict(line.split(": ", 1) for line in done.err.splitlines())
    assert len(found) == len(done.err.splitlines())
    expected = {
        "--preset": "use one of default, teaching",
        "model.n_heads": "did you mean model.n_head",
        "optim": "an object",
        "nonsense": "there is no such setting",
        "model.n_layer": "use a whole number from 1 up to 64",
        "model.n_head": "try 2 heads, a width of 99 or 102, or set a head size",
        "optim.lr": "use a number above 0",
        "train.batch_size": "'-1' is not possible here",
        "--model.vocab_size": "there is no such flag",
        "--n_layer": "did you mean --model.n_layer?",
        "data.source": "No such file",
        "'stray'": "flags begin with --",
        "--name": "needs a value",
        "PLAYGROUND_MAX_STEPS": "use a whole number",
    }
    missing = {path: found.get(path) for path, remedy in expected.items() if remedy not in found.get(path, "")}
    assert not missing
    assert found.keys() == expected.keys()
    assert not root.exists()


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", '{"model": NaN}', "[" * 100_000, b"\xff\xfe"])
def test_a_config_file_that_is_none(command, root, tmp_path, content):
    file = tmp_path / "config.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = command("train", "--config", file, *TEXT)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(("--config: ", "model: "))
    assert len(done.err.splitlines()) == 1
    assert not root.exists()


def test_a_path_is_a_source_on_the_command_line_only(command, root, tmp_path):
    text, file = tmp_path / "own.txt", tmp_path / "config.json"
    text.write_text("to be or not to be, that is the question\n" * 30)
    file.write_text(json.dumps({"data": {"source": str(text)}}))
    refused = command("train", *BARE, "--config", file)
    assert refused.status == 2
    assert refused.err.startswith("data.source: ")
    assert not root.exists()
    done = command("train", *TINY, "--data.source", text, "--json")
    assert done.status == 0, done.err
    source = Store(root).run(done.json["run_id"]).config.data.source
    assert (root / "corpora" / f"{source.removeprefix('upload:')}.txt").read_text() == text.read_text()


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "empty"), (b"a\0b" * 500, "binary"), (b"\xff" * 500, "not UTF-8"), (b"short", "fewer than one window")]
)
def test_a_text_that_cannot_be_used(command, root, tmp_path, content, said):
    text = tmp_path / "own.txt"
    text.write_bytes(content)
    done = command("train", *TINY, "--data.source", text, "--model.n_layre", "1")
    assert done.status == 2
    assert "--model.n_layre: " in done.err
    assert ("--encoding: " if said == "not UTF-8" else "data.source: ") in done.err
    assert said in done.err
    assert not root.exists()


@pytest.mark.parametrize("source", [TEXT, []], ids=["a text that is copied there", "a built-in one"])
def test_a_root_that_cannot_be(command, tmp_path, source):
    (tmp_path / "file").write_text("x")
    done = command("train", *BARE, *source, root=tmp_path / "file" / "below")
    assert done.status == 2
    assert done.err.startswith("--root: ")


def test_ctrl_c_stops_and_keeps_a_checkpoint(begin, root, until):
    process = begin("train", *ENDLESS, "--json")
    until(lambda: trains(root), "a step")
    process.send_signal(signal.SIGINT)
    done = Done.of(process)
    result = done.json
    assert (done.status, result["state"]) == (0, "stopped")
    assert result["val_loss"] > 0
    assert (RunFolder(root, result["run_id"]).checkpoints / f"{result['steps']:06d}.json").exists()
    assert done.err == ""


def trains(root):
    path = Store(root).path
    return path.exists() and any(run.step > 0 for run in Store(root).runs())


def test_a_run_that_this_version_cannot_read_is_not_begun_again(root, command):
    db = Store(root)
    db.create()
    db.add_run("aaaaaaaaaa", name="of tomorrow", owner="host", config='{"model": {"n_story": 3}}', n_params=7, state=store.PAUSED)
    done = command("resume", "aaaaaaaaaa")
    assert done.status == 2 and "another version" in done.err
    assert db.run("aaaaaaaaaa").state == store.PAUSED


def test_sigterm_interrupts_and_resume_goes_on(begin, command, root, until):
    process = begin("train", *TINY, "--train.max_steps", "100000", "--train.checkpoint_interval", "5000", "--json")
    until(lambda: trains(root), "a step")
    process.send_signal(signal.SIGTERM)
    done = Done.of(process)
    assert (done.status, done.json["state"], done.json["val_loss"]) == (1, "interrupted", None)
    run_id = done.json["run_id"]
    resumed = begin("resume", run_id, "--json")
    until(lambda: Store(root).run(run_id).generation == 2, "its second life")
    assert Store(root).run(run_id).step >= done.json["steps"]
    refused = command("resume", run_id)
    assert refused.status == 2
    assert "is running" in refused.err
    paused = command("pause", run_id)
    assert paused.status == 0
    assert "is paused" in paused.out
    done = Done.of(resumed)
    assert (done.status, done.json["state"]) == (0, "paused")


def test_a_run_that_diverges_is_no_success(command):
    done = command("train", *TINY, "--optim.name", "sgd", "--optim.lr", "100", "--optim.warmup_steps", "0", "--optim.grad_clip", "none",
                   "--train.max_steps", "3000", "--json")  # fmt: skip
    assert (done.status, done.json["state"], done.json["train_loss"]) == (1, "diverged", None)


def test_a_person_is_told_what_to_do_next(command, root):
    done = command("train", *TINY)
    assert done.status == 0
    run_id = Store(root).runs()[0].id
    for words in (f"run {run_id}", "is finished", "nats per token", str(root / "runs" / run_id), f"playground sample {run_id}"):
        assert words in done.out
    assert "%" not in done.err  # no bar where nobody looks


def test_stop_all(begin, command, root, until):
    process = begin("train", *ENDLESS, "--json")
    until(lambda: trains(root), "a step")
    refused = command("stop", "--all", "aaaaaaaaaa")
    assert refused.status == 2
    stopped = command("stop", "--all")
    assert (stopped.status, stopped.err) == (0, "")
    done = Done.of(process)
    assert (done.status, done.json["state"]) == (0, "stopped")
    again = command("stop", "--all")
    assert (again.status, again.out) == (0, "no run is training or waiting\n")


def test_a_killed_run_is_listed_as_interrupted(begin, command, root, until):
    process = begin("train", *ENDLESS)
    until(lambda: trains(root), "a step")
    process.kill()
    process.wait(LONGEST_S)
    (row,) = command("runs", "--json").json
    assert row["state"] == "interrupted"
    stopped = command("stop", row["run_id"])
    assert stopped.status == 2
    assert "is interrupted; there is nothing to stop" in stopped.err


def test_runs_are_listed(command, copied):
    root, run_id = copied
    rows = command("runs", "--json").json
    assert [(row["run_id"], row["name"], row["state"], row["step"], row["max_steps"]) for row in rows] == [
        (run_id, "tiny", "finished", 60, 60)
    ]
    wanted = {"train_loss", "val_loss", "best_eval_loss", "tokens_per_s", "seconds", "n_params", "created_at"}
    assert all(rows[0][name] > 0 for name in wanted)
    assert "owner" not in rows[0]
    assert run_id in command("runs").out
    Store(root).append(run_id, [], {"train_loss": float("nan")})
    assert command("runs", "--json").json[0]["train_loss"] is None


def test_a_run_is_printed_as_a_script_that_trains_it(command, root, tmp_path):
    trained = command("train", *TINY, "--train.dtype", "float32", "--train.device", "cpu", "--train.log_interval", 1, "--json")
    run_id = json.loads(trained.out.splitlines()[-1])["run_id"]
    path = tmp_path / "train.py"
    path.write_text(command("code", run_id).out)
    done = subprocess.run([sys.executable, path, root], capture_output=True, text=True)
    printed = [float(line.split()[-1]) for line in done.stdout.splitlines()]
    recorded = [row.body["loss"] for row in Store(root).events(run_id, kinds=["progress"])]
    assert len(printed) == 40 and printed == pytest.approx(recorded, abs=1e-5, rel=0), done.stderr
    further = command("continue", run_id, "--steps", 1, "--json")
    refused = command("code", json.loads(further.out.splitlines()[-1])["run_id"])
    assert refused.status == 2 and "this run began with the weights of another one" in refused.err
    assert "leave out" in command("code", run_id, "--model.n_layer", 2).err


def test_the_code_of_a_design_is_printed(command, root):
    words = ("--preset", "nanogpt-cpu", *TEXT, "--model.block_size", 16, "--model.norm_type", "rmsnorm")
    printed = command("code", *words)
    assert printed.status == 0 and "nn.RMSNorm(n_embd" in printed.out and "optimizer" not in printed.out
    assert json.loads(command("code", *words, "--json").out) == {"code": printed.out}
    assert "optimizer.step()" in command("code", *words, "--loop").out
    assert "model.n_layer" in command("code", "--model.n_layer", 0).err


def test_looking_creates_nothing(command, root):
    assert command("runs", "--json").json == []
    assert "no runs" in command("runs").out
    assert command("stop", "--all").status == 0
    assert not root.exists()


def test_data_are_listed(command, root):
    sources = {source["source"]: source for source in command("data", "--json").json}
    assert list(sources) == [*TEXTS, *TASKS]
    for name in ("tiny-shakespeare", "tiny-stories"):
        assert sources[name]["needs_network"] is True
        assert sources[name]["tokenizers"] == {}  # nobody has fetched it
    for name in ("tiny-tales", "python-docs", "python-stdlib"):
        assert sources[name]["needs_network"] is False
        assert set(sources[name]["tokenizers"]) == {"char", "byte"}
    char, byte = (sources["tiny-tales"]["tokenizers"][kind] for kind in ("char", "byte"))
    assert char["floor"] == pytest.approx(byte["floor"]) and char["fingerprint"] == byte["fingerprint"]
    assert char["n_chars"] >= 1_200_000 and byte["vocab_size"] == 256
    for name, task in TASKS.items():
        assert set(sources[name]["settings"]) == set(task.knobs) and task.rule in sources[name]["about"]
    assert sources["task:addition"]["settings"] == {"digits": 3, "reverse_sum": True}
    said = command("data").out
    for words in (*sources, "--data.digits 3", "hub:OWNER/NAME:PATH", "--data.tokenizer char: 1,2"):
        assert words in said
    assert not root.exists()


COPY = ["--data.source", "task:copy", "--data.length", "4", "--data.alphabet", "6", "--train.eval_interval", "10"]


def test_a_task_is_trained_from_the_command_line(command, root):
    done = command("train", *TINY, *COPY, "--json")
    assert (done.status, done.err) == (0, "")
    result = done.json
    assert (result["state"], result["steps"]) == ("finished", 40) and 0 < result["val_loss"] < 3
    run = Store(root).run(result["run_id"])
    assert run.val_loss == result["val_loss"] and run.config.data.source == "task:copy"
    kinds = [event.kind for event in Store(root).events(run.id)]
    assert kinds[0] == "facts" and {"validation", "accuracy", "answers"} <= set(kinds)
    assert json.loads(RunFolder(root, run.id).tokenizer.read_text())["model"]["vocab"].keys() == {*"abcdef", ">", "."}
    sampled = command("sample", run.id, "--prompt", "abc>", "--max-new-tokens", "3", "--json").json
    assert len(sampled["text"]) == 3 and set(sampled["text"]) <= {*"abcdef>."}
    refused = command("sample", run.id, "--prompt", "xyz>")
    assert refused.status == 2 and "'x' 'y' 'z'" in refused.err


def test_a_run_whose_tokens_are_words_writes_also_after_nothing(command, root):
    """It has no line break to begin with."""
    done = command("train", *TINY, "--data.source", "task:modular-addition", "--json")
    assert done.status == 0, done.err
    written = command("sample", done.json["run_id"], "--max-new-tokens", "5", "--json").json
    assert len(written["tokens"]) == 5 and len(written["text"].split()) == 5


@pytest.mark.parametrize("vocab", ["300", "1000"])
def test_byte_pairs_are_trained_from_the_command_line(command, root, vocab):
    done = command("train", *BARE, "--data.tokenizer", "bpe", "--data.bpe_vocab", vocab, "--json")
    assert done.status == 0, done.err
    assert Store(root).run(done.json["run_id"]).config.model.vocab_size == int(vocab)
    assert 0 < done.json["val_loss"] < 8


def test_a_task_with_too_few_examples_says_how_many_there_are(command, root):
    done = command("train", *TINY, "--data.source", "task:parity", "--data.length", "4")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("data.source: ") and len(done.err.splitlines()) == 1
    assert "only 30 different examples" in done.err and "raise length" in done.err
    assert not root.exists()


HUB = ["tiny-shakespeare", "tiny-stories", "hub:some-body/poems:all.txt", "hub:some-body/tables:all.parquet:text"]
NOBODY_LISTENS = {"HF_ENDPOINT": "http://127.0.0.1:9"}


@pytest.mark.parametrize("source", HUB)
def test_without_network_a_text_of_the_hub_is_refused_and_nothing_starts(command, root, source):
    began = time.monotonic()
    done = command("train", *TINY, "--data.source", source, env=NOBODY_LISTENS)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("data.source: ") and len(done.err.splitlines()) == 1
    assert "could not be reached" in done.err and "Tiny Tales, the Python texts and every task need no network" in done.err
    assert not root.exists()
    assert still(began)


@pytest.mark.parametrize("source", HUB)
def test_a_host_can_switch_the_hub_off(command, root, source):
    done = command("train", *TINY, "--data.source", source, env=NOBODY_LISTENS | {"PLAYGROUND_HUB": "0"})
    assert (done.status, done.out) == (2, "")
    assert "the host has switched off texts from the Hub; use tiny-tales or python-docs or python-stdlib" in done.err
    assert "could not be reached" not in done.err and not root.exists()


def test_a_command_that_is_refused_anyway_fetches_nothing(command, root, little_hub):
    little_hub.files["some-body/poems", "all.txt"] = b"a line of a poem\n" * 100
    done = command("train", *TINY, "--data.source", "hub:some-body/poems:all.txt", "--model.n_layre", "1")
    assert done.status == 2 and done.err.startswith("--model.n_layre: ") and len(done.err.splitlines()) == 1
    assert little_hub.asked == [] and not root.exists()


def test_a_text_of_the_hub_is_fetched_once(command, root, little_hub):
    little_hub.files["some-body/poems", "all.txt"] = b"a line of a poem\n" * 100
    words = ["train", *TINY, "--data.source", "hub:some-body/poems:all.txt", "--json"]
    first = command(*words)
    assert (first.status, first.err) == (0, "")
    n_asked = len(little_hub.asked)
    again = command(*words, env=NOBODY_LISTENS)
    assert again.status == 0, again.err
    assert (len(little_hub.asked), again.json["train_loss"]) == (n_asked, first.json["train_loss"])


def test_the_data_of_a_config_file_are_checked_until_flags_change_them(command, copied, tmp_path):
    """A run's own file carries the fingerprint of its text."""
    root, run_id = copied
    config, steps = RunFolder(root, run_id).config, ["--train.max_steps", "2", "--json"]
    assert len(json.loads(config.read_text())["data"]["fingerprint"]) == 16
    done = command("train", "--config", config, "--data.source", "task:copy", "--model.block_size", "24", *steps)
    assert done.status == 0, done.err
    assert command("train", "--config", config, "--data.seed", "4", *steps).status == 0
    other = tmp_path / "other.json"
    other.write_text(config.read_text().replace('"fingerprint": "', '"fingerprint": "00'))
    refused = command("train", "--config", other, *steps)
    assert refused.status == 2 and "not those this configuration was made with" in refused.err


def test_sample_streams_what_json_says(command, copied):
    _, run_id = copied
    words = ("sample", run_id, "--prompt", "the ", "--max-new-tokens", "20", "--seed", "3", "--top-k=5")
    result = command(*words, "--json").json
    assert (result["run_id"], result["step"], result["prompt"], len(result["tokens"])) == (run_id, 60, "the ", 20)
    assert result["text"] == "".join(token["text"] for token in result["tokens"])
    assert set(result["tokens"][0]) == {"text", "token", "probability", "runners_up"}
    again = command(*words)
    assert (again.status, again.out) == (0, f"the {result['text']}\n")
    assert command(*words, "--step", "0", "--json").json["text"] != result["text"]
    assert command(*words, "--seed", "4", "--json").json["text"] != result["text"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--temperature=-1", "--top-p=2", "--step", "two", "--topk", "1"], ["--temperature: ", "--top-p: ", "--step: ", "mean --top-k"]),
        (["--step", "33"], ["0, 20, 40, 60"]),
        (["--prompt", "愛"], ["prompt: '愛'"]),
    ],
)  # fmt: skip
def test_a_sample_that_cannot_be(command, copied, words, said):
    done = command("sample", copied[1], *words)
    assert (done.status, done.out) == (2, "")
    assert all(part in done.err for part in said), done.err


@pytest.mark.parametrize("name", ["sample", "resume", "pause", "stop"])
@pytest.mark.parametrize("run_id", ["../../etc/x", "aaaaaaaaaa"])
def test_a_run_that_is_not_there(command, root, name, run_id):
    done = command(name, run_id)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("there is no run ")
    assert not root.exists()


@pytest.mark.parametrize("words", [[], ["trian"], ["sample"], ["train", "--no-such-flag"], ["runs", "--json=yes"]])
def test_commands_that_make_no_sense(command, tmp_path, words):
    done = command(*words, root=None, env={"PLAYGROUND_ROOT": str(tmp_path / "x")})
    assert done.status == 2
    assert done.err or "usage" in done.out
    assert not (tmp_path / "x").exists()


def test_help_shows_every_knob_with_its_bounds(command):
    done = command("train", "--help")
    assert done.status == 0
    for spec in RunConfig.specs():
        assert f"\n  --{spec.path} " in done.out
    for words in ("default 4, from 1, up to 64", "Attention:", "Optimizer:", *PRESETS):
        assert words in done.out
    assert "vocab_size" not in done.out
    assert command("sample", "--help").out.count("--max-new-tokens") == 2


def test_what_needs_no_torch_is_quick(run_python, tmp_path):
    script = "import sys; from playground.cli.commands import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    for words in (["runs"], ["data"], ["train", "--help"], ["train", "--model.n_layer", "0"], ["sample", "aaaaaaaaaa"]):
        began_s = cpu_of_children_s()
        done = Done.of(run_python("-c", script, *words, "--root", str(tmp_path / "x")))
        assert done.status == 0, done.err
        assert cpu_of_children_s() - began_s < 10  # most of it for making the texts that `data` lists; 3.6 s on a slow machine that is idle


def cpu_of_children_s() -> float:
    """Of those that have ended; unlike the time on the clock it is the same on a busy machine."""
    times = os.times()
    return times.children_user + times.children_system


@pytest.mark.parametrize("words", [("runs", "--json"), ("trian",), ("train", *TEXT, "--model.n_layer", "0")])
def test_a_process_of_its_own_says_what_main_says(begin, command, words):
    here, there = command(*words), Done.of(begin(*words))
    assert (here.status, here.out, here.err) == (there.status, there.out, there.err)


def test_a_reader_that_goes_away(begin, copied):
    process = begin("sample", copied[1], "--max-new-tokens", "2000")
    assert process.stdout.read(1)
    process.stdout.close()
    process.stdin.close()
    assert process.wait(LONGEST_S) == 1
    assert process.stderr.read() == ""
    process.stderr.close()


def test_no_environment_variable_changes_a_config(command, root):
    done = command("train", *TINY, "--json", env={"MODEL_N_LAYER": "3", "PLAYGROUND_MODEL": "3", "TRAIN__MAX_STEPS": "7"})
    run = Store(root).run(done.json["run_id"])
    assert (run.config.model.n_layer, run.step, run.state) == (1, 40, store.FINISHED)


def test_help_shows_the_defaults_that_train_really_uses(command):
    """Those of the preset `default`, which differ from those of the fields."""
    out = command("train", "--help").out
    used = flat(PRESETS["default"].config)
    differ = [spec for spec in RunConfig.specs() if used[spec.path] != spec.default]
    assert differ
    for spec in RunConfig.specs():
        value = used[spec.path]
        said = "default none" if value is None else f"default {str(value).lower() if isinstance(value, bool) else value}"
        help = " ".join(out.split(f"\n  --{spec.path} ")[1].split("\n  --")[0].split())
        assert said in help, (spec.path, help)


def test_a_run_is_found_by_its_name_where_only_one_has_it(command, copied):
    root, run_id = copied
    assert command("sample", "tiny", "--max-new-tokens", "2", "--json").json["run_id"] == run_id
    db = Store(root)
    db.add_run("bbbbbbbbbb", name="tiny", owner="host", config="{}", n_params=1, state="stopped")
    refused = command("resume", "tiny")
    assert refused.status == 2 and "2 runs are called 'tiny'; name one by its id: " in refused.err and run_id in refused.err
    db.add_run("cccccccccc", name=run_id, owner="host", config="{}", n_params=1, state="stopped")
    assert command("sample", run_id, "--max-new-tokens", "2", "--json").json["run_id"] == run_id, "an id before a name"


def test_a_finished_run_is_trained_further(command, copied):
    root, run_id = copied
    result = command("continue", "tiny", "--steps", "20", "--json").json
    run, parent = Store(root).run(result["run_id"]), Store(root).run(run_id)
    assert (run.parent, run.state, run.step, run.name, run.config.optim.warmup_steps) == (run_id, "finished", 20, "tiny (further)", 0)
    first = next(row for row in Store(root).events(run.id, kinds=["validation"]))
    assert first.body["loss"] < 0.5 * (math.log(run.config.model.vocab_size) + parent.eval_loss), "it begins where the other ended"
    Store(root).change_state(run_id, "interrupted", ["finished"])
    refused = command("continue", run_id)
    assert refused.status == 2 and "only a finished or stopped run can be trained further" in refused.err


def test_a_sample_of_what_has_learnt_nothing_says_so(command, copied):
    words = ("sample", copied[1], "--max-new-tokens", "3")
    assert "nothing has been learnt" in command(*words, "--step", "0").err
    assert "nothing has been learnt" in command(*words, "--step", "0", "--json").json["note"]
    trained = command(*words)
    assert trained.err == "" and command(*words, "--json").json["note"] == ""
