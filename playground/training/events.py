"""What a training run reports, as frozen types. Knows nothing of where they go.

Steps count optimizer updates, `tokens` those trained on so far, `seconds` training time since
the run's first step (pauses left out), losses are in nats per token.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, ClassVar


@dataclass(frozen=True)
class Event:
    """`kind` names the type in storage; `step` says where in the run it belongs."""

    kind: ClassVar[str]
    step: int

    def to_json(self) -> str:
        """The fields but `step`; NaN and infinity are written as Python's json does and read back by it."""
        body = asdict(self)
        del body["step"]
        return json.dumps(body, separators=(",", ":"))


@dataclass(frozen=True)
class Progress(Event):
    """The mean over the steps since the last one: loss before each update, gradient norm before clipping."""

    kind: ClassVar[str] = "progress"
    tokens: int
    seconds: float
    loss: float
    grad_norm: float
    lr: float
    tokens_per_s: float


@dataclass(frozen=True)
class Validation(Event):
    """Held-out loss over `n_tokens` tokens: of the held-out sample, or of the `whole` split.

    `bits_per_byte` is the same loss per UTF-8 byte of text, which does not depend on how the text is cut into tokens; `error` the
    standard error of `loss` as an estimate of that of the whole split; `by_group` the nats of each passage, or example, of the sample.
    """

    kind: ClassVar[str] = "validation"
    loss: float
    n_tokens: int
    whole: bool
    seconds: float
    bits_per_byte: float | None = None
    error: float = 0.0
    by_group: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Accuracy(Event):
    """Of a task, on unseen examples. `token`: share of the answers' tokens that are the model's likeliest token; `answer`: share of
    answers all of whose tokens are; `by_size[i]`: the same as `answer`, among examples of `sizes[i]` units. `whole` as of `Validation`."""

    kind: ClassVar[str] = "accuracy"
    token: float
    answer: float
    n_examples: int
    sizes: list[int]
    by_size: list[float | None]
    seconds: float
    whole: bool = False


@dataclass(frozen=True)
class Answers(Event):
    """The same few held-out prompts with the right answers and the model's likeliest tokens, each predicted from the right
    tokens before it (teacher forcing)."""

    kind: ClassVar[str] = "answers"
    prompts: list[str]
    expected: list[str]
    given: list[str]


@dataclass(frozen=True)
class Facts(Event):
    """What is known of the data before the run: see `dataset.About`, whose fields these are; None where unknown."""

    kind: ClassVar[str] = "facts"
    source: str
    data: str
    title: str
    edition: str
    fingerprint: str
    floor: float | None
    floor_bits: float | None
    ceiling: float | None
    exact: bool
    unit: str
    trained_size: int | None
    lines: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample(Event):
    """What the model wrote at this step, after `prompt`, at temperature 0.8 and always the same seed."""

    kind: ClassVar[str] = "sample"
    prompt: str
    text: str


@dataclass(frozen=True)
class Probed(Event):
    """The file of a probe has been published. `values` is what was measured on the text's first
    `n_tokens` tokens, and of the last training step: see `playground.inside.quantities`."""

    kind: ClassVar[str] = "probe"
    text_hash: str
    n_tokens: int
    tokens: int
    seconds: float
    values: dict[str, dict[str, list]]


@dataclass(frozen=True)
class Checkpoint(Event):
    """The checkpoint of this step has been published; the losses are those of the curves there."""

    kind: ClassVar[str] = "checkpoint"
    train_loss: float | None
    eval_loss: float | None


@dataclass(frozen=True)
class Notice(Event):
    """Something a person should know, in one sentence."""

    kind: ClassVar[str] = "notice"
    text: str


KINDS: dict[str, type[Event]] = {
    cls.kind: cls for cls in (Progress, Validation, Accuracy, Answers, Facts, Sample, Probed, Checkpoint, Notice)
}


def defaults(kind: str) -> dict[str, Any]:
    """Of the fields that events of earlier versions may lack; none of a kind that is not known."""
    empty: dict[str, Any] = {}
    for each in fields(KINDS[kind]) if kind in KINDS else ():
        if each.default is not MISSING:
            empty[each.name] = each.default
        elif each.default_factory is not MISSING:
            empty[each.name] = each.default_factory()
    return empty


def from_json(kind: str, step: int, body: str) -> Event:
    """The inverse of `to_json`."""
    return KINDS[kind](step=step, **json.loads(body))
