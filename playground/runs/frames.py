"""Store to tidy pandas frames: one row per observation, units in the column names. Knows nothing of figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from models.knobs import flat
from playground.runs.store import Row, Run, Store

COLUMNS = (
    "run_id", "step", "tokens", "seconds", "train_loss", "eval_loss", "eval_error", "val_loss", "bits_per_byte", "held_out_tokens",
    "whole_split", "token_accuracy", "answer_accuracy", "grad_norm", "lr", "tokens_per_s",
)  # fmt: skip
KINDS = ("progress", "validation", "accuracy")


def metrics(db: Store, run_ids: Sequence[str]) -> pd.DataFrame:
    """Training points, validations and accuracies of some runs in the order they were recorded.

    Losses in nats per token: `eval_loss` on the held-out sample, with its standard error as an estimate of the whole split, on which
    `val_loss` is. `seconds` of training, `tokens` trained on, accuracies as shares. Each row is of one of these three kinds; the columns
    of the other two are empty.
    """
    return tidy({run_id: db.events(run_id, kinds=KINDS) for run_id in run_ids})


def tidy(rows: Mapping[str, Iterable[Row]]) -> pd.DataFrame:
    """The same of some rows of those kinds, by run id."""
    lines = [_tidy(run_id, row) for run_id, some in rows.items() for row in some]
    return pd.DataFrame(lines, columns=[*COLUMNS, "smoothed_loss"] if any("smoothed_loss" in line for line in lines) else list(COLUMNS))


def _tidy(run_id: str, row: Row) -> dict:
    body = row.body
    if row.kind == "progress":
        values = {name: body[name] for name in ("tokens", "seconds", "grad_norm", "lr", "tokens_per_s")} | {"train_loss": body["loss"]}
        values |= {"smoothed_loss": body["smoothed_loss"]} if "smoothed_loss" in body else {}
    elif row.kind == "validation":
        values = {"seconds": body["seconds"], "held_out_tokens": body["n_tokens"], "whole_split": body["whole"]}
        values |= {"bits_per_byte": body.get("bits_per_byte"), "val_loss" if body["whole"] else "eval_loss": body["loss"]}
        values |= {} if body["whole"] else {"eval_error": body.get("error")}
    else:
        values = {"seconds": body["seconds"], "token_accuracy": body["token"], "answer_accuracy": body["answer"]}
        values["whole_split"] = body.get("whole")
    return {"run_id": run_id, "step": row.step, **values}


def metrics_csv(db: Store, run_id: str) -> Iterator[str]:
    """The same of one run as a CSV in chunks."""
    yield _lines([COLUMNS])
    last = 0
    while rows := db.events(run_id, after=last, kinds=KINDS, limit=POINTS_AT_A_TIME):
        last = rows[-1].id
        yield _lines([line.get(name) for name in COLUMNS] for line in (_tidy(run_id, row) for row in rows))


MEASURED = ("run_id", "step", "tokens", "seconds", "quantity", "node", "layer", "head", "value")
AT_A_TIME, POINTS_AT_A_TIME = 50, 2000  # probes are large


def measures_csv(db: Store, run_id: str) -> Iterator[str]:
    """The quantities measured inside a run's model, as a CSV in chunks: one line per step, quantity, node, layer and head or quantile.

    Layers and heads count from 1; `head` is empty where there is one value per layer. Units: see `quantities`.
    """
    yield _lines([MEASURED])
    last = 0
    while rows := db.events(run_id, after=last, kinds=("probe",), limit=AT_A_TIME):
        last = rows[-1].id
        yield _lines(line for row in rows for line in _measured(run_id, row))


def _measured(run_id: str, row: Row) -> Iterator[tuple]:
    for quantity, nodes in row.body["values"].items():
        for node, layers in nodes.items():
            for layer, entry in enumerate(layers, start=1):
                for head, value in enumerate(entry, start=1) if isinstance(entry, list) else [(None, entry)]:
                    yield run_id, row.step, row.body["tokens"], row.body["seconds"], quantity, node, layer, head, value


def _lines(rows: Iterable[Sequence]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


RESULTS = (
    "id", "name", "state", "preset", "n_params", "step", "seconds", "tokens_per_s", "train_loss", "eval_loss",
    "best_eval_loss", "val_loss",
)  # fmt: skip


def results(runs: Sequence[Run], names: Mapping[str, str]) -> list[dict]:
    """One row per run: its progress, its results and its config. Losses in nats per token, times in seconds.

    A name that a spreadsheet would read as a formula gets a leading apostrophe.
    """
    rows = []
    for run in runs:
        row = {name: getattr(run, name) for name in RESULTS} | {"name": as_text(run.name), "by": as_text(names.get(run.owner, ""))}
        if run.readable_config is not None:
            row |= {path: value for path, value in flat(run.readable_config).items() if path != "probe.text"}
        rows.append(row)
    return rows


def as_text(value: str) -> str:
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def to_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> bytes:
    """As a CSV file. A cell is empty where there is no figure; one that is not finite is written as nan or inf, which a data frame
    could not tell from none. `columns`: left out, all that occur."""
    columns = columns or list(dict.fromkeys(name for row in rows for name in row))
    return _lines([tuple(columns), *(tuple(row.get(name) for name in columns) for row in rows)]).encode()
