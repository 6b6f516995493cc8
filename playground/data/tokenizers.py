"""Text to token ids and back. Knows nothing of corpora and models; imports no torch."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable
from typing import Protocol

import numpy as np

from models.knobs import ConfigError, Problem


class UnknownCharacters(ConfigError):
    """A text holds characters that the tokenizer has never seen."""

    def __init__(self, where: str, characters: Iterable[str]):
        unique = list(dict.fromkeys(characters))
        shown = " ".join(repr(character) for character in unique[:8]) + (" …" if len(unique) > 8 else "")
        noun = "a character" if len(unique) == 1 else "characters"
        super().__init__([Problem(where, f"{shown}: {noun} that the text of this run does not contain; leave them out")])


class Tokenizer(Protocol):
    """Ids are 0 … vocab_size - 1."""

    kind: str
    vocab_size: int

    def encode(self, text: str, where: str = "prompt") -> np.ndarray:
        """(T,) uint32 ids; raises UnknownCharacters, naming `where`."""

    def decode(self, ids: Iterable[int]) -> str: ...

    def token(self, i: int) -> str:
        """One token by itself, for display."""

    def to_json(self) -> str: ...


class CharTokenizer:
    """One token per character, in code point order."""

    kind = "char"

    def __init__(self, characters: Iterable[str]):
        self.characters = "".join(sorted(set(characters)))
        self.vocab_size = len(self.characters)
        self._points = np.array([ord(c) for c in self.characters], dtype=np.uint32)

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

    def to_json(self) -> str:
        return json.dumps({"kind": self.kind, "characters": self.characters})


class ByteTokenizer:
    """One token per UTF-8 byte; knows every text."""

    kind = "byte"
    vocab_size = 256

    def encode(self, text: str, where: str = "prompt") -> np.ndarray:
        return np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8).astype(np.uint32)

    def decode(self, ids: Iterable[int]) -> str:
        return bytes(ids).decode("utf-8", "replace")

    def token(self, i: int) -> str:
        return chr(i) if i < 128 else f"\\x{i:02x}"

    def to_json(self) -> str:
        return json.dumps({"kind": self.kind})


class StreamDecoder:
    """Decodes ids one by one: text comes out as soon as its last byte is in."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace") if tokenizer.kind == "byte" else None

    def push(self, i: int) -> str:
        return self._tokenizer.token(i) if self._bytes is None else self._bytes.decode(bytes([i]))


def hub_files(tokenizer: Tokenizer) -> dict[str, str]:
    """Names and contents of the files from which `transformers.AutoTokenizer` makes the same tokenizer.

    No text is normalised, no two tokens are ever merged, and none is special. A character that the tokenizer doesn't know
    is an error there too.
    """
    pieces = _by_character(tokenizer) if tokenizer.kind == "char" else _by_byte()
    nothing = {"truncation": None, "padding": None, "normalizer": None, "post_processor": None}
    model = {"version": "1.0", "added_tokens": [], **nothing, **pieces}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    return {"tokenizer.json": json.dumps(model), "tokenizer_config.json": json.dumps(config)}


def _by_character(tokenizer: CharTokenizer) -> dict:
    """Cut behind every character, line ends included; look each one up; write them one after the other."""
    return {
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False},
        "model": {"type": "WordLevel", "vocab": {c: i for i, c in enumerate(tokenizer.characters)}, "unk_token": "<unknown>"},
        "decoder": {"type": "Fuse"},
    }


def _by_byte() -> dict:
    """Each byte goes by a visible character, as in GPT-2: itself, or the next free one from 256."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    letters = {byte: chr(byte) for byte in visible} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}
    return {
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "model": {"type": "BPE", "vocab": {letters[byte]: byte for byte in range(256)}, "merges": []},
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
    }


def build(kind: str, text: str) -> Tokenizer:
    """The tokenizer for a whole text, its held-out part included."""
    return CharTokenizer(distinct(text)) if kind == "char" else ByteTokenizer()


def load(saved: str) -> Tokenizer:
    """From `to_json`."""
    data = json.loads(saved)
    return CharTokenizer(data["characters"]) if data["kind"] == "char" else ByteTokenizer()


def distinct(text: str) -> str:
    """The characters of a text, each once."""
    return "".join(set(text))
