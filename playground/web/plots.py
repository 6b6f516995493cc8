"""Frames to plotly figures. Pure: reads no store and keeps no state."""

from __future__ import annotations

import math
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go

# Palette of Okabe and Ito 2008, distinguishable with colour blindness. Black is left to the text.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
FLOOR = "#009E73"
X_TITLES = {"step": "step", "tokens": "tokens trained on", "seconds": "seconds of training", "flops": "FLOP spent on training"}


class YAxis(NamedTuple):
    """A column of `frames.metrics`, with its axis title and hover text."""

    column: str
    title: str
    hover: str


Y_AXES = {
    "loss": YAxis("eval_loss", "loss (nats per token)", "%{y:.3f} nats per token, held out"),
    "bits": YAxis("bits_per_byte", "held-out loss (bits per byte)", "%{y:.3f} bits per byte, held out"),
    "accuracy": YAxis("answer_accuracy", "answers right (share)", "%{y:.1%} of answers right"),
}


def overlay(
    frame: pd.DataFrame, names: dict[str, str], flops_per_token: dict[str, int],
    x: str = "step", y: str = "loss", floor: float | None = None,
) -> go.Figure:  # fmt: skip
    """Several runs over one axis, one colour per run: held-out values thick, training losses thin.

    `frame` as `frames.metrics` makes it, `names` from run id to what the legend says, `flops_per_token` likewise to what
    training on one token costs where that is known, `x` one of step, tokens, seconds, flops, `y` one of loss, bits, accuracy; `floor`: the
    best possible loss, where it is the same for all.
    """
    figure, shown = go.Figure(), Y_AXES[y]
    for number, (run_id, name) in enumerate(names.items()):
        colour = OKABE_ITO[number % len(OKABE_ITO)]
        mine = _rows(frame, _column(frame, "run_id").eq(run_id))
        train = mine.dropna(subset=["train_loss"])
        held_out = _rows(mine, _column(mine, "whole_split").ne(True)).dropna(subset=[shown.column])
        label, cost = escape(name), flops_per_token.get(run_id, math.nan)
        if y == "loss":
            figure.add_scatter(
                x=_axis(train, train, x, cost), y=_smoothed(train), name=label, legendgroup=run_id,
                mode="lines", line={"color": colour, "width": 1.3},
                hovertemplate="%{y:.3f} nats per token, training<extra>" + label + "</extra>",
            )  # fmt: skip
        figure.add_scatter(
            x=_axis(held_out, train, x, cost), y=held_out[shown.column].tolist(), name=label, legendgroup=run_id, showlegend=y != "loss",
            mode="lines+markers", line={"color": colour, "width": 2.5}, marker={"size": 6},
            hovertemplate=shown.hover + "<extra>" + label + "</extra>",
        )  # fmt: skip
    return _laid_out(figure, x, y, floor)


def _laid_out(figure: go.Figure, x: str, y: str, floor: float | None) -> go.Figure:
    if floor is not None and y == "loss":
        figure.add_hline(floor, line={"color": FLOOR, "width": 2, "dash": "dot"})
    figure.update_layout(
        xaxis_title=X_TITLES[x], yaxis_title=Y_AXES[y].title, hovermode="x",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, margin={"l": 56, "r": 12, "t": 8, "b": 44},
        template=None, uirevision="overlay",
    )  # fmt: skip
    return figure


def grouped(
    frame: pd.DataFrame, groups: dict[str, str], flops_per_token: dict[str, int],
    x: str = "step", y: str = "loss", floor: float | None = None,
) -> go.Figure:  # fmt: skip
    """The mean of each group's held-out values, with a band from the least to the largest; `groups` says by run id which it is in. Points
    are joined by their step; the rest as of `overlay`."""
    figure, shown = go.Figure(), Y_AXES[y]
    of_runs = [_held_out(frame, run_id, x, shown.column, flops_per_token.get(run_id, math.nan)) for run_id in groups]
    points = pd.concat([each.assign(group=label) for each, label in zip(of_runs, groups.values(), strict=True)])
    for number, label in enumerate(dict.fromkeys(groups.values())):
        mine = _rows(points, _column(points, "group").eq(label))
        spread = {"at": ("x", "mean"), "mean": ("y", "mean"), "low": ("y", "min"), "high": ("y", "max"), "n": ("y", "count")}
        found = pd.DataFrame(mine.groupby("step").agg(**spread))
        at, mean, low, high, count = (_column(found, each).tolist() for each in spread)
        colour, name = OKABE_ITO[number % len(OKABE_ITO)], escape(label)
        quiet = {"mode": "lines", "line": {"width": 0, "color": colour}, "legendgroup": label, "showlegend": False, "hoverinfo": "skip"}
        figure.add_scatter(x=at, y=low, name=f"{name}, least", **quiet)
        figure.add_scatter(x=at, y=high, name=f"{name}, largest", fill="tonexty", fillcolor=_pale(colour), **quiet)
        runs = sum(each == label for each in groups.values())
        figure.add_scatter(
            x=at, y=mean, name=f"{name} ({runs} run{'' if runs == 1 else 's'})", legendgroup=label, mode="lines+markers",
            line={"color": colour, "width": 2.5}, marker={"size": 6}, customdata=count,
            hovertemplate=shown.hover + ", mean of %{customdata}<extra>" + name + "</extra>",
        )  # fmt: skip
    return _laid_out(figure, x, y, floor)


def _held_out(frame: pd.DataFrame, run_id: str, x: str, column: str, flops_per_token: float) -> pd.DataFrame:
    """Of one run: step, and both coordinates of its held-out points."""
    mine = _rows(frame, _column(frame, "run_id").eq(run_id))
    rows = _rows(mine, _column(mine, "whole_split").ne(True)).dropna(subset=[column])
    train = mine.dropna(subset=["train_loss"])
    return pd.DataFrame({"step": rows["step"].tolist(), "x": _axis(rows, train, x, flops_per_token), "y": rows[column].tolist()})


def _pale(colour: str) -> str:
    return f"rgba({','.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))},0.18)"


def smooth(values: pd.Series, span: int = 10) -> pd.Series:
    """Exponential moving average over about `span` points."""
    return pd.Series(values.ewm(span=span, adjust=True).mean())


def _smoothed(train: pd.DataFrame) -> list:
    """The smoothed training loss: as it came with thinned points, or over the points that are there."""
    return (train["smoothed_loss"] if "smoothed_loss" in train else smooth(_column(train, "train_loss"))).tolist()


# pandas says of neither of the two which type it is.
def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    return pd.Series(frame[name])


def _rows(frame: pd.DataFrame, which: pd.Series) -> pd.DataFrame:
    return pd.DataFrame(frame[which])


def escape(text: str) -> str:
    """A person's text where plotly would read markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _axis(rows: pd.DataFrame, train: pd.DataFrame, x: str, flops_per_token: float) -> list:
    """Values on the x axis; tokens grow evenly with the steps, and FLOP with the tokens."""
    if x in ("step", "seconds"):
        return rows[x].tolist()
    tokens = _column(rows, "tokens")
    if tokens.hasnans and len(train):
        tokens = _column(rows, "step") * (_column(train, "tokens").iloc[-1] / max(1, _column(train, "step").iloc[-1]))
    return (tokens * flops_per_token if x == "flops" else tokens).tolist()
