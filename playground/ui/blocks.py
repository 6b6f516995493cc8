"""Gradio's Blocks, except that a malformed request is an error for its sender only, not a traceback on the terminal."""

from __future__ import annotations

from typing import Any

import gradio as gr

UNFIT = "the arguments that were sent do not fit this function"


class Blocks(gr.Blocks):
    """Only programs send malformed arguments, never the page itself: they are no error of the app, and not printed."""

    async def preprocess_data(self, *arguments: Any, **options: Any) -> list:
        try:
            return await super().preprocess_data(*arguments, **options)
        except gr.Error as error:
            raise _told(error) from None
        except Exception:  # whatever Gradio raises while it parses the arguments; its message could name files of this machine
            raise gr.Error(UNFIT, print_exception=False) from None

    async def call_function(self, *arguments: Any, **options: Any) -> dict:
        """Other exceptions of a handler are passed on unchanged."""
        try:
            return await super().call_function(*arguments, **options)
        except gr.Error as error:
            raise _told(error) from None


def _told(error: gr.Error) -> gr.Error:
    """The error for the sender, not printed on the terminal."""
    error.print_exception = False
    return error
