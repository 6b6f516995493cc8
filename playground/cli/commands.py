"""The command line: train, sample, resume, continue, experiment, pause, stop, runs, code, data, bench.

Exit status 0 for finished, stopped or paused, 2 for bad input, 1 for any other end. Bad input starts
nothing, and all its problems are printed together, one a line. Imports torch only to train and to sample.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from models.knobs import ConfigError, Problem, parse
from playground.cli import experiment
from playground.cli.common import database_of, existing, say, settings_of
from playground.cli.configure import CONFIG_FLAGS, MOST_RUNS, Variant, config_from, settings_from, variants
from playground.cli.flags import Flag, Typed, flags_of, number
from playground.cli.foreground import as_one_program, finite
from playground.cli.foreground import train as train_here
from playground.cli.program import Command
from playground.cli.program import main as run_program
from playground.config.gallery import DOCUMENTS
from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.data import corpora, dataset, tasks
from playground.data.config import DataConfig
from playground.runs import code as written
from playground.runs import sampler, store
from playground.runs.access import HOST
from playground.runs.creation import continuation, create_run, further, ready
from playground.runs.store import NoSuchRun, Run, Store
from playground.workers.admission import CannotDo, WrongState, must_have_ended
from playground.workers.leftovers import mark_dead_runs
from playground.workers.supervisor import Supervisor

OBEY_WITHIN_S = 15.0


def main(argv: list[str]) -> int:
    """Run one command; returns the exit status."""
    return run_program("playground", COMMANDS, argv)


def train(typed: Typed) -> int:
    began = time.monotonic()
    config, settings = config_from(typed, os.environ, _fetching(typed))
    wanted = variants(config, typed)
    together = len(wanted) > 1 and as_one_program(config)
    db = database_of(settings)
    if together:
        ids = [_new_run(typed, settings, db, config, variant) for variant in wanted]
        if not typed.as_json:
            say(f"{len(ids)} runs train here as one program; Ctrl-C stops them and keeps a checkpoint of each")
        return train_here(settings, db, ids, as_json=typed.as_json, began=began)
    worst = 0
    for i, variant in enumerate(wanted, start=1):
        run_id = _new_run(typed, settings, db, config, variant)
        if not typed.as_json:
            several = f", {i} of {len(wanted)}" if len(wanted) > 1 else ""
            say(f"run {run_id} trains here{several}; Ctrl-C stops it and keeps a checkpoint")
        worst = max(worst, train_here(settings, db, [run_id], as_json=typed.as_json, began=began))
        if db.run(run_id).state in (store.STOPPED, store.PAUSED, store.INTERRUPTED):
            break
        began = time.monotonic()
    return worst


def _new_run(typed: Typed, settings: Settings, db: Store, config: RunConfig, variant: Variant) -> str:
    preset, name = typed.text("preset") or "default", typed.text("name") or ""
    full_name = ", ".join(part for part in (name or (config.summary if variant.words else ""), variant.words) if part)
    return create_run(db, settings, variant.config, HOST, state=store.STARTING, name=full_name, preset=preset)


def _fetching(typed: Typed) -> corpora.Progress | None:
    """Prints the progress of a download, on a terminal only."""
    if typed.as_json or not sys.stderr.isatty():
        return None
    return lambda share, words: print(f"\r{words}\033[K", end="", file=sys.stderr, flush=True)


def resume(typed: Typed) -> int:
    began = time.monotonic()
    settings, db, run = _find(typed)
    if run.state not in store.RESUMABLE:
        raise WrongState(f"{run.name!r} is {run.state}; only a run that is {_either(store.RESUMABLE)} can be resumed")
    _ = run.config  # raises where this version cannot read it
    if not db.change_state(run.id, store.STARTING, store.RESUMABLE, wanted="run", ended_at=None):
        raise WrongState(f"{run.name!r} has just been resumed by somebody else")
    return train_here(settings, db, [run.id], as_json=typed.as_json, began=began)


def continue_run(typed: Typed) -> int:
    """Train a finished or stopped run further, as a new one."""
    began = time.monotonic()
    steps = int(number(typed, "steps", 0, 1, 10_000_000)) or None
    settings, db, run = _find(typed)
    must_have_ended(run)
    config = continuation(settings.root, run, steps)
    name = typed.text("name") or further(run)
    run_id = create_run(db, settings, config, HOST, state=store.STARTING, name=name, preset=run.preset, parent=run.id)
    if not typed.as_json:
        say(f"run {run_id} goes on here from the end of {run.id}; Ctrl-C stops it and keeps a checkpoint")
    return train_here(settings, db, [run_id], as_json=typed.as_json, began=began)


def pause(typed: Typed) -> int:
    settings, db, run = _find(typed)
    Supervisor(settings, db).pause(run.id, HOST)
    return _await_obedience(settings, db, [run], store.PAUSED)


def stop(typed: Typed) -> int:
    if "all" not in typed.values:
        settings, db, run = _find(typed)
        Supervisor(settings, db).stop(run.id, HOST)
        return _await_obedience(settings, db, [run], store.STOPPED)
    typed.problems = [problem for problem in typed.problems if problem.path != "RUN"]
    if typed.positionals:
        typed.problems.append(Problem("--all", f"stops every run; leave out {typed.positionals[0]!r} or --all"))
    settings = settings_of(typed)
    runs = existing(settings, lambda db: db.runs_in(store.IN_PROGRESS)) or []
    db = Store(settings.root)
    # Waiting runs first, or they would start in the place of those that end.
    for run in sorted(runs, key=lambda run: run.state != store.QUEUED):
        with contextlib.suppress(CannotDo):
            Supervisor(settings, db).stop(run.id, HOST)
    if not runs:
        print("no run is training or waiting")
    return _await_obedience(settings, db, runs, store.STOPPED)


def _await_obedience(settings: Settings, db: Store, runs: list[Run], state: str) -> int:
    """Wait until the workers have paused or stopped their runs, or are found dead."""
    deadline, status = time.monotonic() + OBEY_WITHIN_S, 0
    for run in runs:
        while (now := db.run(run.id)).state in store.ACTIVE and time.monotonic() < deadline:
            time.sleep(0.1)
            mark_dead_runs(db, settings)
        if now.state in store.ACTIVE:
            say(f"{run.id} is still {now.state}; it ends as soon as its checkpoint or validation is done")
        else:
            print(f"{run.id} ({run.name}) is {now.state}: {now.reason}")
        status = status if now.state in (state, store.FINISHED) else 1
    return status


def sample(typed: Typed) -> int:
    step, config = None, sampler.SampleConfig()
    settings = settings_from(typed, os.environ)
    try:
        step = sampler.parse_step(typed.text("step"))
    except ConfigError as error:
        typed.problems += [Problem("--step", problem.message) for problem in error.problems]
    try:
        config = sampler.parse_sampling(typed.settings)
    except ConfigError as error:
        typed.problems += [Problem(f"--{problem.path.replace('_', '-')}", problem.message) for problem in error.problems]
    if typed.problems:
        raise ConfigError(typed.problems)
    run, prompt = _existing_run(settings, typed.positionals[0]), typed.text("prompt") or ""
    run_id, there = run.id, sampler.steps(settings.root, run.id)
    if not there or step not in (None, *there):
        listed = ", ".join(map(str, there)) or "none yet"
        raise CannotDo(f"--step: run {run_id} has no such checkpoint; its checkpoints: {listed}")
    step = there[-1] if step is None else step
    tokens, note = sampler.sample(settings.root, run_id, step, prompt, config), sampler.note_on(run, step)
    if typed.as_json:
        return _sample_json(run_id, step, prompt, tokens, note)
    if note:
        say(note)
    return _sample_text(prompt, tokens)


def _sample_json(run_id: str, step: int, prompt: str, tokens, note: str) -> int:
    tokens = list(tokens)
    text = "".join(token.text for token in tokens)
    shown = [vars(token) for token in tokens]
    print(json.dumps({"run_id": run_id, "step": step, "prompt": prompt, "text": text, "tokens": shown, "note": note}))
    return 0


def _sample_text(prompt: str, tokens) -> int:
    """The prompt is printed with the first token, when it is known that the run's tokenizer can encode it."""
    for i, token in enumerate(tokens):
        print(prompt if i == 0 else "", token.text, sep="", end="", flush=True)
    print()
    return 0


def runs(typed: Typed) -> int:
    settings = settings_of(typed)
    found = existing(settings, _all_runs(settings)) or []
    rows = [_row(run) for run in found]
    print(json.dumps(rows) if typed.as_json else _table(settings, rows))
    return 0


def _all_runs(settings: Settings) -> Callable[[Store], list[Run]]:
    def read_all(db: Store) -> list[Run]:
        mark_dead_runs(db, settings)
        return db.runs()

    return read_all


def _row(run: Run) -> dict:
    names = (
        "name", "state", "reason", "cause", "step", "train_loss", "eval_loss", "best_eval_loss", "val_loss", "tokens_per_s", "seconds",
        "n_params", "parent", "preset", "threads", "device", "created_at", "started_at", "ended_at",
    )  # fmt: skip
    config = run.readable_config
    limits = {name: config and getattr(config.train, name) for name in ("max_steps", "max_seconds")}
    return {"run_id": run.id, **{name: finite(getattr(run, name)) for name in names}, **limits}


def _table(settings: Settings, rows: list[dict]) -> str:
    if not rows:
        return f"no runs in {settings.root} yet; start one with python -m playground train"
    lines = [f"{'run':10}  {'state':11}  {'step':>9}  {'train loss':>10}  {'held out':>8}  {'tokens/s':>9}  name"]
    for row in rows:
        train, val, sample, speed = (
            None if row[key] is None else format(row[key], form)
            for key, form in (("train_loss", ".4f"), ("val_loss", ".4f"), ("eval_loss", ".3f"), ("tokens_per_s", ",.0f"))
        )
        held_out = val or (f"~{sample}" if sample else "-")  # while it trains, from a sample
        numbers = f"{row['step']:>9,}  {train or '-':>10}  {held_out:>8}  {speed or '-':>9}"
        lines.append(f"{row['run_id']}  {row['state']:11}  {numbers}  {row['name']}")
    return "\n".join(lines)


def code(typed: Typed) -> int:
    """Print the script of a run, or the code of the design that the flags ask for."""
    if typed.positionals:
        if typed.settings or typed.values.keys() & {"preset", "config", "loop"}:
            typed.problems.append(Problem("RUN", f"a run has its settings; leave out {typed.positionals[0]!r} or the flags"))
        settings, _, run = _find(typed)
        text = written.of_run(run, settings.root)
    else:
        typed.problems = [problem for problem in typed.problems if problem.path != "RUN"]
        config, settings = config_from(typed, os.environ, _fetching(typed))
        text = written.of_design(ready(config, settings), settings.root, training="loop" in typed.values)
    print(json.dumps({"code": text}) if typed.as_json else text, end="\n" if typed.as_json else "")
    return 0


def data(typed: Typed) -> int:
    settings = settings_of(typed)
    with tempfile.TemporaryDirectory(prefix="playground-") as staging:  # listing the data must not create the root
        root = settings.root if settings.root.exists() else Path(staging)
        texts = [_text(name, root) for name in corpora.BUILT_IN]
    found = [*texts, *(_task(source, task) for source, task in tasks.TASKS.items())]
    if typed.as_json:
        print(json.dumps(found))
        return 0
    for each in found:
        print(f"{each['source']}: {each['about']}")
        for name, sizes in each.get("tokenizers", {}).items():
            print(f"    --data.tokenizer {name}: {sizes['n_tokens']:,} tokens, vocabulary {sizes['vocab_size']:,}")
        for name, default in each.get("settings", {}).items():
            print(f"    --data.{name} {default}")
    print("hub:OWNER/NAME:PATH or hub:OWNER/NAME:PATH:FIELD: a file of a public dataset on the Hugging Face Hub")
    print("a path to a text file in UTF-8, on the command line only: --data.source PATH")
    return 0


def _text(name: str, root: Path) -> dict:
    """A built-in text, with its sizes where it is on this machine."""
    source, kinds = corpora.BUILT_IN[name], ("char", "byte")
    configs = {kind: parse(DataConfig, {"source": name, "tokenizer": kind}) for kind in kinds if corpora.is_here(name, root)}
    known = {kind: dataset.about(config, root) for kind, config in configs.items()}
    sizes = ("n_chars", "n_tokens", "n_held_out", "vocab_size", "floor", "fingerprint")
    return {
        "source": name,
        "title": corpora.title(name),
        "about": source.about,
        "needs_network": source.wanted is not None,
        "tokenizers": {kind: {size: getattr(about, size) for size in sizes} for kind, about in known.items()},
    }


def _task(source: str, task: tasks.Task) -> dict:
    defaults = DataConfig(source=source).model_dump()
    settings = {name: defaults[name] for name in task.knobs}
    return {"source": source, "title": task.title, "about": f"{task.rule} {task.about}", "paper": task.paper, "settings": settings}


def bench(typed: Typed) -> int:
    """Measure in a temporary folder, then print one table or one JSON object."""
    seconds, pairs = number(typed, "seconds", 10.0, 1, 3600), int(number(typed, "pairs", 3, 1, 100))
    repeat, checkout = int(number(typed, "repeat", 1, 1, MOST_RUNS)), typed.text("against")
    if checkout is not None or "gpu" in typed.values:
        typed.values.setdefault("preset", "nanogpt-cpu")
    with tempfile.TemporaryDirectory(prefix="playground-bench-") as folder:
        typed.values["root"] = folder
        config, settings = config_from(typed, os.environ)
        timed = config.model_copy(update={"train": config.train.model_copy(update={"max_steps": None, "max_seconds": seconds})})
        if (browser := typed.text("browser")) is not None:
            from playground.bench import page

            found = page.measure_page(settings, browser, typed.text("view"), seconds)
            said, words = page.as_json(found), page.table(found)
        elif "experiment" in typed.values:
            from playground.bench import experiment

            timings = experiment.measure(settings, pairs, checkout, config.data.source)
            said, words = experiment.as_json(timings), experiment.table(timings)
        elif checkout is not None:
            from playground.bench import against

            recipe, compared = against.measure(settings, checkout, config.data.source, pairs)
            said, words = against.as_json(recipe, compared), against.table(recipe, compared)
        elif "estimates" in typed.values:
            from playground.bench import estimates

            found = estimates.measure(settings, seconds, pairs)
            said, words = estimates.as_json(found), estimates.table(found)
        elif "gpu" in typed.values:
            from playground.bench import gpu

            figures = gpu.measure(settings, config.data.source)
            said, words = gpu.as_json(figures), gpu.table(figures)
        elif repeat > 1:
            from playground.bench import stacked

            speeds = stacked.measure(timed, settings, repeat, pairs)
            said, words = stacked.as_json(speeds, repeat), stacked.table(speeds, repeat)
        else:
            from playground.bench import rows

            results = rows.measure(timed, settings, pairs)
            said, words = rows.as_json(results), rows.table(results, seconds)
    print(said if typed.as_json else words)
    return 0


def _find(typed: Typed) -> tuple[Settings, Store, Run]:
    """The run that was named, after runs whose worker is gone were marked. Raises ConfigError, NoSuchRun."""
    settings = settings_of(typed)
    return settings, Store(settings.root), _existing_run(settings, typed.positionals[0])


def _existing_run(settings: Settings, named: str) -> Run:
    """The run with this id, or else the only one with this name. Raises NoSuchRun, CannotDo where several have it."""

    def look(db: Store) -> list[Run]:
        mark_dead_runs(db, settings)
        runs = db.runs()
        return [run for run in runs if run.id == named] or [run for run in runs if run.name == named]

    found = existing(settings, look) or []
    if not found:
        raise NoSuchRun(named)
    if len(found) > 1:
        raise CannotDo(f"{len(found)} runs are called {named[:60]!r}; name one by its id: {', '.join(run.id for run in found[:6])}")
    return found[0]


def _either(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


SAMPLE_FLAGS = (
    Flag("step", "N", "The step of the checkpoint to sample from. (default: the newest)"),
    Flag("prompt", "TEXT", "The text to continue. (default: none)"),
    *flags_of(sampler.SampleConfig(), dashes=True),
)
BENCH_FLAGS = (
    Flag("seconds", "X", "Length of each measurement, in seconds of training. (default 10, from 1 up to 3,600)"),
    Flag("pairs", "N", "How many times each row is measured. (default 3, from 1 up to 100)"),
    Flag("repeat", "N", "Instead, compare N runs trained together as one program with one run alone."),
    Flag("gpu", "", "Instead, measure what this machine's GPU does, on the text of --data.source."),
    Flag("estimates", "", "Instead, compare the estimated time of a step with the measured one, for runs of several shapes."),
    Flag("experiment", "", "Instead, time an experiment of six runs in the app; with --against also six runs of nanoGPT's script."),
    Flag("browser", "PATH", "Instead, measure the load of the Inside tab in this Chromium, --seconds long for each view."),
    Flag("view", "NAME", "With --browser: measure this view of the tab only."),
    Flag("against", "PATH", "Instead, compare with the training script of this checkout of nanoGPT, on the text of --data.source."),
    *CONFIG_FLAGS,
)
NAME = Flag("name", "NAME", "The name of the run. (default: a summary of its model)")
REPEAT = Flag(
    "repeat", "N", "Train N runs with consecutive seeds: on a GPU together as one program, else one after the other. (default 1, up to 64)"
)
VARY = Flag("vary", "SETTING=A,B", "Train one run per value of a setting of optim, or of train.seed; with --repeat, several per value.")
ALL = Flag("all", "", "All runs that train or wait.")
LOOP = Flag("loop", "", "The training loop below the model, as a run of these settings trains it.")
COMMANDS = {
    "train": Command(
        "train [--preset NAME] [--config FILE] [--model.n_layer 4 ...] [--repeat N] [--vary optim.lr=A,B] [--name NAME] [--json]",
        "Train a new run in this terminal. Flags override the config file, which overrides the preset. --data.source may also be a path.",
        train, (NAME, REPEAT, VARY, *CONFIG_FLAGS),
    ),
    "sample": Command(
        "sample RUN [--step N] [--prompt TEXT] [--max-new-tokens N] [--temperature X] [--top-k N] [--top-p X] [--seed N] [--json]",
        "Sample text from a checkpoint of a run.", sample, SAMPLE_FLAGS, ("RUN",),
    ),
    "resume": Command(
        "resume RUN [--json]", "Train a run that was paused, stopped or interrupted further, in this terminal.", resume, (), ("RUN",)
    ),
    "continue": Command(
        "continue RUN [--steps N] [--name NAME] [--json]",
        "Train a finished or stopped run further, in this terminal, as a new run that starts from its last checkpoint.",
        continue_run, (Flag("steps", "N", "How many steps more. (default: as many as it was to have)"), NAME), ("RUN",),
    ),
    "experiment": Command(
        "experiment FILE|NAME|ID [--predict lower|higher|same] [--seeds N] [--thorough] [--show] [--json]",
        f"Train all runs of an experiment in this terminal and judge its claims. NAME is a ready one: {', '.join(DOCUMENTS)}; "
        "ID goes on with one that was cut off.",
        experiment.command, experiment.FLAGS, ("FILE|NAME|ID",),
    ),
    "pause": Command("pause RUN", "Pause a run: its worker saves a checkpoint and ends; `resume` continues it.", pause, (), ("RUN",)),
    "stop": Command("stop RUN|--all", "Stop a run, or all runs; each keeps a checkpoint.", stop, (ALL,), ("RUN",)),
    "runs": Command("runs [--json]", "List all runs, newest first.", runs),
    "code": Command(
        "code RUN | code [--preset NAME] [--model.n_layer 4 ...] [--loop] [--json]",
        "Print a run as one file of Python that trains it and prints its losses, or the PyTorch code of the model that the flags describe.",
        code, (LOOP, *CONFIG_FLAGS), ("RUN",),
    ),
    "data": Command("data [--json]", "List the built-in texts and tasks, with their settings.", data),
    "bench": Command(
        "bench [--seconds X] [--pairs N] [--preset NAME] [--model.n_layer 4 ...] [--json] [--repeat N|--gpu|--estimates|--experiment|"
        "--browser PATH|--against PATH]",
        "Measure the training speed beside a bare PyTorch loop, and the time to the first loss.", bench, BENCH_FLAGS,
    ),
}  # fmt: skip
