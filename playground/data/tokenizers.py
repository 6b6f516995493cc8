"""Text to token ids and back. Knows nothing of corpora and models; imports no torch.

Every kind of tokenizer is written down as the `tokenizer.json` of the Hugging Face libraries and read from it again.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from models.knobs import ConfigError, Problem


class UnknownCharacters(ConfigError):
    """A text holds characters, or words, that the tokenizer has never seen."""

    def __init__(self, where: str, characters: Iterable[str], noun: str = "character"):
        unique = list(dict.fromkeys(characters))
        shown = " ".join(repr(name if len(name) <= 40 else name[:40] + "…") for name in unique[:8]) + (" …" if len(unique) > 8 else "")
        nouns = f"a {noun}" if len(unique) == 1 else f"{noun}s"
        super().__init__([Problem(where, f"{shown}: {nouns} that the text of this run does not contain; leave them out")])


class Tokenizer(Protocol):
    """Ids are 0 … vocab_size - 1."""

    kind: str
    vocab_size: int
    n_bytes: np.ndarray
    """(V,) int64: how many UTF-8 bytes each token stands for."""

    def encode(self, text: str, where: str = "prompt") -> np.ndarray:
        """(T,) uint32 ids; raises UnknownCharacters, naming `where`."""
        ...

    def decode(self, ids: Iterable[int]) -> str: ...

    def token(self, i: int) -> str:
        """One token by itself, for display."""
        ...

    def piece(self, i: int) -> bytes:
        """What one token adds to a text, in UTF-8."""
        ...

    def to_json(self) -> str:
        """The tokenizer.json from which `load` here, and `transformers`, make the same tokenizer. Always the same for the same one."""
        ...


class CharTokenizer:
    """One token per character, in code point order. A lone surrogate raises ValueError: UTF-8 cannot hold it."""

    kind = "char"

    def __init__(self, characters: Iterable[str]):
        self.characters = "".join(sorted(set(characters)))
        self.vocab_size = len(self.characters)
        self._points = np.frombuffer(self.characters.encode("utf-32-le"), dtype=np.uint32)
        longer_from = np.array([0x80, 0x800, 0x10000], dtype=np.uint32)  # the first code points of two, three and four bytes
        self.n_bytes = (1 + np.searchsorted(longer_from, self._points, side="right")).astype(np.int64)

    def encode(self, text: str, where: str = "prompt") -> np.ndarray:
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        ids = np.searchsorted(self._points, points).clip(max=self.vocab_size - 1)
        known = self._points[ids] == points
        if not known.all():
            raise UnknownCharacters(where, (chr(point) for point in points[~known][:1000]))
        return ids.astype(np.uint32)

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.characters[i] for i in ids)

    def token(self, i: int) -> str:
        return self.characters[i]

    def piece(self, i: int) -> bytes:
        return self.characters[i].encode()

    def to_json(self) -> str:
        return _written(self.kind, {c: i for i, c in enumerate(self.characters)})


class ByteTokenizer:
    """One token per UTF-8 byte; knows every text (a lone surrogate is read as "?")."""

    kind = "byte"
    vocab_size = 256
    n_bytes = np.ones(256, dtype=np.int64)

    def encode(self, text: str, where: str = "prompt") -> np.ndarray:
        return np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8).astype(np.uint32)

    def decode(self, ids: Iterable[int]) -> str:
        return bytes(list(ids)).decode("utf-8", "replace")

    def token(self, i: int) -> str:
        return _shown(self.piece(i))

    def piece(self, i: int) -> bytes:
        return bytes([i])

    def to_json(self) -> str:
        return _written(self.kind, {_LETTERS[byte]: byte for byte in range(256)}, merges=[])


class BpeTokenizer:
    """Byte-level byte pair encoding as in GPT-2; knows every text (a lone surrogate is read as "?").

    A text is cut into words, numbers, punctuation and white space (a space goes with what follows it); inside each of them,
    pairs of neighbours are merged, always the pair that comes first in `merges`. `learn_bpe` finds pieces and merges.
    """

    kind = "bpe"

    def __init__(self, pieces: Iterable[bytes], merges: Iterable[tuple[bytes, bytes]]):
        """The bytes of each token, in the order of ids; raises ValueError where pieces and merges do not fit together."""
        self.pieces, self.merges = tuple(pieces), tuple(merges)
        known = set(self.pieces)
        if len(known) < len(self.pieces) or b"" in known:
            raise ValueError("two tokens are the same, or one is empty")
        if not known.issuperset(bytes([byte]) for byte in range(256)):
            raise ValueError("not every byte is a token")
        if len(set(self.merges)) < len(self.merges) or not all({a, b, a + b} <= known for a, b in self.merges):
            raise ValueError("a merge is there twice, or not of tokens that make a token")
        from tokenizers import Tokenizer as Library

        self.vocab_size = len(self.pieces)
        self.n_bytes = np.array([len(piece) for piece in self.pieces], dtype=np.int64)
        self._library = Library.from_str(self.to_json())

    def encode(self, text: str, where: str = "prompt") -> np.ndarray:
        chunks = _chunks(_sound(text), 2**14)
        ids = [np.empty(0, dtype=np.uint32)]
        while some := list(islice(chunks, 64)):
            ids += [np.array(encoding.ids, dtype=np.uint32) for encoding in self._library.encode_batch_fast(some)]
        return np.concatenate(ids)

    def decode(self, ids: Iterable[int]) -> str:
        return b"".join(self.pieces[i] for i in ids).decode("utf-8", "replace")

    def token(self, i: int) -> str:
        return _shown(self.pieces[i])

    def piece(self, i: int) -> bytes:
        return self.pieces[i]

    def to_json(self) -> str:
        vocab = {_in_letters(piece): i for i, piece in enumerate(self.pieces)}
        return _written(self.kind, vocab, merges=[[_in_letters(a), _in_letters(b)] for a, b in self.merges])


def learn_bpe(text: str, vocab_size: int, progress: Callable[[float], None] | None = None) -> BpeTokenizer:
    """Learn BPE: start from the 256 bytes, and merge the most frequent pair until there are `vocab_size` tokens.

    Of pairs that are equally frequent the one of the lowest ids is merged. A pair that occurs only once is not merged, so a
    short text gives fewer tokens. A stretch of a thousand characters without a space or line end may be cut into parts that
    are counted separately (the time would grow with the square of its length); other cuts do not change the result.
    `progress` receives the share of the text that has been read; the merging that follows takes about as long again.
    Raises ValueError for a `vocab_size` below 257.
    """
    if vocab_size < 257:
        raise ValueError(f"a vocabulary of {vocab_size}: byte pair encoding has the 256 bytes and at least one more")
    from tokenizers import Tokenizer as Library
    from tokenizers import models, pre_tokenizers, trainers

    library = Library(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        initial_alphabet=sorted(_LETTERS),
        special_tokens=[],
        show_progress=False,
    )
    library.train_from_iterator(_watched(_chunks(_sound(text), 2**10, longest=2**11), len(text), progress), trainer)
    model = json.loads(library.to_str())["model"]
    return BpeTokenizer(
        (_from_letters(letters) for letters in sorted(model["vocab"], key=model["vocab"].get)),
        ((_from_letters(a), _from_letters(b)) for a, b in model["merges"]),
    )


class WordTokenizer:
    """One token per word of a closed list, such as "17 + 45 = 3"; a text is words with one space between them.

    Ids are the order of the list, each word counted once. White space at the ends of a text, or more than one between two
    words, is not kept. In a stream each word brings the space before it, so what follows a prompt can be set right behind
    it; all the pieces of a text, joined, are the text behind one space.
    """

    kind = "word"

    def __init__(self, words: Iterable[str]):
        """Raises ValueError for a word that is empty or has white space or a lone surrogate in it."""
        self.words = tuple(dict.fromkeys(words))
        if not all(word.split() == [word] for word in self.words):
            raise ValueError("a word is empty or has white space in it")
        self.vocab_size = len(self.words)
        self.n_bytes = np.array([len(word.encode()) + 1 for word in self.words], dtype=np.int64)
        self._ids = {word: i for i, word in enumerate(self.words)}

    def encode(self, text: str, where: str = "prompt") -> np.ndarray:
        words = text.split()
        try:
            return np.array([self._ids[word] for word in words], dtype=np.uint32)
        except KeyError:
            raise UnknownCharacters(where, (word for word in words if word not in self._ids), "word") from None

    def decode(self, ids: Iterable[int]) -> str:
        return " ".join(self.words[i] for i in ids)

    def token(self, i: int) -> str:
        return self.words[i]

    def piece(self, i: int) -> bytes:
        return b" " + self.words[i].encode()

    def to_json(self) -> str:
        return _written(self.kind, self._ids)


class StreamDecoder:
    """Decodes ids one by one; a character comes out as soon as its last byte is in."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, i: int) -> str:
        return self._bytes.decode(self._tokenizer.piece(i))


def build(
    kind: str,
    text: str,
    train_text: str | None = None,
    vocab_size: int = 1000,
    progress: Callable[[float], None] | None = None,
) -> Tokenizer:
    """The tokenizer for a whole text, its held-out part included; "bpe" learns from `train_text` only, where it is given.

    Raises ValueError for a kind that is not made from a text.
    """
    if kind == "char":
        return CharTokenizer(distinct(text))
    if kind == "byte":
        return ByteTokenizer()
    if kind == "bpe":
        return learn_bpe(text if train_text is None else train_text, vocab_size, progress)
    raise ValueError(f"{kind!r} is no tokenizer that is made from a text; there are char, byte and bpe")


def hub_files(tokenizer: Tokenizer, context: int) -> dict[str, str]:
    """Names and contents of the files from which `transformers.AutoTokenizer` makes the same tokenizer, for a model that reads `context`
    tokens.

    No text is normalised and no token is special. A character or word that the tokenizer doesn't know is an error there too.
    """
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, "model_max_length": context}
    return {"tokenizer.json": tokenizer.to_json(), "tokenizer_config.json": json.dumps(config)}


def load(saved: str) -> Tokenizer:
    """The inverse of `to_json`. Raises ValueError for everything else: only what `to_json` would write again is accepted."""
    try:
        data = json.loads(saved, object_pairs_hook=_no_name_twice)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this tokenizer.json cannot be read: {error}") from None
    try:
        tokenizer = _made_from(data)
    except ValueError as error:
        raise ValueError(f"this tokenizer.json holds no tokenizer of this playground: {error}") from None
    if json.loads(tokenizer.to_json()) != data:
        raise ValueError(
            f"this tokenizer.json holds no tokenizer of this playground: it is not what a {tokenizer.kind} tokenizer is saved as"
        )
    return tokenizer


def load_file(path: Path) -> Tokenizer:
    """As `load`, of a file: parsed once for as long as it stays the same file. Raises OSError too."""
    about = path.stat()
    return _of_file(path, (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns))


@lru_cache(maxsize=16)
def _of_file(path: Path, identity: tuple[int, ...]) -> Tokenizer:
    return load(path.read_text())


def distinct(text: str) -> str:
    """The characters of a text, each once."""
    return "".join(set(text))


def _in_order(vocab: object) -> list[str]:
    """The tokens of a vocabulary by id; raises ValueError where ids are not 0 … V - 1."""
    if not isinstance(vocab, dict) or not vocab:
        raise ValueError("it has no vocabulary")
    if not all(type(i) is int for i in vocab.values()) or sorted(vocab.values()) != list(range(len(vocab))):
        raise ValueError(f"the ids of its {len(vocab):,} tokens are not 0 to {len(vocab) - 1:,}, each once")
    return sorted(vocab, key=vocab.__getitem__)


def _made_from(data: object) -> Tokenizer:
    if not isinstance(data, dict) or not isinstance(model := data.get("model"), dict):
        raise ValueError("it has no model")
    kind = next((kind for kind, parts in _PARTS.items() if data.get("pre_tokenizer") == parts["pre_tokenizer"]), None)
    if kind is None:
        raise ValueError("it cuts a text neither into characters, bytes or words, nor as GPT-2 does")
    tokens = _in_order(model.get("vocab"))
    if kind == "char":
        return CharTokenizer(_checked(tokens, all(len(token) == 1 for token in tokens), "a token is not one character"))
    if kind == "byte":
        return ByteTokenizer()
    if kind == "word":
        return WordTokenizer(tokens)
    _checked(tokens, set().union(*tokens) <= _BYTES.keys(), "a token has letters that stand for no byte")
    merges = model.get("merges")
    if not isinstance(merges, list) or not all(map(_is_merge, merges)):
        raise ValueError("its merges are not pairs of tokens")
    return BpeTokenizer(map(_from_letters, tokens), [(_from_letters(a), _from_letters(b)) for a, b in merges])


def _is_merge(pair: object) -> bool:
    """Whether it is two tokens as GPT-2 writes them."""
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) and _BYTES.keys() >= set(part) for part in pair)


def _checked(tokens: list[str], good: bool, otherwise: str) -> list[str]:
    if not good:
        raise ValueError(otherwise)
    return tokens


def _no_name_twice(pairs: list[tuple[str, object]]) -> dict:
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("a name is there twice")
    return named


def _written(kind: str, vocab: dict[str, int], **merges: list) -> str:
    """The tokenizer.json of these tokens: nothing is normalised or added, and only `merges` are merged."""
    nothing = {"truncation": None, "padding": None, "normalizer": None, "post_processor": None}
    parts = _PARTS[kind]
    model = {"type": parts["type"], "vocab": vocab, **parts["unknown"], **merges}
    cutting = {"pre_tokenizer": parts["pre_tokenizer"], "decoder": parts["decoder"]}
    return json.dumps({"version": "1.0", "added_tokens": [], **nothing, **cutting, "model": model})


def _split(pattern: str, behavior: str) -> dict:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": False}


def _bytes_as_letters(use_regex: bool) -> dict:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": use_regex}


# How a text is cut, looked up and put together again, by kind. Characters: a cut behind each one, line ends included.
# Words: at what `str.split` takes for white space. The unknown token is neither one character nor one word: no text has it.
_PARTS = {
    "char": {
        "pre_tokenizer": _split(r"[\s\S]", "Isolated"),
        "decoder": {"type": "Fuse"},
        "type": "WordLevel",
        "unknown": {"unk_token": "<unknown>"},
    },
    "byte": {
        "pre_tokenizer": _bytes_as_letters(use_regex=False),
        "decoder": _bytes_as_letters(use_regex=False),
        "type": "BPE",
        "unknown": {},
    },
    "bpe": {
        "pre_tokenizer": _bytes_as_letters(use_regex=True),
        "decoder": _bytes_as_letters(use_regex=True),
        "type": "BPE",
        "unknown": {},
    },
    "word": {
        "pre_tokenizer": _split(r"[\s\x1c-\x1f]+", "Removed"),
        "decoder": None,  # joins with a space
        "type": "WordLevel",
        "unknown": {"unk_token": "<unknown word>"},
    },
}


def _letters() -> list[str]:
    """The visible character that stands for each byte, as in GPT-2: itself, or the next free one from 256."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return [chr(byte if byte in visible else 256 + hidden.index(byte)) for byte in range(256)]


_LETTERS = _letters()
_BYTES = {letter: byte for byte, letter in enumerate(_LETTERS)}


def _in_letters(piece: bytes) -> str:
    return "".join(_LETTERS[byte] for byte in piece)


def _from_letters(letters: str) -> bytes:
    return bytes(_BYTES[letter] for letter in letters)


def _shown(piece: bytes) -> str:
    """Bytes that are not whole characters as \\xNN."""
    return piece.decode("utf-8", "backslashreplace")


def _sound(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


_SAFE = re.compile(r"(?<=\S)[ \n]")


def _chunks(text: str, size: int, longest: int | None = None) -> Iterator[str]:
    """Parts of at least `size` characters (except the last), cut before a space or line end that follows no white space.

    GPT-2's pattern cuts there whatever is around, so the words of the parts, one after the other, are those of the text.
    Only where a part would be longer than `longest`, it is cut there anyway.
    """
    start = 0
    while start < len(text):
        last = len(text) if longest is None else min(start + longest, len(text))
        cut = _SAFE.search(text, start + size, last)
        end = cut.start() if cut else last
        yield text[start:end]
        start = end


def _watched(chunks: Iterable[str], n: int, progress: Callable[[float], None] | None) -> Iterator[str]:
    """The chunks of a text of n characters; `progress` is called about a hundred times with the share done."""
    done = told = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        if progress is not None and (done == n or (done - told) * 100 >= n):
            progress(done / n)
            told = done
