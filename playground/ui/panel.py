"""A live panel: a place in the page that its own JavaScript (in assets/) fills and keeps up to date.

Gradio runs `js_on_load` as a plain function and waits for nothing: a panel is mounted when the module is there, and reads the newest
value then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import gradio as gr

from playground.web.assets import assets

# By its whole address: code that Gradio makes from text has Gradio's own script for its base.
MODULE = f"import(new URL({json.dumps(assets().url('main.js'))}, document.baseURI))"


def calls(name: str) -> str:
    """The `js=` of an event: what the page's module exports under this name gets the inputs and gives the outputs."""
    return f"async (...inputs) => (await {MODULE}).{name}(...inputs)"


class Panel(gr.HTML):
    """`kind` names the panel in assets/main.js; `events` what it may report to Python.

    The template never mentions the value, so what a person typed is never read as HTML and the
    browser's own elements survive every update.
    """

    def __init__(self, kind: str, value: object = None, *, events: Sequence[str] = (), **options):
        quoted = " ".join(f"'{event}'" for event in events)
        super().__init__(
            value,
            html_template=f'<div class="pg pg-{kind}"></div>',
            css_template="",
            js_on_load=f"{MODULE}.then((page) => page.mount({json.dumps(kind)}, {{element, props, trigger, watch}})); // {quoted}",
            apply_default_css=False,
            **options,
        )

    def api_info(self) -> dict:
        return {"type": "object"}

    def get_block_name(self) -> str:
        return "html"
