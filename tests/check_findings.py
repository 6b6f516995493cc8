"""A self-test of the findings: `python -m tests.check_findings` trains small runs of which it is known what ails them, and prints for
each what must be said of it, what was, and what was said wrongly. Returns 1 if anything is missing or wrong. Takes about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from models.knobs import flat, nested, parse
from playground.config.presets import PRESETS
from playground.config.run import RunConfig
from playground.data import corpora, dataset
from playground.inside.findings import History, findings
from playground.inside.rules import RULES
from playground.runs.creation import complete
from playground.training.events import Event
from playground.training.loop import Loop, NoLink
from playground.training.state import TrainState

TEXT: dict[str, Any] = {
    "model.n_layer": 4, "model.n_head": 4, "model.n_embd": 48, "model.block_size": 48, "model.dropout": 0.0,
    "data.source": "tiny-tales", "data.tokenizer": "char",
    "optim.lr": 2e-3, "optim.warmup_steps": 50, "train.batch_size": 12, "train.max_steps": 400, "train.eval_interval": 40,
    "train.device": "cpu", "probe.sample_tokens": 0,
}  # fmt: skip
DEEP = {"model.n_layer": 12}
TROUBLE = frozenset(rule.name for rule in RULES if rule.weight == 3)


@dataclass(frozen=True)
class Case:
    """`must` be said at the end, and of what means trouble nothing else but what `may` be. `preset` and `text` replace the small run."""

    changes: dict[str, Any] = field(default_factory=dict)
    must: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()
    preset: str = ""
    text: str = ""


def case(changes: dict[str, Any] | None = None, must: str = "", may: str = "", preset: str = "", text: str = "") -> Case:
    return Case(changes or {}, frozenset(must.split()), frozenset(may.split()), preset, text)


POST = DEEP | {"model.norm_placement": "post"}
CASES = {
    "pre-norm, 4 layers": case(must="embedding-kept"),
    "pre-norm, 12 layers": case(DEEP, must="embedding-kept"),
    "post-norm, 12 layers, no warm-up": case(
        POST | {"optim.warmup_steps": 0, "optim.lr": 3e-3}, must="vanishing-gradient only-frequencies"
    ),
    "post-norm, 12 layers, warm-up": case(POST | {"optim.warmup_steps": 120, "optim.lr": 5e-4}),
    "no residual, 6 layers": case(
        {"model.n_layer": 6, "model.residual": False}, must="embedding-lost", may="only-frequencies vanishing-gradient"
    ),
    "no norm, 4 layers": case({"model.norm_placement": "none"}),
    "rate x 100": case(
        {"optim.lr": 0.2}, must="updates-too-large",
        may="only-frequencies unstable worse-than-chance attention-collapse dead-units saturated-units",
    ),
    "rate x 0.001": case({"optim.lr": 2e-6}, must="updates-too-small nothing-learnt"),
    "dropout 0.5": case({"model.dropout": 0.5}),
    "dead ReLU": case(
        {"model.activation": "relu", "optim.lr": 0.05, "optim.warmup_steps": 0}, must="dead-units",
        may="updates-too-large only-frequencies unstable vanishing-gradient",
    ),
    "attention only": case({"model.sublayers": "attention"}),
    "MLP only": case({"model.sublayers": "mlp"}, must="no-context"),
    "4 kB of text": case({"model.n_embd": 128, "optim.lr": 3e-3, "train.max_steps": 700}, must="over-fitting", text="4 kB"),
    "warm-up longer than the run": case({"optim.warmup_steps": 5000}, must="endless-warm-up", may="only-frequencies"),
    "solved induction": case(must="induction-heads best-possible", preset="induction"),
    "a fresh model": case({"train.max_steps": 1}, may="endless-warm-up"),
    "a fresh post-norm model": case(POST | {"train.max_steps": 1}, may="endless-warm-up"),
    "the default, 200 steps": case({"train.max_steps": 200, "probe.sample_tokens": 0}, preset="default"),
}  # fmt: skip


class Collected(NoLink):
    """Keeps the events of a run as the store would."""

    def __init__(self):
        self.rows: dict[str, list[dict]] = {kind: [] for kind in ("progress", "validation", "probe", "facts")}

    def emit(self, event: Event) -> None:
        if event.kind in self.rows:
            self.rows[event.kind].append(json.loads(event.to_json()) | {"step": event.step})


def train(case: Case, root: Path) -> tuple[History, str]:
    """Train the run of a case; returns what was recorded, and how it ended."""
    base = flat(PRESETS[case.preset].config) if case.preset else flat(RunConfig()) | TEXT
    source = {"data.source": corpora.add_text(root, four_kilobytes(root))} if case.text else {}
    config = complete(parse(RunConfig, nested(base | case.changes | source)), root)
    state, link = TrainState(config, dataset.load(config.data, root), torch.device("cpu")), Collected()
    with tempfile.TemporaryDirectory(dir=root) as folder:
        outcome = Loop(state, Path(folder), link).run()
    rows = link.rows
    facts = rows["facts"][-1] if rows["facts"] else None
    return History(config, rows["progress"], rows["validation"], rows["probe"], facts), outcome.state


def four_kilobytes(root: Path) -> str:
    tales = complete(parse(RunConfig, nested(flat(RunConfig()) | TEXT)), root).data
    data = dataset.load(tales, root)
    return data.tokenizer.decode(data.train[:4096].tolist())


def judge(case: Case, said: set[str]) -> tuple[set[str], set[str]]:
    """What is missing of what must be said, and what trouble was said that is none."""
    return set(case.must) - said, (said & TROUBLE) - case.must - case.may


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help="beginnings of names; all where none is given")
    parser.add_argument("--root", type=Path, help="a folder for prepared data, which is kept")
    typed = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as staging:
        root = typed.root or Path(staging)
        root.mkdir(exist_ok=True)
        for name, each in CASES.items():
            if typed.cases and not any(name.startswith(begin) for begin in typed.cases):
                continue
            began = time.monotonic()
            history, state = train(each, root)
            found = findings(history, at_most=99)
            missing, false = judge(each, {one["name"] for one in found})
            wrong += len(missing) + len(false)
            said = f"missing {sorted(missing) or 'nothing'}, false {sorted(false) or 'nothing'}"
            print(f"{name} ({state}, {time.monotonic() - began:.0f} s): {said}")
            for one in found:
                print(f"    {one['weight']} {one['name']:22} step {one['step']:>5}  {one['sentence']}")
            sys.stdout.flush()
    print(f"{wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
