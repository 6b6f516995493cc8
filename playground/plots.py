"""Frames to plotly figures. Pure: reads no store and keeps no state."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

# Okabe and Ito 2008: told apart also by colour-blind people. Black is left to the text.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
X_TITLES = {"step": "step", "tokens": "tokens trained on", "seconds": "seconds of training"}


def overlay(frame: pd.DataFrame, names: dict[str, str], x: str = "step") -> go.Figure:
    """Losses of several runs over one axis: training thin, validation thick, one colour per run.

    `frame` as `frames.metrics` makes it, `names` from run id to what the legend says, `x` one of
    step, tokens, seconds.
    """
    figure = go.Figure()
    for number, (run_id, name) in enumerate(names.items()):
        colour = OKABE_ITO[number % len(OKABE_ITO)]
        mine = frame[frame["run_id"] == run_id]
        train, val = mine[mine["train_loss"].notna()], mine[mine["val_loss"].notna() & mine["whole_split"].eq(False)]
        label = escape(name)
        figure.add_scatter(
            x=_axis(train, train, x), y=smooth(train["train_loss"]).tolist(), name=label, legendgroup=run_id, mode="lines",
            line={"color": colour, "width": 1.3}, hovertemplate="%{y:.3f} nats per token, training<extra>" + label + "</extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=_axis(val, train, x), y=val["val_loss"].tolist(), name=label, legendgroup=run_id, showlegend=False, mode="lines+markers",
            line={"color": colour, "width": 2.5}, marker={"size": 6},
            hovertemplate="%{y:.3f} nats per token, held out<extra>" + label + "</extra>",
        )  # fmt: skip
    figure.update_layout(
        xaxis_title=X_TITLES[x], yaxis_title="loss (nats per token)", hovermode="x",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, margin={"l": 56, "r": 12, "t": 8, "b": 44},
        template=None, uirevision="overlay",
    )  # fmt: skip
    return figure


def smooth(values: pd.Series, span: int = 10) -> pd.Series:
    """Exponential moving average over about `span` points."""
    return values.ewm(span=span, adjust=True).mean()


def escape(text: str) -> str:
    """A person's text where plotly would read markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _axis(rows: pd.DataFrame, train: pd.DataFrame, x: str) -> list:
    """Values on the x axis; tokens grow evenly with the steps."""
    if x == "tokens" and rows["tokens"].isna().any() and len(train):
        per_step = train["tokens"].iloc[-1] / max(1, train["step"].iloc[-1])
        return (rows["step"] * per_step).tolist()
    return rows[x].tolist()
