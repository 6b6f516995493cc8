"""What the parts of the API share: who asks and for which run, how values are checked, and the types of what is asked for."""

from __future__ import annotations

from typing import Annotated, TypedDict

from models.knobs import ConfigError, Problem
from playground.config.presets import PRESETS, Preset, with_source
from playground.runs import store
from playground.runs.access import Visitor, new_key
from playground.ui.common import Services

MAX_TEXT = 20_000
MAX_KEY, MAX_NAME = 100, 60

Section = dict[str, str | int | float | bool | None]


class Config(TypedDict, total=False):
    """What is asked for of a run, by section. What is left out comes from the preset, or from the run that is forked."""

    model: Annotated[Section, "the architecture: n_layer, n_head, n_embd, block_size, norm_placement …"]
    data: Annotated[Section, "what is learnt from: source, tokenizer …"]
    optim: Annotated[Section, "how: name, lr, warmup_steps, schedule, weight_decay …"]
    train: Annotated[Section, "how long: max_steps, max_seconds, batch_size, seed, eval_interval …"]
    probe: Annotated[Section, "what is looked at meanwhile: text, interval …"]


UNCHANGED: Config = {}


class Wrong(TypedDict):
    """One thing that is wrong with what was asked for."""

    setting: Annotated[str, "such as model.n_head; empty where it is no single one"]
    message: Annotated[str, "what is wrong with it, and what to do"]


EXAMPLES: dict[str, object] = {
    "config": {"model": {"n_layer": 2}, "train": {"max_steps": 200}},
    "run_id": "hhig22zhni",
    "experiment_id": "4n5jzphvpw",
    "owner_key": "the owner_key that /start_run returned",
    "name": "two layers",
    "prompt": "Once upon a time",
    "text": "Once upon a time, a frog lived by the mill.",
    "step": 200,
    "section": "model",
    "top_k": 40,
    "top_p": 0.9,
    "limit": 10,
    "action": "stop",
    "off": "head:1.2",
    "position": 6,
    "token": " a",
    "source": "upload:" + "0" * 64,
    "private": False,
    "prediction": "lower",
    "document": {
        "title": "Depth", "question": "Are four layers better than two?",
        "arms": [{"name": "two", "changes": {"model.n_layer": 2}}, {"name": "four", "changes": {"model.n_layer": 4}}],
        "budget": {"unit": "steps", "amount": 200}, "claims": [{"kind": "lower", "arm": "four", "than": "two", "delta": 0.02}],
    },
}  # fmt: skip


class Part:
    """Base of the parts: each public method is an endpoint."""

    def __init__(self, services: Services):
        self.services = services
        self.db, self.root = services.db, services.settings.root

    def _visitor(self, key: object) -> Visitor:
        return self.services.visitor(text(key, "owner_key", MAX_KEY))

    def _run(self, run_id: object, key: object) -> store.Run:
        """Raises NoSuchRun, also for somebody else's private run."""
        return self.services.access.run(text(run_id, "run_id", MAX_KEY), self._visitor(key))


def key_of(owner_key: object) -> str:
    """The key that was sent, or a new one where none was."""
    return text(owner_key, "owner_key", MAX_KEY) or new_key()


def preset_named(name: object) -> Preset:
    """Raises ConfigError with the names that there are."""
    asked = text(name, "preset", MAX_NAME)
    if asked not in PRESETS:
        raise ConfigError([Problem("preset", f"there is no preset {asked!r}; use one of {', '.join(PRESETS)}")])
    return PRESETS[asked]


def merged(base: dict, changes: object) -> dict:
    """`base` overridden by the sections and knobs of `changes`; unknown ones are kept, so that they are reported as problems."""
    if not isinstance(changes, dict):
        raise ConfigError([Problem("config", "a config is an object with the sections model, data, optim, train and probe")])
    result = dict(with_source(base, changes))
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[str(name)] = {**result[name], **value} if both else value
    return result


def text(value: object, name: str, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise ConfigError([Problem(name, f"a text of at most {longest:,} characters is needed")])
    return value


def whole(value: object, name: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError([Problem(name, f"a whole number from {least:,} to {most:,} is needed")])
    return value


def told(problems: list[Problem]) -> list[Wrong]:
    """None of the fields may be called path: Gradio's client takes such an object for a file, and downloads it."""
    return [{"setting": problem.path, "message": problem.message} for problem in problems]
