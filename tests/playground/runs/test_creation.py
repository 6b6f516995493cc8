"""A config completed from its data: its vocabulary, its fingerprint, and whether the data are long enough for it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.knobs import ConfigError, parse
from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.data import corpora, dataset
from playground.data.config import DataConfig
from playground.data.corpora import CorpusError, add_text
from playground.data.dataset import about, load
from playground.runs.creation import complete, ready

TEXT = "".join(chr(ord("a") + i) * 20 for i in range(10))


def config_for(source, **model):
    return parse(RunConfig, {"data": {"source": source}, "model": {"block_size": 8, **model}})


def test_the_vocabulary_and_the_fingerprint_are_filled_in_from_the_text(tmp_path):
    source = add_text(tmp_path, TEXT)
    filled = complete(config_for(source), tmp_path)
    assert (filled.model.vocab_size, filled.data.fingerprint) == (10, about(filled.data, tmp_path).fingerprint)
    assert complete(RunConfig(data={"source": source, "tokenizer": "byte"}, model={"block_size": 8}), tmp_path).model.vocab_size == 256


def test_a_filled_in_config_differs_in_nothing_else_and_stays_as_it_is(tmp_path):
    config = config_for(add_text(tmp_path, TEXT))
    filled = complete(config, tmp_path)
    assert {**dict(filled), "model": config.model, "data": config.data} == dict(config)
    assert filled.data.model_copy(update={"fingerprint": None}) == config.data
    assert complete(filled, tmp_path) == filled


@pytest.mark.parametrize("source", ["tiny-tales", "task:copy"])
def test_data_that_are_not_those_of_the_configuration_are_refused(tmp_path, source):
    config = complete(parse(RunConfig, {"data": {"source": source}}), tmp_path)
    other = config.model_copy(update={"data": config.data.model_copy(update={"seed": 1})})
    with pytest.raises(CorpusError, match=rf"not {config.data.fingerprint}: another Python version") as caught:
        complete(other, tmp_path)
    assert caught.value.problems[0].path == "data.source"
    forgotten = config.model_copy(update={"data": config.data.model_copy(update={"seed": 1, "fingerprint": None})})
    assert complete(forgotten, tmp_path).data.fingerprint != config.data.fingerprint


@settings(max_examples=40, deadline=None)
@given(length=st.integers(1, 400), block_size=st.integers(1, 60))
def test_a_text_too_short_for_one_window_is_refused_with_a_remedy_that_works(tmp_path_factory, length, block_size):
    root = tmp_path_factory.mktemp("root")
    source = add_text(root, ("abcdefg" * 60)[:length])
    held_out = len(load(DataConfig(source=source), root).held_out)
    if held_out >= block_size + 1 and length - held_out >= block_size + 1:
        assert complete(config_for(source, block_size=block_size), root).model.vocab_size
        return
    with pytest.raises(CorpusError) as caught:
        complete(config_for(source, block_size=block_size), root)
    message = str(caught.value)
    assert f"{length} tokens, so " in message and f"fewer than one window of {block_size + 1}" in message
    if "at most" in message:
        remedy = int(message.split("at most ")[1].split(",")[0])
        assert complete(config_for(source, block_size=remedy), root).model.block_size == remedy
    else:
        assert held_out < 2 and "longer text" in message


def test_a_training_part_that_was_merged_into_too_few_tokens_is_refused_with_a_remedy_that_works(tmp_path):
    """Byte pairs make one token of a long repetition; the held-out part has none of it."""
    text = "\n".join(["abcdefgh" * 100] * 9) + "\n" + "".join(chr(33 + i * 7 % 90) for i in range(801))
    source = add_text(tmp_path, text)
    tree = {"data": {"source": source, "tokenizer": "bpe", "bpe_vocab": 400}, "model": {"block_size": 256}}
    known = about(parse(RunConfig, tree).data, tmp_path)
    assert known.n_train < 257 <= known.n_held_out
    with pytest.raises(CorpusError, match=f"{known.n_train} are trained on, fewer than one window of 257") as caught:
        complete(parse(RunConfig, tree), tmp_path)
    remedy = int(str(caught.value).split("at most ")[1].split(",")[0])
    config = complete(parse(RunConfig, tree | {"model": {"block_size": remedy}}), tmp_path)
    inputs, _ = load(config.data, tmp_path).batches(2, remedy, 0, torch.device("cpu")).next()
    assert inputs.shape == (2, remedy)


def test_a_task_needs_no_window(tmp_path):
    config = parse(RunConfig, {"data": {"source": "task:modular-addition", "modulus": 18}, "model": {"block_size": 500}})
    assert complete(config, tmp_path).model.vocab_size == about(config.data, tmp_path).vocab_size


def test_what_is_over_a_limit_is_refused_before_its_data_are_fetched_or_prepared(tmp_path, monkeypatch):
    """Byte pairs of a long text take minutes, in which the processor is not the others'."""

    def never(*_):
        raise AssertionError("nothing is prepared for a run that is refused")

    config = config_for(add_text(tmp_path, TEXT * 50), n_layer=64, n_embd=1024, n_head=8)
    slow = config.model_copy(update={"data": config.data.model_copy(update={"tokenizer": "bpe"})})
    from_hub = config.model_copy(update={"data": config.data.model_copy(update={"source": "tiny-stories"})})
    monkeypatch.setattr(dataset, "_make", never)
    monkeypatch.setattr(corpora, "fetch", never)
    for refused in (slow, from_hub):
        with pytest.raises(ConfigError, match="parameters are more than the 50,000,000 of this playground's limit"):
            ready(refused, Settings(tmp_path))
