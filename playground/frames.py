"""Store to tidy pandas frames: one row per observation, units in the column names. Knows nothing of figures."""

from __future__ import annotations

import pandas as pd

from playground.store import Row, Store

COLUMNS = (
    "run_id", "step", "tokens", "seconds", "train_loss", "val_loss", "val_bits_per_byte", "val_tokens", "whole_split", "token_accuracy",
    "answer_accuracy", "grad_norm", "lr", "tokens_per_s",
)  # fmt: skip
KINDS = ("progress", "validation", "accuracy")


def metrics(db: Store, run_ids: list[str]) -> pd.DataFrame:
    """Training points, validations and accuracies of some runs in the order they were recorded.

    Losses in nats per token, `seconds` of training, `tokens` trained on, accuracies as shares. Each row is one of
    the three, and the columns of the other two are empty.
    """
    rows = [_tidy(run_id, row) for run_id in run_ids for row in db.events(run_id, kinds=KINDS)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _tidy(run_id: str, row: Row) -> dict:
    body = row.body
    if row.kind == "progress":
        values = {name: body[name] for name in ("tokens", "seconds", "grad_norm", "lr", "tokens_per_s")} | {"train_loss": body["loss"]}
    elif row.kind == "validation":
        values = {"seconds": body["seconds"], "val_loss": body["loss"], "val_tokens": body["n_tokens"], "whole_split": body["whole"]}
        values["val_bits_per_byte"] = body.get("bits_per_byte")
    else:
        values = {"seconds": body["seconds"], "token_accuracy": body["token"], "answer_accuracy": body["answer"]}
    return {"run_id": run_id, "step": row.step, **values}


def measures(db: Store, run_id: str) -> pd.DataFrame:
    """What was measured inside a run's model: one row per step, quantity, node, layer and head or quantile.

    Layers and heads count from 1; `head` is empty where there is one value per layer. Units: see `quantities`.
    """
    rows = []
    for row in db.events(run_id, kinds=("probe",)):
        for quantity, nodes in row.body["values"].items():
            for node, layers in nodes.items():
                for layer, entry in enumerate(layers, start=1):
                    for head, value in enumerate(entry, start=1) if isinstance(entry, list) else [(None, entry)]:
                        rows.append((run_id, row.step, row.body["tokens"], row.body["seconds"], quantity, node, layer, head, value))
    frame = pd.DataFrame(rows, columns=["run_id", "step", "tokens", "seconds", "quantity", "node", "layer", "head", "value"])
    return frame.astype({"head": "Int64"})


def to_csv(frame: pd.DataFrame) -> bytes:
    """As a file for spreadsheets; figures that are not finite are written as nan and inf."""
    return frame.to_csv(index=False, na_rep="").encode()
