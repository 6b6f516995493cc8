"""Gradio's Blocks, except that a malformed request is an error for its sender only, not a traceback on the terminal, and that its queue
does less beside its work."""

from __future__ import annotations

from typing import Any

import gradio as gr

UNFIT = "the arguments that were sent do not fit this function"
LOOK_S, LOOK_FOR_PROGRESS_S = 0.01, 0.1  # no handler reports progress


class Blocks(gr.Blocks):
    """Only programs send malformed arguments, never the page itself: they are no error of the app, and not printed."""

    def queue(self, *arguments: Any, **options: Any) -> Blocks:
        """A queue that looks for new events a hundred times a second, not a thousand, and keeps no statistics: Gradio sums up the last
        ten thousand events after each one, with pandas, for its page of figures, which is not served here."""
        super().queue(*arguments, **options)
        self._queue.sleep_when_free, self._queue.progress_update_sleep_when_free = LOOK_S, LOOK_FOR_PROGRESS_S
        self._queue.ANALYTICS_MAX_EVENTS = 0
        return self

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
