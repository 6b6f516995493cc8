"""Whether a config is within the limits of this playground; each refusal names the limit, who sets it, and the nearest
allowed value."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from models.config import CompleteModel, complete, n_params
from models.knobs import ConfigError, Problem
from playground.config import estimate, run
from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.data import corpora
from playground.system import memory
from playground.system.files import megabytes

OURS = "this playground's limit, which its host sets"


def check_config(config: RunConfig, settings: Settings) -> None:
    """Raises ConfigError with everything that is over a limit."""
    problems = list(_over(config, settings))
    if problems:
        raise ConfigError(problems)


def _over(config: RunConfig, settings: Settings) -> Iterator[Problem]:
    # The vocabulary of a text that cannot be read is not known yet: then the smallest one gives a lower bound.
    model, train = complete(config.model, config.model.vocab_size or 1), config.train
    if n_params(model) > settings.max_params:
        over = f"{n_params(model):,} parameters are more than the {settings.max_params:,} of {OURS}"
        yield Problem("model.n_embd", f"{over}; {_smaller(model, settings.max_params)}")
    for path, value, limit, unit in (
        ("model.block_size", model.block_size, settings.max_block_size, "tokens"),
        ("train.max_steps", train.max_steps, settings.max_steps, "steps"),
        ("train.max_seconds", train.max_seconds, settings.max_seconds, "s of training"),
    ):
        if value is not None and limit is not None and value > limit:
            yield Problem(path, f"{_said(value)} {unit} are more than {OURS}; use at most {limit:,}")
    yield from _over_memory(config, model, settings)
    if corpora.from_hub(config.data.source) and not settings.hub:
        yield Problem("data.source", f"the host has switched off texts from the Hub; use {' or '.join(corpora.OFFLINE)}")


def _over_memory(config: RunConfig, model: CompleteModel, settings: Settings) -> Iterator[Problem]:
    """What the machine could not hold even if nothing else ran on it."""
    machine = memory.of_machine()
    if machine is None or not memory.trains_in_it(config.train.device):
        return
    most = machine["total"] * settings.max_memory_percent // 100

    def needed(batch_size: int) -> int:
        train = config.train.model_copy(update={"batch_size": batch_size})
        return estimate.memory_bytes(run.complete(config, model.vocab_size, None).model_copy(update={"train": train}))

    if (takes := needed(config.train.batch_size)) > most:
        fits = _largest(lambda batch_size: needed(batch_size) <= most, config.train.batch_size)
        remedy = f"use batch_size={fits} at most" if fits else "use a smaller model or context"
        over = f"about {megabytes(takes)} of memory are more than the {megabytes(most)} that runs may take"
        yield Problem("train.batch_size", f"{over} ({settings.max_memory_percent}% of this machine's, {OURS}); {remedy}")


def _said(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _smaller(model: CompleteModel, most: int) -> str:
    """Advice: the largest width and the largest depth, all else equal, with at most so many parameters."""
    step = 2 * model.n_head  # heads share the width evenly, and rotations need pairs
    wide = _largest(lambda n: n_params(model.model_copy(update={"n_embd": n * step})) <= most, model.n_embd // step)
    deep = _largest(lambda n: n_params(model.model_copy(update={"n_layer": n})) <= most, model.n_layer)
    ways = [f"n_embd={wide * step}"] * (wide > 0) + [f"n_layer={deep}"] * (deep > 0)
    return f"use at most {' or '.join(ways)}" if ways else "use fewer layers and a smaller width"


def _largest(fits: Callable[[int], bool], high: int) -> int:
    """The largest whole number up to `high` that fits; 0 where none does."""
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
