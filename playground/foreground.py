"""A run trained in this very process, with a progress bar: what `train` and `resume` do.

Knows nothing of flags. Ctrl-C stops the run with a checkpoint; a second one ends it at once.
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

from playground import store, worker
from playground.runs import RunFolder
from playground.settings import Settings, calm_threads
from playground.store import Run, Store
from playground.supervisor import mark_dead, threads_for

GOOD_ENDS = (store.FINISHED, store.STOPPED, store.PAUSED)


class Interruption(worker.Interruption):
    """As a worker's, but asking twice ends the process at once."""

    def on(self, number: int, wanted: str) -> None:
        def note(*_):
            if self.wanted is not None:
                raise KeyboardInterrupt
            self.wanted = wanted

        signal.signal(number, note)


class Bar:
    """The progress of a run on a terminal."""

    def __init__(self, run: Run, enabled: bool):
        self.bar, self.whole_val_loss, self.val_loss = None, None, None
        self.train = run.config["train"]
        self.by_steps = self.train["max_steps"] is not None
        if enabled:
            from tqdm import tqdm

            total, unit = (self.train["max_steps"], " steps") if self.by_steps else (self.train["max_seconds"], " s")
            layout = "{n:.0f} of {total:.0f}" + unit + " |{bar}| {desc} [{elapsed}, {remaining} left]"
            self.bar = tqdm(total=total, initial=run.step if self.by_steps else run.seconds, bar_format=layout, dynamic_ncols=True)

    def __call__(self, event: Any) -> None:
        """A terminal that has gone away must not end the training."""
        if event.kind == "validation":
            self.val_loss = event.loss
            self.whole_val_loss = event.loss if event.whole else None
        if self.bar is not None and event.kind == "progress":
            with contextlib.suppress(OSError, ValueError):
                val = "" if self.val_loss is None else f", val {self.val_loss:.3f}"
                self.bar.set_description_str(f"loss {event.loss:.3f}{val} nats, {event.tokens_per_s:,.0f} tokens/s", refresh=False)
                self.bar.update((event.step if self.by_steps else event.seconds) - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            with contextlib.suppress(OSError, ValueError):
                self.bar.close()


def train(settings: Settings, db: Store, run_id: str, *, as_json: bool, began: float) -> int:
    """Train a run that is `starting` to its end; prints the outcome and returns the exit status."""
    os.environ.update(calm_threads(os.environ))
    interruption, run = Interruption(), db.run(run_id)
    for number, wanted in ((signal.SIGINT, "stop"), (signal.SIGTERM, "interrupt"), (signal.SIGHUP, "interrupt")):
        interruption.on(number, wanted)
    bar = Bar(run, enabled=not as_json and sys.stderr.isatty())
    n_others = len([other for other in db.runs_in(store.ACTIVE) if other.id != run_id])
    try:
        outcome = worker.execute(settings.root, run_id, threads_for(settings, n_others), interruption, bar)
    except KeyboardInterrupt:
        mark_dead(db, settings.root, run, "ended at once from the terminal; resume it from the last checkpoint")
        outcome = None
    finally:
        bar.close()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    run = db.run(run_id)
    if as_json:
        print(json.dumps(_result(run, outcome, bar.whole_val_loss, time.monotonic() - began)))
    else:
        print(_summary(settings, run, bar.whole_val_loss))
    return 0 if run.state in GOOD_ENDS else 1


def finite(value: Any) -> Any:
    """NaN and infinity are not JSON."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _result(run: Run, outcome: Any, val_loss: float | None, elapsed_s: float) -> dict:
    result = {
        "run_id": run.id,
        "name": run.name,
        "state": run.state,
        "reason": run.reason,
        "steps": run.step,
        "n_params": run.n_params,
        "train_loss": run.train_loss,
        "val_loss": val_loss,
        "best_val_loss": run.best_val_loss,
        "tokens_per_s": run.tokens_per_s if outcome is None else outcome.tokens_per_s,
        "seconds": run.seconds,
        "elapsed_s": round(elapsed_s, 3),
        "threads": run.threads,
        "device": run.device,
    }
    return {name: finite(value) for name, value in result.items()}


def _summary(settings: Settings, run: Run, val_loss: float | None) -> str:
    """How it ended, in words, and what can be done with it."""
    folder = RunFolder(settings.root, run.id)
    lines = [f"run {run.id} ({run.name}) is {run.state}: {run.reason}"]
    lines.append(f"  {run.step:,} steps in {run.seconds:.1f} s of training, {run.n_params:,} parameters")
    if run.train_loss is not None:
        lines.append(f"  training loss    {run.train_loss:.4f} nats per token")
    if val_loss is not None:
        lines.append(f"  validation loss  {val_loss:.4f} nats per token, over the whole held-out text")
    lines.append(f"  kept in {folder.path}")
    if any(folder.checkpoints.glob("*.json")):
        lines.append(f"  sample from it:  {command(settings, 'sample', run.id)}")
    if run.state in store.RESUMABLE:
        lines.append(f"  go on with it:   {command(settings, 'resume', run.id)}")
    return "\n".join(lines)


def command(settings: Settings, *words: str) -> str:
    """A command line that does something with this root."""
    import shlex

    return shlex.join(["python", "-m", "playground", *words, "--root", str(settings.root)])
