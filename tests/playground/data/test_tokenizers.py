"""Text to ids and back: by characters, bytes, pairs of bytes and words."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tokenizers as library
from hypothesis import given, settings
from hypothesis import strategies as st

from models.knobs import ConfigError
from playground.data.tokenizers import (
    BpeTokenizer,
    ByteTokenizer,
    CharTokenizer,
    StreamDecoder,
    UnknownCharacters,
    WordTokenizer,
    build,
    learn_bpe,
    load,
)

ROOT = Path(__file__).parents[3]
TEXTS = st.text(min_size=1)  # any unicode but surrogates
SPACED = st.text(alphabet="ab'stlé12,.\u3000\u2028\x1c\x85\t\r \n", max_size=60)
WORDS = st.lists(st.text(min_size=1).filter(lambda word: word.split() == [word]), min_size=1, unique=True)
KINDS = ["char", "byte", "bpe"]

STORY = "".join(
    f"Once upon a time there lived {who} who didn't like {what}.\n  {who.title()}'s house had {n} rooms —  naïve, isn't it?\n\n"
    for n, (who, what) in enumerate((who, what) for who in ("a king", "the fox", "日本の猫") for what in ("rain", "bread", "🙂 faces"))
)
PAIRS = learn_bpe(STORY, 330)


def of(kind, text):
    """A tokenizer of each kind that knows this text; the pairs are those of another text."""
    return PAIRS if kind == "bpe" else build(kind, text)


def streamed(tokenizer, ids):
    decoder = StreamDecoder(tokenizer)
    return "".join(decoder.push(i) for i in ids)


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS | SPACED.filter(bool))
def test_every_text_comes_back_from_its_own_tokenizer(kind, text):
    tokenizer = of(kind, text)
    ids = tokenizer.encode(text)
    assert ids.dtype == np.uint32
    assert ids.max() < tokenizer.vocab_size
    assert tokenizer.decode(ids.tolist()) == tokenizer.decode(ids) == text
    assert streamed(tokenizer, ids.tolist()) == text


@given(st.data(), WORDS)
def test_every_list_of_words_comes_back(data, words):
    tokenizer = WordTokenizer(words)
    chosen = data.draw(st.lists(st.sampled_from(words)))
    ids = tokenizer.encode(" ".join(chosen))
    assert ids.dtype == np.uint32
    assert [words[i] for i in ids] == chosen
    assert tokenizer.decode(ids.tolist()) == " ".join(chosen)
    assert tokenizer.encode("\n " + "\t ".join(chosen) + "\n").tolist() == ids.tolist()
    assert streamed(tokenizer, ids.tolist()) == "".join(f" {word}" for word in chosen)


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS)
def test_the_bytes_of_the_tokens_are_the_bytes_of_the_text(kind, text):
    tokenizer = of(kind, text)
    ids = tokenizer.encode(text)
    assert b"".join(tokenizer.piece(i) for i in ids.tolist()) == text.encode()
    assert tokenizer.n_bytes[ids].sum() == len(text.encode())
    assert tokenizer.n_bytes.shape == (tokenizer.vocab_size,)
    assert tokenizer.n_bytes.dtype == np.int64


@given(WORDS)
def test_a_word_counts_with_its_space(words):
    tokenizer = WordTokenizer(words)
    ids = tokenizer.encode(" ".join(words))
    assert tokenizer.n_bytes[ids].sum() == len(" ".join(words).encode()) + 1 == len(b"".join(map(tokenizer.piece, ids.tolist())))
    assert tokenizer.n_bytes.dtype == np.int64


def same(one, other):
    assert other.kind == one.kind
    assert other.vocab_size == one.vocab_size
    assert [other.piece(i) for i in range(other.vocab_size)] == [one.piece(i) for i in range(one.vocab_size)]
    assert other.n_bytes.tolist() == one.n_bytes.tolist()
    assert other.to_json() == one.to_json()


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(text=TEXTS)
def test_a_saved_tokenizer_is_the_same_one(kind, text):
    tokenizer = of(kind, text)
    again = load(tokenizer.to_json())
    same(tokenizer, again)
    assert again.encode(text).tolist() == tokenizer.encode(text).tolist()


@given(WORDS)
def test_saved_words_are_the_same_ones(words):
    tokenizer = WordTokenizer(words)
    again = load(tokenizer.to_json())
    same(tokenizer, again)
    assert again.words == tokenizer.words == tuple(words)
    assert again.encode(" ".join(words)).tolist() == list(range(len(words)))


def test_what_is_saved_is_plain_and_the_same_each_time():
    for tokenizer in (CharTokenizer("aé🙂\n"), ByteTokenizer(), PAIRS, WordTokenizer(["é", "=", "🙂"])):
        saved = tokenizer.to_json()
        assert saved.isascii()
        assert set(json.loads(saved)) >= {"version", "pre_tokenizer", "decoder", "model"}
        assert saved == load(saved).to_json()


def test_the_saved_bytes_know_the_unmerged_pairs_from_the_bytes():
    unmerged = learn_bpe("abc", 300)
    assert unmerged.vocab_size == 256
    assert load(unmerged.to_json()).kind == "bpe"
    assert load(ByteTokenizer().to_json()).kind == "byte"


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


def test_unknown_words_are_named_as_words():
    tokenizer = WordTokenizer(["17", "+", "45", "=", "3"])
    with pytest.raises(UnknownCharacters) as caught:
        tokenizer.encode("17 + x = 3", "probe.text")
    (problem,) = caught.value.problems
    assert problem.path == "probe.text"
    assert problem.message == "'x': a word that the text of this run does not contain; leave them out"
    with pytest.raises(UnknownCharacters, match=r"'x' '17\+': words that"):
        tokenizer.encode("x 17+ x")


def test_many_unknown_characters_are_cut_short():
    with pytest.raises(UnknownCharacters) as caught:
        CharTokenizer("a").encode("bcdefghijklm")
    assert "'i' …" in str(caught.value) and "'j'" not in str(caught.value)


def test_a_long_unknown_word_is_cut_short():
    with pytest.raises(UnknownCharacters) as caught:
        WordTokenizer(["a"]).encode("b" * 100_000)
    assert f"'{'b' * 40}…': a word" in str(caught.value)


def test_a_lone_surrogate_is_an_unknown_character_and_no_crash():
    with pytest.raises(UnknownCharacters, match="ud800"):
        CharTokenizer("abc").encode("a\ud800")
    with pytest.raises(UnknownCharacters, match="ud800"):
        WordTokenizer(["a"]).encode("a \ud800")
    assert ByteTokenizer().encode("a\ud800").tolist() == [97, 63]
    assert PAIRS.encode("a\ud800").tolist() == PAIRS.encode("a?").tolist()
    assert learn_bpe("\ud800\ud800 \ud800\ud800", 300).pieces[256:] == (b"??",)


def test_no_token_is_a_lone_surrogate():
    for bad in (CharTokenizer, lambda text: WordTokenizer([text])):
        with pytest.raises(ValueError, match="surrogate"):
            bad("a\ud800")


@pytest.mark.parametrize("word", ["", " ", "a b", "a\n", "\u3000", "a\x1cb"])
def test_a_word_has_no_white_space(word):
    with pytest.raises(ValueError, match="white space"):
        WordTokenizer(["a", word])


def test_words_keep_their_order_and_count_once():
    assert WordTokenizer(["b", "a", "b"]).words == ("b", "a")


def test_byte_ids_are_the_bytes_of_utf8():
    assert ByteTokenizer().encode("é!").tolist() == [0xC3, 0xA9, 0x21]
    assert ByteTokenizer().vocab_size == 256


def test_bytes_come_out_of_a_stream_as_soon_as_the_character_is_whole():
    decoder = StreamDecoder(ByteTokenizer())
    assert [decoder.push(byte) for byte in "a€b".encode()] == ["a", "", "", "€", "b"]


def test_words_come_out_of_a_stream_behind_their_prompt():
    tokenizer = WordTokenizer(["17", "+", "45", "=", "62"])
    prompt, decoder = "17 + 45 =", StreamDecoder(tokenizer)
    assert prompt + decoder.push(4) + decoder.push(1) == "17 + 45 = 62 +"


def test_pairs_come_out_of_a_stream_as_soon_as_the_character_is_whole():
    tokenizer = BpeTokenizer([*(bytes([byte]) for byte in range(256)), b"a\xe2", b"\x82\xac"], [(b"a", b"\xe2"), (b"\x82", b"\xac")])
    ids = tokenizer.encode("a€b").tolist()
    assert ids == [0x61, 0xE2, 257, 0x62]  # "a" and "€" are two words
    decoder = StreamDecoder(tokenizer)
    assert [decoder.push(i) for i in [256, 257, 256, 0x62]] == ["a", "€", "a", "\ufffdb"]


def test_broken_bytes_in_a_stream_become_replacement_characters():
    decoder = StreamDecoder(ByteTokenizer())
    assert "".join(decoder.push(byte) for byte in [0xE2, 0x82, 0x41, 0xFF, 0x42]) == "\ufffdA\ufffdB"
    assert ByteTokenizer().decode([0xE2, 0x82, 0x41, 0xFF, 0x42]) == "\ufffdA\ufffdB"


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), PAIRS], ids=lambda tokenizer: tokenizer.kind)
@given(data=st.data())
def test_a_stream_of_any_ids_is_what_they_decode_to(tokenizer, data):
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1)))
    end = tokenizer.encode("!").tolist()  # nothing is left over behind it
    assert streamed(tokenizer, ids + end) == tokenizer.decode(ids + end)


def test_single_tokens_can_be_shown():
    assert CharTokenizer("ba").token(1) == "b"
    assert [ByteTokenizer().token(i) for i in (65, 10, 0xC3)] == ["A", "\n", "\\xc3"]
    assert WordTokenizer(["b", "17"]).token(1) == "17"
    tokenizer = BpeTokenizer([*(bytes([byte]) for byte in range(256)), b" a", b"\xc3\xa9", b"a\xe2\x82"], [])
    assert [tokenizer.token(i) for i in (65, 256, 257, 258, 0xFF)] == ["A", " a", "é", "a\\xe2\\x82", "\\xff"]


def test_the_kinds_that_are_made_from_a_text():
    assert build("char", "ab ba").characters == " ab"
    assert build("byte", "").kind == "byte"
    same(build("bpe", "anything", STORY, 300), learn_bpe(STORY, 300))
    same(build("bpe", STORY, vocab_size=300), learn_bpe(STORY, 300))
    heard = []
    build("bpe", STORY, progress=heard.append)
    assert heard[-1] == 1
    with pytest.raises(ValueError, match="'word' is no tokenizer that is made from a text"):
        build("word", "a b")


# Byte pair encoding


def words_of(text):
    """The words inside which pairs are merged, as the library's own cutter has them, each as tokens of one byte."""
    letters = {letter: byte for byte, letter in enumerate(byte_letters())}
    cutter = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return [tuple(bytes([letters[letter]]) for letter in word) for word, _ in cutter.pre_tokenize_str(text)]


def byte_letters():
    """The letter of each byte, read off the saved byte tokenizer."""
    vocab = json.loads(ByteTokenizer().to_json())["model"]["vocab"]
    return sorted(vocab, key=vocab.get)


def merged(word, pair):
    """A word with this pair joined wherever it is, from left to right."""
    out, i = [], 0
    while i < len(word):
        joined = word[i : i + 2] == pair
        out.append(pair[0] + pair[1] if joined else word[i])
        i += 2 if joined else 1
    return tuple(out)


def encoded(tokenizer, text):
    """Ids by the merges alone: in each word, the earliest merge that fits, again and again."""
    ids = {piece: i for i, piece in enumerate(tokenizer.pieces)}
    ranks = {pair: rank for rank, pair in enumerate(tokenizer.merges)}
    out = []
    for word in words_of(text):
        while fitting := [pair for pair in pairwise(word) if pair in ranks]:
            word = merged(word, min(fitting, key=ranks.get))
        out += [ids[piece] for piece in word]
    return out


def pairs_of(words):
    counts = Counter()
    for word, n in words.items():
        for pair in pairwise(word):
            counts[pair] += n
    return counts


def learnt(text, n):
    """The first n merges by counting all pairs anew each time; fails where the most frequent one is not the only one."""
    words, merges = Counter(words_of(text)), []
    for _ in range(n):
        (best, count), (_, second) = pairs_of(words).most_common(2)
        assert count > second, f"a tie after {len(merges)} merges"
        merges.append(best)
        words = Counter({merged(word, best): n for word, n in words.items()})
    return merges


def by_lowest_ids(text, n):
    """As `learnt`; of equally frequent pairs the one of the lowest ids, where single bytes count by their letters."""
    words, merges = Counter(words_of(text)), []
    letters = byte_letters()
    ids = {bytes([byte]): rank for rank, byte in enumerate(sorted(range(256), key=letters.__getitem__))}
    while len(ids) < 256 + n:
        counts = {pair: count for pair, count in pairs_of(words).items() if count > 1}
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], ids[pair[0]], ids[pair[1]]))
        merges.append(best)
        ids.setdefault(best[0] + best[1], len(ids))
        words = Counter({merged(word, best): n for word, n in words.items()})
    return merges


def test_merges_of_a_tiny_text_are_those_of_counting():
    text = "ab\n" * 16 + "abc\n" * 8 + "abcd\n" * 4 + "bc\n" * 20 + "xy\n" * 6 + "zw\n" * 2
    expected = learnt(text, 5)
    assert expected == [(b"b", b"c"), (b"a", b"b"), (b"a", b"bc"), (b"x", b"y"), (b"abc", b"d")]
    tokenizer = learn_bpe(text, 261)
    assert list(tokenizer.merges) == expected
    assert list(tokenizer.pieces[256:]) == [a + b for a, b in expected]
    assert sorted(tokenizer.pieces[:256]) == [bytes([byte]) for byte in range(256)]


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdéf"), min_size=1, max_size=6, unique=True).map("".join), min_size=1, max_size=12))
def test_of_equally_frequent_pairs_the_one_of_the_lowest_ids_is_merged(words):
    text = " ".join(words)
    assert list(learn_bpe(text, 270).merges) == by_lowest_ids(text, 14)


def test_merges_of_a_story_are_those_of_counting():
    assert list(PAIRS.merges) == by_lowest_ids(STORY, 74)


@settings(deadline=None)
@given(TEXTS | SPACED)
def test_pair_ids_are_the_merges_by_rank(text):
    assert PAIRS.encode(text).tolist() == encoded(PAIRS, text)


def test_pair_ids_of_the_text_itself():
    ids = PAIRS.encode(STORY)
    assert ids.tolist() == encoded(PAIRS, STORY)
    assert len(ids) < len(STORY.encode()) / 2
    assert PAIRS.vocab_size == 330
    assert PAIRS.encode("").tolist() == [] and PAIRS.encode("").dtype == np.uint32


def long_text():
    """Every kind of white space beside every kind of sign, over several parts."""
    draw = random.Random(0)
    return "".join(
        draw.choice(["the", "'s", "'", " ", " ", "\n", "  ", "\n\n", "\t", "\r\n", "\u3000", "7", "é", "—", "\x1c"]) for _ in range(60_000)
    )


def test_ids_of_a_long_text_are_those_of_one_piece():
    text = long_text()
    whole = library.Tokenizer.from_str(PAIRS.to_json())
    assert PAIRS.encode(text).tolist() == whole.encode(text).ids
    assert PAIRS.decode(PAIRS.encode(text)) == text


def test_pairs_of_a_long_text_are_those_of_one_piece():
    text = long_text()
    whole = library.Tokenizer(library.models.BPE())
    whole.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    whole.train_from_iterator(
        [text], library.trainers.BpeTrainer(vocab_size=500, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
    )
    vocab = json.loads(learn_bpe(text, 500).to_json())["model"]["vocab"]
    assert vocab == whole.get_vocab()


def test_learning_twice_gives_the_same_whatever_the_threads():
    code = "import hashlib, sys; from playground.data.tokenizers import learn_bpe; text = sys.stdin.buffer.read().decode();"
    code += "t = learn_bpe(text, 900); print(hashlib.sha256(t.to_json().encode() + t.encode(text).tobytes()).hexdigest())"
    text = STORY + long_text()
    answers = set()
    for threads, parallel in (("1", "true"), ("4", "true"), ("4", "false")):
        settings = {"RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": parallel}
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | settings, input=text.encode(), capture_output=True)
        assert done.returncode == 0, done.stderr
        answers.add(done.stdout)
    assert len(answers) == 1
    same(learn_bpe(text, 900), learn_bpe(text, 900))


def test_a_short_text_gives_fewer_tokens():
    tokenizer = learn_bpe("low low", 4000)
    assert tokenizer.pieces[256:] == (b"lo", b"low")
    assert tokenizer.vocab_size == len(tokenizer.n_bytes) == 258
    assert learn_bpe("", 4000).vocab_size == 256
    assert learn_bpe("", 4000).decode(learn_bpe("", 4000).encode("é")) == "é"


@pytest.mark.parametrize("size", [256, 0, -1])
def test_no_vocabulary_is_smaller_than_the_bytes_and_one(size):
    with pytest.raises(ValueError, match=f"a vocabulary of {size}: .* 256 bytes"):
        learn_bpe("aa aa", size)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("word", ["a", "\n", "ab", "日"])
def test_a_text_of_one_endless_word_takes_no_time(word):
    text = word * 200_000
    tokenizer = learn_bpe(text, 1000)
    ids = tokenizer.encode(text)
    assert len(ids) < 2000
    assert tokenizer.decode(ids) == text


def test_progress_is_the_share_that_has_been_read():
    heard = []
    learn_bpe(long_text(), 300, heard.append)
    assert heard == sorted(set(heard))
    assert 50 < len(heard) <= 101
    assert 0 < heard[0] < 0.05 and heard[-1] == 1


def test_whoever_watches_can_stop_the_learning():
    def stop(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn_bpe(STORY, 300, stop)


BYTES = [bytes([byte]) for byte in range(256)]


@pytest.mark.parametrize(
    "pieces, merges, message",
    [
        (BYTES[1:], [], "not every byte"),
        ([*BYTES, b"a"], [], "two tokens are the same"),
        ([*BYTES, b""], [], "one is empty"),
        ([*BYTES, b"ab"], [(b"a", b"c")], "not of tokens that make a token"),
        ([*BYTES, b"ab"], [(b"a", b"b"), (b"a", b"b")], "a merge is there twice"),
        ([*BYTES, b"abc"], [(b"ab", b"c")], "not of tokens that make a token"),
    ],
)
def test_pieces_and_merges_must_fit_together(pieces, merges, message):
    with pytest.raises(ValueError, match=message):
        BpeTokenizer(pieces, merges)


# What was saved by somebody else

SAVED = {
    "char": CharTokenizer("abc").to_json(),
    "byte": ByteTokenizer().to_json(),
    "bpe": learn_bpe("low lower low lower", 300).to_json(),
    "word": WordTokenizer(["a", "+", "b"]).to_json(),
}


def changed(kind, path, value):
    """A saved tokenizer with one value set, or taken away (`...`), at a dotted path."""
    data = json.loads(SAVED[kind])
    *parents, last = path.split(".")
    place = data
    for name in parents:
        place = place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    "saved",
    ["", "{", "nul", "[" * 100_000, '{"a": ' * 100_000, "9" * 10_000, "\x00", '{"model": {}, "model": {}}', "\ud800"],
    ids=range(9),
)
def test_what_is_no_json_is_refused(saved):
    with pytest.raises(ValueError, match=r"this tokenizer.json cannot be read: .") as caught:
        load(saved)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "saved",
    ["null", "[]", "1", '"char"', "{}", "NaN", '{"model": []}', '{"model": {}}', '{"model": {"vocab": {"a": 0}}}', '{"kind": "byte"}'],
)
def test_json_of_something_else_is_refused(saved):
    with pytest.raises(ValueError, match=r"this tokenizer.json holds no tokenizer of this playground: it "):
        load(saved)


@pytest.mark.parametrize("kind", SAVED)
@pytest.mark.parametrize(
    "path, value, message",
    [
        ("model", ..., "no model"),
        ("model", [], "no model"),
        ("model.vocab", ..., "no vocabulary"),
        ("model.vocab", {}, "no vocabulary"),
        ("model.vocab", [["a", 0]], "no vocabulary"),
        ("model.vocab.a", -1, "are not 0 to"),
        ("model.vocab.a", 10**30, "are not 0 to"),
        ("model.vocab.a", 1.0, "are not 0 to"),
        ("model.vocab.a", True, "are not 0 to"),
        ("model.vocab.a", "0", "are not 0 to"),
        ("model.vocab.a", None, "are not 0 to"),
        ("model.vocab.a", [], "are not 0 to"),
        ("model.vocab.a", 1, "each once"),
        ("model.type", "Unigram", "not what a .* tokenizer is saved as"),
        ("model.type", ..., "not what a .* tokenizer is saved as"),
        ("model.byte_fallback", True, "not what a .* tokenizer is saved as"),
        ("pre_tokenizer", ..., "cuts a text neither"),
        ("pre_tokenizer", "os.system", "cuts a text neither"),
        ("pre_tokenizer", {"type": "Whitespace"}, "cuts a text neither"),
        ("pre_tokenizer.type", ["Split"], "cuts a text neither"),
        ("decoder", {"type": "WordPiece"}, "not what a .* tokenizer is saved as"),
        ("normalizer", {"type": "Lowercase"}, "not what a .* tokenizer is saved as"),
        ("post_processor", {"type": "ByteLevel"}, "not what a .* tokenizer is saved as"),
        ("truncation", {"max_length": 1}, "not what a .* tokenizer is saved as"),
        ("added_tokens", [{"id": 0, "content": "a", "special": True}], "not what a .* tokenizer is saved as"),
        ("added_tokens", ..., "not what a .* tokenizer is saved as"),
        ("auto_map", {"AutoTokenizer": "evil.py"}, "not what a .* tokenizer is saved as"),
        ("version", "2.0", "not what a .* tokenizer is saved as"),
    ],
)
def test_what_is_not_quite_ours_is_refused(kind, path, value, message):
    with pytest.raises(ValueError, match="holds no tokenizer of this playground: .*" + message):
        load(changed(kind, path, value))


@pytest.mark.parametrize(
    "kind, path, value, message",
    [
        ("char", "model.vocab.b", True, "are not 0 to"),
        ("word", "model.vocab.+", 1.0, "are not 0 to"),
        ("char", "model.vocab", {"ab": 0}, "not one character"),
        ("char", "model.vocab", {"": 0}, "not one character"),
        ("char", "model.vocab", {"b": 0, "a": 1}, "not what a char tokenizer"),
        ("char", "model.vocab", {"\ud800": 0}, "surrogate"),
        ("char", "model.unk_token", "a", "not what a char tokenizer"),
        ("word", "model.unk_token", "a", "not what a word tokenizer"),
        ("word", "model.vocab", {"a b": 0}, "white space"),
        ("word", "model.vocab", {"": 0}, "empty"),
        ("word", "model.vocab", {"\ud800": 0}, "surrogate"),
        ("byte", "model.merges", [["a", "b"]], "not what a byte tokenizer"),
        ("byte", "model.vocab", {"a": 0}, "not what a byte tokenizer"),
        ("bpe", "model.vocab", {"a": 0}, "not every byte"),
        ("bpe", "model.vocab", {" ": 0}, "stand for no byte"),
        ("bpe", "model.vocab.", 259, "one is empty"),
        ("bpe", "model.merges", ..., "not pairs"),
        ("bpe", "model.merges", {"l": "o"}, "not pairs"),
        ("bpe", "model.merges", ["l o"], "not pairs"),
        ("bpe", "model.merges", [["l"]], "not pairs"),
        ("bpe", "model.merges", [["l", "o", "w"]], "not pairs"),
        ("bpe", "model.merges", [["l", 1]], "not pairs"),
        ("bpe", "model.merges", [["l", ["o"]]], "not pairs"),
        ("bpe", "model.merges", [["l", "日"]], "not pairs"),
        ("bpe", "model.merges", [["x", "y"]], "not of tokens that make a token"),
        ("bpe", "model.merges", [["l", "o"], ["l", "o"]], "twice"),
        ("bpe", "model.merges", [["", "lo"]], "not of tokens that make a token"),
        ("bpe", "model.dropout", 0.5, "not what a bpe tokenizer"),
    ],
)
def test_tokens_that_cannot_be_are_refused(kind, path, value, message):
    if path == "model.vocab.":
        value = len(json.loads(SAVED[kind])["model"]["vocab"])
    with pytest.raises(ValueError, match=message):
        load(changed(kind, path, value))


@settings(deadline=None)
@given(
    st.sampled_from(sorted(SAVED)),
    st.sampled_from(["model", "model.vocab", "model.merges", "pre_tokenizer", "decoder", "added_tokens", "model.vocab.a", "version"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
)
def test_no_value_in_any_place_is_more_than_a_refusal(kind, path, value):
    saved = changed(kind, path, value)
    try:
        tokenizer = load(saved)
    except ValueError as error:
        assert "tokenizer.json" in str(error)
    else:
        assert json.loads(tokenizer.to_json()) == json.loads(saved)


@pytest.mark.parametrize("kind", SAVED)
def test_a_file_that_was_cut_off_is_refused(kind):
    for end in range(0, len(SAVED[kind]), 97):
        with pytest.raises(ValueError, match="cannot be read"):
            load(SAVED[kind][:end])
