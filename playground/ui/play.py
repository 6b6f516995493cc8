"""The Play tab: the recipe, the architecture that it makes, and what comes of it, on one screen."""

from __future__ import annotations

import gradio as gr

from playground.ui.design import Design
from playground.ui.panel import Panel
from playground.ui.start import StartHere


def build(design: Design, start: StartHere) -> None:
    with gr.Row(equal_height=False, elem_id="play"):
        with gr.Column(min_width=0, elem_id="recipe"):
            design.build_recipe()
        with gr.Column(min_width=0, elem_id="architecture"):
            design.build_picture()
        with gr.Column(min_width=0, elem_id="outcome"):
            start.build()
            _outcome()
        _more()
    design.built()


def _outcome() -> None:
    """Panels only, without handlers: each follows the open run by itself."""
    Panel("progress", elem_id="run-progress")
    Panel("loss", elem_id="loss")
    Panel("accuracy", elem_id="accuracy")
    Panel("writes", elem_id="writes")
    Panel("told", elem_id="told")


def _more() -> None:
    with gr.Column(elem_id="more", min_width=0):
        with gr.Row(equal_height=False):
            for kind in ("gradnorm", "rate", "speed"):
                with gr.Column(scale=1, min_width=220):
                    Panel(kind, elem_id=kind)
        Panel("layers", elem_id="layers")
