"""Samples text from a checkpoint of a run: a stream of tokens, each with its probability and the likeliest others.

Imports torch when the first token is sampled, and keeps a few models in memory. Always on the CPU.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from models.knobs import ConfigError, Knobs, Problem, knob, parse
from playground.config.run import CompleteRun
from playground.data import dataset, tokenizers
from playground.data.tokenizers import Tokenizer
from playground.runs.folder import RunFolder
from playground.runs.store import Run
from playground.training import paths
from playground.training.errors import CheckpointError, NoCheckpointYet

N_RUNNERS_UP = 5


class SampleConfig(Knobs, frozen=True):
    """How the next token is sampled."""

    max_new_tokens: int = knob(
        200, ge=1, le=2000, slider=(10, 1000), step=10, label="length", unit="tokens",
        help="How many tokens to write. When the context is full, the older half of it is dropped at once.",
    )  # fmt: skip
    temperature: float = knob(
        0.8, ge=0, le=10, slider=(0, 2), step=0.05, label="temperature",
        help="The logits are divided by it: below 1 favours likely tokens, above 1 evens chances out; 0 always takes the likeliest.",
    )  # fmt: skip
    top_k: int | None = knob(
        None, ge=1, le=1_000_000, label="top-k", unit="tokens", none_means="off", help="Sample from this many likeliest tokens only."
    )
    top_p: float | None = knob(
        None, gt=0, le=1, label="top-p", none_means="off",
        help="Nucleus sampling: sample from the likeliest tokens that together reach this probability.",
        paper="Holtzman et al. 2019, arXiv:1904.09751",
    )  # fmt: skip
    seed: int = knob(1, ge=0, le=2**31 - 1, label="seed", help="Seed of the random numbers: the same seed gives the same text.")


@dataclass(frozen=True)
class Token:
    """One piece of text, its probability at temperature 1, and the likeliest other tokens.

    `text` is empty while a character's bytes are not complete; `token` shows it by itself.
    """

    text: str
    token: str
    probability: float
    runners_up: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Loaded:
    model: Any
    tokenizer: Tokenizer
    config: CompleteRun


def sample(root: Path, run_id: str, step: int | None, prompt: str, config: SampleConfig) -> Iterator[Token]:
    """Stream tokens after `prompt` (empty: the model begins by itself) from a checkpoint (None: the newest).

    Raises NoSuchRun, CheckpointError, ConfigError (a prompt with characters the run has never seen).
    """
    import torch

    from models.decoding import generate

    loaded = load(root, run_id, step)
    tokenizer = loaded.tokenizer
    ids = tokenizer.encode(prompt, "prompt").tolist() or [first_token(tokenizer)]
    decoder = tokenizers.StreamDecoder(tokenizer)
    choices = generate(
        loaded.model, ids,
        max_new_tokens=config.max_new_tokens, temperature=config.temperature, top_k=config.top_k, top_p=config.top_p,
        generator=torch.Generator().manual_seed(config.seed), n_runners_up=N_RUNNERS_UP,
    )  # fmt: skip
    try:
        for choice in choices:
            yield Token(
                text=decoder.push(choice.token),
                token=tokenizer.token(choice.token),
                probability=choice.probability,
                runners_up=tuple((tokenizer.token(i), p) for i, p in choice.runners_up),
            )
    except FloatingPointError as error:
        raise CheckpointError(f"this checkpoint cannot write: {error}; choose an earlier one") from None


def note_on(run: Run, step: int) -> str:
    """What is to be said before a checkpoint writes; empty for one that has been trained."""
    if step > 0 or run.parent is not None:
        return ""
    return "These are the weights before the first step: nothing has been learnt, so what they write means nothing yet."


def newest(root: Path, run_id: str) -> int:
    """The step of a run's last checkpoint. Raises NoSuchRun, CheckpointError."""
    there = steps(root, run_id)
    if not there:
        raise NoCheckpointYet("this run has no checkpoint yet; try again when it has taken its first steps")
    return there[-1]


def steps(root: Path, run_id: str) -> list[int]:
    """The steps of a run's checkpoints, oldest first. Raises NoSuchRun."""
    return RunFolder(root, run_id).checkpoint_steps()


def load(root: Path, run_id: str, step: int | None) -> Loaded:
    """The model of a checkpoint, cached in memory. Raises NoSuchRun, CheckpointError."""
    step, there = newest(root, run_id) if step is None else step, steps(root, run_id)
    if step not in there:
        raise CheckpointError(f"run {run_id} has no checkpoint at step {step}; there are {_listing(there)}")
    return _load(root, run_id, step, stamp(root, run_id, step))


def first_token(tokenizer: Tokenizer) -> int:
    """The token that stands for an empty prompt: a line break where the tokenizer has one, else its first token."""
    try:
        return next(iter(tokenizer.encode("\n").tolist()), 0)
    except ConfigError:
        return 0


def parse_step(text: str | int | None) -> int | None:
    """A checkpoint's step from loose input; None and "latest" are the newest. Raises ConfigError."""
    if text in (None, "", "latest"):
        return None
    if isinstance(text, bool) or not re.fullmatch("[0-9]{1,12}", str(text).strip()):
        remedy = "use a whole number from 0 up, or leave it out for the newest checkpoint"
        raise ConfigError([Problem("step", f"{str(text)[:60]!r} is not a step; {remedy}")])
    return int(text)


def parse_sampling(values: dict) -> SampleConfig:
    """Raises ConfigError with every problem."""
    return parse(SampleConfig, values)


def stamp(root: Path, run_id: str, step: int) -> int:
    """Changes when a resumed run writes a checkpoint of this step anew. Raises CheckpointError."""
    try:
        return paths.info(RunFolder(root, run_id).checkpoints, step).stat().st_mtime_ns
    except FileNotFoundError:
        raise CheckpointError(f"the checkpoint of step {step} has just been thinned out; choose another one") from None


@lru_cache(maxsize=6)
def _load(root: Path, run_id: str, step: int, stamp: int) -> Loaded:
    from playground.training.checkpoints import load_model

    folder = RunFolder(root, run_id)
    config = folder.read_config()
    model = load_model(config.model, paths.weights(folder.checkpoints, step))
    return Loaded(model, tokenizers.load_file(folder.tokenizer), config)


def _listing(there: list[int]) -> str:
    return ", ".join(map(str, there)) if len(there) <= 6 else f"{', '.join(map(str, there[:3]))}, … {there[-1]}"


def example_prompt(root: Path, run: Run) -> str:
    """The prompt of a held-out example of the task that a run learns; empty for a text, or where its data are no longer there."""
    config = run.readable_config
    if config is None or not config.data.is_task or not dataset.is_prepared(config.data, root):
        return ""
    return next((prompt for prompt, _ in dataset.about(config.data, root).shown), "")
