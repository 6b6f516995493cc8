"""A live panel: a place in the page that its own JavaScript (in assets/) fills and keeps up to date."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import gradio as gr

from playground.system.files import ASSETS

SCRIPTS = (
    "core.js", "tools.js", "charts.js", "data.js", "design.js", "inside.js", "views.js", "heads.js", "lens.js", "sample.js", "runs.js",
    "you.js", "host.js",
)  # fmt: skip


def asset_url(name: str) -> str:
    """Address of an asset, relative so that it works under a sub-path; it changes with the content."""
    digest = hashlib.sha256((ASSETS / name).read_bytes()).hexdigest()[:10]
    return f"live/assets/{name}?v={digest}"


def script_tags() -> str:
    return "".join(f'<script src="{asset_url(name)}"></script>' for name in SCRIPTS)


class Panel(gr.HTML):
    """`kind` names the function in assets/ that mounts it; `events` what it may report to Python.

    The template never mentions the value, so what a person typed is never read as HTML and the
    browser's own elements survive every update.
    """

    def __init__(self, kind: str, value: object = None, *, events: Sequence[str] = (), **options):
        quoted = " ".join(f"'{event}'" for event in events)
        super().__init__(
            value,
            html_template=f'<div class="pg pg-{kind}"></div>',
            css_template="",
            js_on_load=f"window.playground.mount({json.dumps(kind)}, {{element, props, trigger, watch}}); // {quoted}",
            head=script_tags(),
            apply_default_css=False,
            **options,
        )

    def api_info(self) -> dict:
        return {"type": "object"}

    def get_block_name(self) -> str:
        return "html"
