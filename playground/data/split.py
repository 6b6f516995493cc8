"""A text as tokens, cut into what is trained on and what is held out. Imports no torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from models.config import ModelConfig
from playground.config import RunConfig
from playground.data import corpora, tokenizers
from playground.data.corpora import CorpusError
from playground.data.tokenizers import Tokenizer

HELD_OUT = 0.1


@dataclass(frozen=True)
class Split:
    """`train` and `held_out` are (N,) unsigned ids; the held-out part is the contiguous last tenth."""

    train: np.ndarray
    held_out: np.ndarray
    tokenizer: Tokenizer

    def digest(self) -> str:
        """Identity of the text as tokens, hex."""
        return hashlib.sha256(self.train.tobytes() + self.held_out.tobytes()).hexdigest()


@dataclass(frozen=True)
class TextInfo:
    """What the form needs to know of a text. Sizes in characters and tokens."""

    n_chars: int
    n_tokens: int
    vocab_size: int
    n_held_out: int


@lru_cache(maxsize=2)
def load_split(source: str, tokenizer: str, root: Path) -> Split:
    """Load, tokenize and cut; raises CorpusError."""
    text = corpora.load_text(source, root)
    encoder = tokenizers.build(tokenizer, text)
    ids = encoder.encode(text, "data.source")
    ids = ids.astype(np.uint8 if encoder.vocab_size <= 256 else np.uint16 if encoder.vocab_size <= 65536 else np.uint32)
    first = n_train(len(ids))
    return Split(ids[:first], ids[first:], encoder)


def n_train(n_tokens: int) -> int:
    return int(n_tokens * (1 - HELD_OUT))


@lru_cache(maxsize=64)
def text_info(source: str, tokenizer: str, root: Path) -> TextInfo:
    """Sizes of a text, without fetching one that is declared to need the network."""
    known = corpora.BUILT_IN.get(source)
    if known is not None and known.n_chars is not None:
        n_chars, n_tokens = known.n_chars, known.n_chars
        vocab = known.vocab_size if tokenizer == "char" else 256
    else:
        text = corpora.load_text(source, root)
        n_chars = len(text)
        n_tokens = n_chars if tokenizer == "char" else len(text.encode())
        vocab = len(set(text)) if tokenizer == "char" else 256
    return TextInfo(n_chars, n_tokens, vocab, n_tokens - n_train(n_tokens))


def check_length(info: TextInfo, model: ModelConfig) -> None:
    """Raises CorpusError where the held-out tenth holds no whole window (the training part then does)."""
    needed = model.block_size + 1
    if info.n_held_out < needed:
        largest = info.n_held_out - 1
        remedy = f"use a context (model.block_size) of at most {largest}, or a longer text" if largest >= 1 else "use a longer text"
        raise CorpusError(
            f"the text has {info.n_tokens:,} tokens, so {info.n_held_out:,} are held out, "
            f"fewer than one window of {needed} (context + 1); {remedy}"
        )


def complete(config: RunConfig, root: Path) -> RunConfig:
    """Fill in `vocab_size` from the text and check that it is long enough; raises ConfigError."""
    info = text_info(config.data.source, config.data.tokenizer, root)
    check_length(info, config.model)
    return config.model_copy(update={"model": config.model.model_copy(update={"vocab_size": info.vocab_size})})
