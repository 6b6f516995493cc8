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
