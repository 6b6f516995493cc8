"""Text to ids and back, by characters and by bytes."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.knobs import ConfigError
from playground.data.tokenizers import ByteTokenizer, CharTokenizer, StreamDecoder, UnknownCharacters, build, load

TEXTS = st.text(min_size=1)  # any unicode but surrogates


@pytest.mark.parametrize("kind", ["char", "byte"])
@given(text=TEXTS)
def test_every_text_comes_back_from_its_own_tokenizer(kind, text):
    tokenizer = build(kind, text)
    ids = tokenizer.encode(text)
    assert ids.dtype == np.uint32
    assert ids.max() < tokenizer.vocab_size
    assert tokenizer.decode(ids.tolist()) == text
    decoder = StreamDecoder(tokenizer)
    assert "".join(decoder.push(i) for i in ids.tolist()) == text


@pytest.mark.parametrize("kind", ["char", "byte"])
@given(text=TEXTS)
def test_a_saved_tokenizer_is_the_same_one(kind, text):
    tokenizer = build(kind, text)
    saved = tokenizer.to_json()
    again = load(saved)
    assert json.loads(saved)["kind"] == again.kind == kind
    assert again.vocab_size == tokenizer.vocab_size
    assert again.encode(text).tolist() == tokenizer.encode(text).tolist()


@given(st.text(), TEXTS)
def test_character_ids_are_ranks_in_code_point_order(text, corpus):
    tokenizer = CharTokenizer(corpus)
    order = sorted(set(corpus))
    assert tokenizer.vocab_size == len(order)
    if set(text) <= set(corpus):
        assert tokenizer.encode(text).tolist() == [order.index(character) for character in text]
    else:
        with pytest.raises(UnknownCharacters) as caught:
            tokenizer.encode(text)
        assert repr(next(character for character in text if character not in corpus)) in str(caught.value)


def test_unknown_characters_are_named_once_each_with_where_and_a_remedy():
    with pytest.raises(ConfigError) as caught:
        CharTokenizer("abc").encode("xaüx\n", "probe.text")
    (problem,) = caught.value.problems
    assert problem.path == "probe.text"
    assert problem.message == "'x' 'ü' '\\n': characters that the text of this run does not contain; leave them out"


def test_many_unknown_characters_are_cut_short():
    with pytest.raises(UnknownCharacters) as caught:
        CharTokenizer("a").encode("bcdefghijklm")
    assert "'i' …" in str(caught.value) and "'j'" not in str(caught.value)


def test_a_lone_surrogate_is_an_unknown_character_and_no_crash():
    with pytest.raises(UnknownCharacters, match="ud800"):
        CharTokenizer("abc").encode("a\ud800")
    assert ByteTokenizer().encode("a\ud800").tolist() == [97, 63]


def test_byte_ids_are_the_bytes_of_utf8():
    assert ByteTokenizer().encode("é!").tolist() == [0xC3, 0xA9, 0x21]
    assert ByteTokenizer().vocab_size == 256


def test_bytes_come_out_of_a_stream_as_soon_as_the_character_is_whole():
    decoder = StreamDecoder(ByteTokenizer())
    assert [decoder.push(byte) for byte in "a€b".encode()] == ["a", "", "", "€", "b"]


def test_broken_bytes_in_a_stream_become_replacement_characters():
    decoder = StreamDecoder(ByteTokenizer())
    assert "".join(decoder.push(byte) for byte in [0xE2, 0x82, 0x41, 0xFF, 0x42]) == "\ufffdA\ufffdB"
    assert ByteTokenizer().decode([0xE2, 0x82, 0x41, 0xFF, 0x42]) == "\ufffdA\ufffdB"


def test_single_tokens_can_be_shown():
    assert CharTokenizer("ba").token(1) == "b"
    assert [ByteTokenizer().token(i) for i in (65, 10, 0xC3)] == ["A", "\n", "\\xc3"]
