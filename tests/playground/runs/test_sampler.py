"""Any checkpoint as streamed text."""

import shutil
from types import SimpleNamespace

import pytest

from models.knobs import ConfigError
from playground.config.run import RunConfig
from playground.data import dataset
from playground.runs import sampler
from playground.runs.creation import complete
from playground.runs.folder import RunFolder
from playground.runs.sampler import SampleConfig, parse_sampling, parse_step, sample
from playground.runs.store import NoSuchRun
from playground.training.checkpoints import CheckpointError


def text_of(trained, step=None, prompt="The ", **settings):
    return list(sample(*trained, step, prompt, SampleConfig(**{"max_new_tokens": 30} | settings)))


def test_the_same_seed_gives_the_same_text(trained):
    first, again, other = text_of(trained), text_of(trained), text_of(trained, seed=2)
    assert first == again
    assert first != other
    assert len(first) == 30


def test_probabilities_and_runners_up(trained):
    for token in text_of(trained):
        shares = [token.probability, *(p for _, p in token.runners_up)]
        assert len(token.runners_up) == sampler.N_RUNNERS_UP
        assert all(0 < p < 1 for p in shares)
        assert sum(shares) <= 1 + 1e-6
        assert token.token not in [other for other, _ in token.runners_up]
        assert shares[1:] == sorted(shares[1:], reverse=True)


def test_temperature_zero_takes_the_likeliest(trained):
    for token in text_of(trained, temperature=0):
        assert token.probability >= token.runners_up[0][1]
    assert text_of(trained, temperature=0, seed=1) == text_of(trained, temperature=0, seed=9) == text_of(trained, top_k=1)


def test_checkpoints_differ(trained):
    there = sampler.steps(*trained)
    assert there[0] == 0
    assert there[-1] == 60
    assert text_of(trained) == text_of(trained, step=60)
    assert [t.probability for t in text_of(trained, step=0)] != [t.probability for t in text_of(trained)]


def test_an_empty_prompt(trained):
    assert len(text_of(trained, prompt="")) == 30


def test_a_prompt_longer_than_the_context(trained):
    assert len(text_of(trained, prompt="a long story " * 40)) == 30


def test_unknown_characters_are_named(trained):
    with pytest.raises(ConfigError, match="prompt: '愛'"):
        text_of(trained, prompt="I 愛 you")


def test_what_is_not_there(trained):
    root, run_id = trained
    with pytest.raises(CheckpointError, match="no checkpoint at step 33; there are 0, 20, 40, 60"):
        text_of(trained, step=33)
    with pytest.raises(NoSuchRun):
        text_of((root, "../" + run_id[3:]))
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        text_of((root, "aaaaaaaaaa"))


@pytest.mark.parametrize("damage", ["truncated", "foreign", "gone"])
def test_a_damaged_checkpoint_is_named(trained, tmp_path, damage):
    _, run_id = trained
    shutil.copytree(trained[0] / "runs", tmp_path / "runs")
    path = RunFolder(tmp_path, run_id).checkpoints / "000060.safetensors"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:1000] if damage == "truncated" else b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(CheckpointError, match=r"000060\.safetensors"):
        text_of((tmp_path, run_id))
    assert text_of((tmp_path, run_id), step=40)


@pytest.mark.parametrize(("text", "step"), [(None, None), ("", None), ("latest", None), ("0", 0), (" 20 ", 20), (40, 40)])
def test_steps_from_loose_input(text, step):
    assert parse_step(text) == step


@pytest.mark.parametrize("text", ["-1", "1.5", "two", True, "²", "9" * 5000, "nan"])
def test_what_is_no_step(text):
    with pytest.raises(ConfigError, match="is not a step"):
        parse_step(text)


def test_every_bad_setting_at_once():
    with pytest.raises(ConfigError) as caught:
        parse_sampling({"temperature": -1, "top_p": 0, "top_k": 0, "seed": "x", "max_new_tokens": float("nan"), "topk": 3})
    assert sorted(problem.path for problem in caught.value.problems) == ["max_new_tokens", "seed", "temperature", "top_k", "top_p", "topk"]


def test_the_prompt_of_a_task_is_an_example_and_of_a_text_none(tmp_path):
    config = complete(RunConfig.model_validate({"data": {"source": "task:copy", "length": 4, "alphabet": 6}}), tmp_path)
    run = SimpleNamespace(readable_config=config)
    example = sampler.example_prompt(tmp_path, run)
    assert example == dataset.load(config.data, tmp_path).prompts(1)[0][0] and example.endswith(">")
    assert sampler.example_prompt(tmp_path / "elsewhere", run) == "", "its data are no longer there"
    assert sampler.example_prompt(tmp_path, SimpleNamespace(readable_config=RunConfig())) == ""
