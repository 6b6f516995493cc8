"""Creates a run: fetches its data, completes and checks its config, makes its folder and its row in the store. Starts nothing."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.config import CompleteModel, n_params
from models.graph import graph
from models.knobs import ConfigError, Problem, parse
from playground.config import limits, run
from playground.config.presets import name_of
from playground.config.run import CompleteRun, RunConfig
from playground.config.settings import Settings
from playground.data import corpora, dataset, tokenizers
from playground.data.config import UPLOAD
from playground.data.errors import CorpusError
from playground.data.tokenizers import Tokenizer
from playground.runs import store
from playground.runs.access import Visitor
from playground.runs.folder import RunFolder, clean_name
from playground.runs.store import Member, Run, Store


def create_run(
    db: Store, settings: Settings, config: RunConfig, visitor: Visitor, *,
    state: str, name: str = "", preset: str = "", parent: str | None = None, private: bool = False, member: Member | None = None,
    threads: int | None = None, parent_step: int | None = None,
) -> str:  # fmt: skip
    """Complete and check a config, write its folder, add it to the store. Raises ConfigError and starts nothing."""
    visitor.must_be_known()
    completed = ready(config, settings)
    about: dict[str, Any] = {"state": state, "name": name, "preset": preset, "parent": parent, "private": private, "member": member}
    return add_run(db, settings.root, completed, visitor, threads=threads, parent_step=parent_step, **about)


def ready(config: RunConfig, settings: Settings) -> CompleteRun:
    """The config completed and checked, its data fetched and prepared, which may take minutes. Raises ConfigError."""
    check_early(config, settings)
    fetch(config, settings)
    return checked(config, settings)


def add_run(
    db: Store, root: Path, completed: CompleteRun, visitor: Visitor, *,
    state: str, name: str = "", preset: str = "", parent: str | None = None, private: bool = False, member: Member | None = None,
    threads: int | None = None, parent_step: int | None = None,
) -> str:  # fmt: skip
    """Write the folder of a run whose config is complete, and add it to the store; returns its id."""
    run_id = store.new_run_id()
    folder = RunFolder(root, run_id)
    with folder.created(completed):
        try:
            db.add_run(
                run_id, name=clean_name(name) or numbered(name_of(completed, preset), db), owner=visitor.id,
                config=completed.model_dump_json(),
                n_params=n_params(completed.model), state=state, preset=preset, parent=parent, private=private, member=member,
                threads=threads, parent_step=parent_step,
            )  # fmt: skip
        except BaseException:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise
    return run_id


def continuation(root: Path, run: Run, steps: int | None = None) -> RunConfig:
    """The config of a new run that trains this one further: without a warm-up, and with other `steps` where they are given. Raises
    ConfigError."""
    tree = RunFolder(root, run.id).read_config().model_dump()
    tree["optim"]["warmup_steps"] = 0
    if steps is not None:
        tree["train"] |= {"max_steps": steps, "max_seconds": None}
    return parse(RunConfig, tree)


def check_fork(root: Path, parent: Run, step: int, child: CompleteRun, name: str | None = None) -> None:
    """Raises ConfigError where a run cannot start from the weights of another one at this step: they must fit the model, and its tokens
    must mean the same. `name`: of the other one, where not its own may be said."""
    problems, own = [], RunFolder(root, parent.id)
    if step not in own.checkpoint_steps():
        problems.append(Problem("parent_step", f"run {parent.id} has no checkpoint of step {step:,}"))
    problems += misfits(name or repr(parent.name), parent.config.model, tokenizers.load_file(own.tokenizer), child, root)
    if problems:
        raise ConfigError(problems)


def misfits(name: str, model: CompleteModel, tokenizer: Tokenizer, child: CompleteRun, root: Path) -> list[Problem]:
    """Why a run cannot start from the weights of a model that reads these tokens; empty where it can. `name`: of the model, in words."""
    if _weights(child.model) != _weights(model):
        return [Problem("model", f"the weights of {name} do not fit this architecture; change only what has no weights, such as dropout")]
    if tokenizer.to_json() != dataset.tokenizer(child.data, root).to_json():
        return [Problem("data", f"the tokens of {name} mean something else with these data; keep its text and tokenizer")]
    return []


def _weights(model: CompleteModel) -> tuple[int, list[tuple[str, int]]]:
    """In how many different layers a model has weights, where, and how many."""
    drawn = graph(model)
    return drawn.n_distinct, [(node.module, node.params) for node in drawn.nodes if node.params]


def further(run: Run) -> str:
    """The name of a run that trains this one further."""
    return f"{run.name} (further)"


def check_early(config: RunConfig, settings: Settings) -> None:
    """Refuse what is over a limit before its data are fetched or prepared, which may take minutes. Where neither is to be done,
    `checked` finds all problems together. Raises ConfigError."""
    source, root = config.data.source, settings.root
    if UPLOAD.fullmatch(source) and not corpora.size_of(root, source):
        return
    if not corpora.is_here(source, root) or not dataset.is_prepared(config.data, root):
        limits.check_config(config, settings)


def fetch(config: RunConfig, settings: Settings, progress: corpora.Progress | None = None) -> None:
    """Download a config's text from the Hub if it is not here yet and downloads are allowed. Raises ConfigError."""
    if settings.hub and not corpora.is_here(config.data.source, settings.root):
        corpora.fetch(config.data.source, settings.root, settings.max_upload_bytes, progress)


def checked(config: RunConfig, settings: Settings) -> CompleteRun:
    """The config completed from its data and checked against the limits. Raises ConfigError with every problem. Downloads nothing."""
    problems: list[Problem] = []
    completed = None
    with collecting(problems):
        completed = complete(config, settings.root)
        check_probe(completed, settings.root)
    with collecting(problems):
        limits.check_config(completed or config, settings)
    if problems or completed is None:
        raise ConfigError(problems)
    return completed


def complete(config: RunConfig, root: Path) -> CompleteRun:
    """Fill in what follows from the data, and check that it is long enough; raises ConfigError."""
    known = dataset.about(config.data, root)
    dataset.check_length(known, config.model)
    if config.data.fingerprint not in (None, known.fingerprint):
        raise CorpusError(
            f"the data are not those this configuration was made with (fingerprint {known.fingerprint}, not {config.data.fingerprint}: "
            "another Python version, perhaps); start a new run"
        )
    return run.complete(config, known.vocab_size, known.fingerprint)


@contextlib.contextmanager
def collecting(problems: list[Problem]) -> Iterator[None]:
    """Append the problems of a ConfigError to a list instead of raising it."""
    try:
        yield
    except ConfigError as error:
        problems += error.problems


def check_probe(config: RunConfig, root: Path) -> None:
    """Raises UnknownCharacters where the probe text cannot be read by the run's tokenizer."""
    if config.probe.text is None:
        return
    tokenizer = dataset.tokenizer(config.data, root)
    if not len(tokenizer.encode(config.probe.text, "probe.text")):
        raise ConfigError([Problem("probe.text", "the probe text is empty; write at least one character, or leave the choice to the run")])


def numbered(name: str, db: Store) -> str:
    """The name, with a number appended where another run already has it."""
    taken = {each.name for each in db.runs()}
    return next(new for new in (name, *(f"{name} #{n}" for n in range(2, len(taken) + 3))) if new not in taken)
