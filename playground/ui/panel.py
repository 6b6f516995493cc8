"""A live panel: an element of the page that the page's own JavaScript (in assets/) fills and updates.

Gradio runs `js_on_load` as a plain function and does not await it: a panel is mounted once the module is loaded, and reads its newest
value then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import gradio as gr

from playground.web.assets import assets

NOT_LOADED = "The page's scripts could not be loaded: perhaps the playground has just been updated. Open the page again."
# The absolute address: in code that Gradio creates from text, a relative import resolves against Gradio's own script.
MODULE = f"import(new URL({json.dumps(assets().url('main.js'))}, document.baseURI))"


def calls(name: str) -> str:
    """The `js=` of an event: calls the function that the page's module exports under this name, inputs to outputs."""
    return f"async (...inputs) => (await {MODULE}).{name}(...inputs)"


class Panel(gr.HTML):
    """`kind` names the panel in assets/main.js; `events` are those it may trigger in Python.

    The template does not contain the value: so text typed by people is never parsed as HTML, and an update of the value
    does not replace the elements that the JavaScript has made.
    """

    def __init__(self, kind: str, value: object = None, *, events: Sequence[str] = (), **options):
        quoted = " ".join(f"'{event}'" for event in events)
        super().__init__(
            value,
            html_template=f'<div class="pg pg-{kind}"></div>',
            css_template="",
            js_on_load=f"{MODULE}.then((page) => page.mount({json.dumps(kind)}, {{element, props, trigger, watch}})"
            f", () => {{ element.textContent = {json.dumps(NOT_LOADED)}; }}); // {quoted}",
            apply_default_css=False,
            **options,
        )

    def api_info(self) -> dict:
        return {"type": "object"}

    def get_block_name(self) -> str:
        return "html"
