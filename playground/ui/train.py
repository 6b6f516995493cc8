"""The Train tab: curves of loss, gradient norm, learning rate and speed, samples of the model, and its layers over time."""

from __future__ import annotations

import gradio as gr

from playground.ui.panel import Panel


def build() -> None:
    """Panels only, without handlers: each follows the open run by itself."""
    Panel("progress", elem_id="run-progress")
    with gr.Row(equal_height=True):
        with gr.Column(scale=7, min_width=330):
            Panel("loss", elem_id="loss")
        with gr.Column(scale=4, min_width=300):
            Panel("writes", elem_id="writes")
    Panel("accuracy", elem_id="accuracy")
    with gr.Row(equal_height=False):
        for kind in ("gradnorm", "rate", "speed"):
            with gr.Column(scale=1, min_width=260):
                Panel(kind, elem_id=kind)
    Panel("layers", elem_id="layers")
