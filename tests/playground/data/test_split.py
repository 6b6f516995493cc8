"""What is trained on and what is held out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.knobs import parse
from playground.config import RunConfig
from playground.data.corpora import CorpusError, add_text
from playground.data.split import complete, load_split, n_train, text_info

# Each tenth has characters of its own, so that what is in which part shows in the text.
TEXT = "".join(chr(ord("a") + i) * 20 for i in range(10))


def config_for(source, **model):
    return parse(RunConfig, {"data": {"source": source}, "model": {"block_size": 8, **model}})


def test_the_last_tenth_is_held_out_contiguous_and_nothing_is_in_both(tmp_path):
    split = load_split(add_text(tmp_path, TEXT), "char", tmp_path)
    assert split.tokenizer.decode(split.train.tolist()) == TEXT[:180]
    assert split.tokenizer.decode(split.held_out.tolist()) == TEXT[180:]


def test_the_vocabulary_is_that_of_the_whole_text(tmp_path):
    """The last letter occurs in the held-out part only."""
    split = load_split(add_text(tmp_path, TEXT), "char", tmp_path)
    assert split.tokenizer.vocab_size == 10
    assert 9 in split.held_out and 9 not in split.train


def test_bytes_are_split_by_bytes(tmp_path):
    split = load_split(add_text(tmp_path, "é" * 100), "byte", tmp_path)
    assert (len(split.train), len(split.held_out), split.tokenizer.vocab_size) == (180, 20, 256)


@pytest.mark.parametrize(("n_characters", "dtype"), [(200, np.uint8), (256, np.uint8), (257, np.uint16), (70_000, np.uint32)])
def test_ids_take_as_few_bytes_as_the_vocabulary_allows_and_stay_right(tmp_path, n_characters, dtype):
    text = "".join(chr(i) for i in range(33, n_characters + 33 + 2048) if not 0xD800 <= i < 0xE000)[:n_characters]
    split = load_split(add_text(tmp_path, text), "char", tmp_path)
    assert split.train.dtype == split.held_out.dtype == dtype
    assert np.concatenate([split.train, split.held_out]).tolist() == list(range(n_characters))


@given(st.integers(1, 10**9))
def test_a_tenth_is_a_tenth(n):
    assert 0 <= n - n_train(n) - n / 10 <= 1 + 1e-6


@pytest.mark.parametrize("kind", ["char", "byte"])
def test_sizes_are_known_as_they_are(tmp_path, kind):
    source = add_text(tmp_path, TEXT + "äöü")
    info, split = text_info(source, kind, tmp_path), load_split(source, kind, tmp_path)
    assert info.n_chars == 203
    assert info.n_tokens == len(split.train) + len(split.held_out)
    assert info.n_held_out == len(split.held_out)
    assert info.vocab_size == split.tokenizer.vocab_size


def test_sizes_of_tiny_shakespeare_are_known_without_fetching_it(tmp_path):
    info = text_info("tiny-shakespeare", "char", tmp_path)
    assert (info.n_chars, info.vocab_size, info.n_held_out) == (1_115_394, 65, 111_540)
    assert not (tmp_path / "corpora").exists()


def test_the_vocabulary_is_filled_in_from_the_text(tmp_path):
    source = add_text(tmp_path, TEXT)
    assert complete(config_for(source), tmp_path).model.vocab_size == 10
    assert complete(RunConfig(data={"source": source, "tokenizer": "byte"}, model={"block_size": 8}), tmp_path).model.vocab_size == 256


def test_a_filled_in_config_differs_in_nothing_else(tmp_path):
    config = config_for(add_text(tmp_path, TEXT))
    filled = complete(config, tmp_path)
    assert filled.model_copy(update={"model": config.model}) == config


@settings(max_examples=60, deadline=None)
@given(length=st.integers(1, 400), block_size=st.integers(1, 60))
def test_a_text_too_short_for_one_window_is_refused_with_a_remedy_that_works(tmp_path_factory, length, block_size):
    root = tmp_path_factory.mktemp("root")
    source = add_text(root, ("abcdefg" * 60)[:length])
    held_out = len(load_split(source, "char", root).held_out)
    if held_out >= block_size + 1:
        assert complete(config_for(source, block_size=block_size), root).model.vocab_size
        return
    with pytest.raises(CorpusError) as caught:
        complete(config_for(source, block_size=block_size), root)
    message = str(caught.value)
    assert f"{length} tokens, so {held_out} are held out, fewer than one window of {block_size + 1}" in message
    if "at most" in message:
        remedy = int(message.split("at most ")[1].split(",")[0])
        assert complete(config_for(source, block_size=remedy), root).model.block_size == remedy
    else:
        assert held_out < 2 and "longer text" in message
