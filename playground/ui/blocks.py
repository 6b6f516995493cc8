"""Gradio's Blocks, except that a malformed request is an error for its sender only, not a traceback on the terminal, that its queue
does less beside its work, and that its endpoints are described in full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

UNFIT = "the arguments that were sent do not fit this function"
LOOK_S, LOOK_FOR_PROGRESS_S = 0.01, 0.1  # no handler reports progress


@dataclass(frozen=True)
class Described:
    """What /gradio_api/info says of an endpoint's `arguments`, by name, and of its `answer`, beside what Gradio knows."""

    arguments: dict[str, dict[str, Any]]
    answer: dict[str, Any]


class Blocks(gr.Blocks):
    """Only programs send malformed arguments, never the page itself: they are no error of the app, and not printed. `described`: the
    endpoints that are more than Gradio can read from their types, by name."""

    def __init__(self, *arguments: Any, **options: Any):
        self.described: dict[str, Described] = {}
        super().__init__(*arguments, **options)

    def get_api_info(self, *arguments: Any, **options: Any) -> Any:
        """With the descriptions, which Gradio would put into the document of the page too, several times, if its components had them."""
        info: dict[str, Any] = {**super().get_api_info(*arguments, **options)}
        for name, endpoint in list(info["named_endpoints"].items()):
            about = self.described.get(name.removeprefix("/"))
            if about is not None:
                told: dict[str, Any] = {
                    "parameters": [{**each, **about.arguments[each["parameter_name"]]} for each in endpoint["parameters"]],
                    "returns": [{**each, **about.answer} for each in endpoint["returns"]],
                }
                info["named_endpoints"][name] = {**endpoint, **told}
        return info

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
