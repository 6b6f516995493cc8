"""Trains runs in this process, with a progress bar: for the commands `train` and `resume`.

Knows nothing of flags. Ctrl-C stops the runs with a checkpoint; a second one ends them at once.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
import time
from typing import Any

from models.knobs import ConfigError, Problem
from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.runs import store
from playground.runs.folder import RunFolder
from playground.runs.store import Run, Store
from playground.system.cores import calm_threads
from playground.training.outcome import Cause
from playground.workers import worker
from playground.workers.leftovers import Death, mark_dead
from playground.workers.supervisor import threads_for

GOOD_ENDS = (store.FINISHED, store.STOPPED, store.PAUSED)


class Interruption(worker.Interruption):
    """As a worker's, but a second signal ends the process at once."""

    def on(self, number: int, wanted: str) -> None:
        def note(*_):
            if self.wanted is not None:
                raise KeyboardInterrupt
            self.wanted = wanted

        signal.signal(number, note)


class Bar:
    """The progress of a run on a terminal."""

    def __init__(self, run: Run, enabled: bool):
        self.bar, self.eval_loss = None, None
        train = run.config.train
        self.by_steps = train.max_steps is not None
        if enabled:
            from tqdm import tqdm

            total, unit = (train.max_steps, " steps") if self.by_steps else (train.max_seconds, " s")
            layout = "{n:.0f} of {total:.0f}" + unit + " |{bar}| {desc} [{elapsed}, {remaining} left]"
            self.bar = tqdm(total=total, initial=run.step if self.by_steps else run.seconds, bar_format=layout, dynamic_ncols=True)

    def __call__(self, event: Any) -> None:
        """Update the bar. Errors are ignored, because a terminal that was closed must not end the training."""
        if event.kind == "validation" and not event.whole:
            self.eval_loss = event.loss
        if self.bar is not None and event.kind == "progress":
            with contextlib.suppress(OSError, ValueError):
                held_out = "" if self.eval_loss is None else f", held out {self.eval_loss:.3f}"
                self.bar.set_description_str(f"loss {event.loss:.3f}{held_out} nats, {event.tokens_per_s:,.0f} tokens/s", refresh=False)
                self.bar.update((event.step if self.by_steps else event.seconds) - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            with contextlib.suppress(OSError, ValueError):
                self.bar.close()


def as_one_program(config: RunConfig) -> bool:
    """Whether several runs of this shape train as one program: on a GPU. Raises ConfigError where they cannot, or the device is
    not there."""
    os.environ.update(calm_threads(os.environ))
    from playground.training.devices import choose_device

    if choose_device(config.train.device).type != "cuda":
        return False
    model = config.model
    if max(model.p_embd_dropout, model.p_attn_dropout, model.p_resid_dropout) > 0:
        remedy = "set model.dropout=0 (and embd_dropout, attn_dropout, resid_dropout), or train.device=cpu"
        raise ConfigError([Problem("model.dropout", f"runs that train together on a GPU cannot use dropout; {remedy}")])
    return True


def train(settings: Settings, db: Store, run_ids: list[str], *, as_json: bool, began: float) -> int:
    """Train runs that are `starting` to their ends, several as one program; prints the outcomes and returns the exit status."""
    outcomes = to_the_end(settings, db, run_ids, shown=not as_json)
    ended = [db.run(run_id) for run_id in run_ids]
    for run in ended:
        if as_json:
            print(json.dumps(_result(run, outcomes.get(run.id), time.monotonic() - began)))
        else:
            print(_summary(settings, run))
    return 0 if all(run.state in GOOD_ENDS for run in ended) else 1


def to_the_end(settings: Settings, db: Store, run_ids: list[str], *, shown: bool) -> dict:
    """The outcomes of runs that are `starting` and train here, several as one program; with a bar where it is `shown` on a terminal."""
    os.environ.update(calm_threads(os.environ))
    interruption, runs = Interruption(), [db.run(run_id) for run_id in run_ids]
    for number, wanted in ((signal.SIGINT, "stop"), (signal.SIGTERM, "interrupt"), (signal.SIGHUP, "interrupt")):
        interruption.on(number, wanted)
    bars = {run.id: Bar(run, enabled=shown and sys.stderr.isatty() and i == 0) for i, run in enumerate(runs)}
    threads = threads_for(settings, len([other for other in db.runs_in(store.ACTIVE) if other.id not in run_ids]))
    try:
        outcomes = _execute(settings, bars, threads, interruption)
    except KeyboardInterrupt:
        for run in runs:
            mark_dead(db, settings.root, run, Death(Cause.SIGNAL, "it was ended at once from the terminal"))
        outcomes = {}
    finally:
        for bar in bars.values():
            bar.close()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    return outcomes


def _execute(settings: Settings, bars: dict[str, Bar], threads: int, interruption: Interruption) -> dict:
    if len(bars) > 1:
        return worker.execute_together(settings.root, bars, threads, interruption)
    return {run_id: worker.execute(settings.root, run_id, threads, interruption, bar) for run_id, bar in bars.items()}


def finite(value: Any) -> Any:
    """The value, with None for NaN and infinity, which are not JSON."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _result(run: Run, outcome: Any, elapsed_s: float) -> dict:
    result = {
        "run_id": run.id,
        "name": run.name,
        "state": run.state,
        "reason": run.reason,
        "cause": run.cause,
        "steps": run.step,
        "n_params": run.n_params,
        "train_loss": run.train_loss,
        "val_loss": run.val_loss,
        "eval_loss": run.eval_loss,
        "best_eval_loss": run.best_eval_loss,
        "tokens_per_s": run.tokens_per_s if outcome is None else outcome.tokens_per_s,
        "seconds": run.seconds,
        "elapsed_s": round(elapsed_s, 3),
        "threads": run.threads,
        "device": run.device,
    }
    return {name: finite(value) for name, value in result.items()}


def _summary(settings: Settings, run: Run) -> str:
    """How the run ended, in words, and the commands for what can be done with it next."""
    folder = RunFolder(settings.root, run.id)
    lines = [f"run {run.id} ({run.name}) is {run.state}: {run.reason}"]
    lines.append(f"  {run.step:,} steps in {run.seconds:.1f} s of training, {run.n_params:,} parameters")
    if run.train_loss is not None:
        lines.append(f"  training loss    {run.train_loss:.4f} nats per token")
    if run.val_loss is not None:
        lines.append(f"  held-out loss    {run.val_loss:.4f} nats per token, over the whole held-out text")
    lines.append(f"  kept in {folder.path}")
    if folder.checkpoint_steps():
        lines.append(f"  sample from it:  {command(settings, 'sample', run.id)}")
    if run.state in store.RESUMABLE:
        lines.append(f"  resume it:       {command(settings, 'resume', run.id)}")
    return "\n".join(lines)


def command(settings: Settings, *words: str) -> str:
    """A command line of the playground for this root, to copy."""
    import shlex

    return shlex.join(["python", "-m", "playground", *words, "--root", str(settings.root)])
