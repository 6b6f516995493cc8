"""Gradio's page, except that what does not fit a handler is told to whoever sent it."""

from __future__ import annotations

from typing import Any

import gradio as gr

UNFIT = "what was sent does not fit what this function takes"


class Blocks(gr.Blocks):
    """Nobody's browser sends such a thing, but anybody's program may: it is no error of the app, and none for its terminal."""

    async def preprocess_data(self, *arguments: Any, **options: Any) -> list:
        try:
            return await super().preprocess_data(*arguments, **options)
        except gr.Error as error:
            raise _told(error) from None
        except Exception:  # whatever Gradio stumbles over while it reads what was sent; its words would name files of this machine
            raise gr.Error(UNFIT, print_exception=False) from None

    async def call_function(self, *arguments: Any, **options: Any) -> dict:
        """A handler's own mistakes stay what they are."""
        try:
            return await super().call_function(*arguments, **options)
        except gr.Error as error:
            raise _told(error) from None


def _told(error: gr.Error) -> gr.Error:
    """A word to whoever asked, and to nobody else."""
    error.print_exception = False
    return error
