"""The endpoint of a run's files, each by its whole address: what is downloaded is served by a route, not by the queue."""

from typing import Annotated, NotRequired, TypedDict

import gradio as gr
from gradio.context import LocalContext
from gradio.route_utils import API_PREFIX, get_root_url

from models.knobs import ConfigError, Problem
from playground.runs import export
from playground.ui.api.part import Part

Links = TypedDict(
    "Links",
    {
        "weights": Annotated[str, "newest checkpoint, safetensors"],
        "metrics.csv": Annotated[str, "the curves"],
        "measures.csv": Annotated[str, "everything measured inside the model, by step, quantity, node, layer and head"],
        "config.json": Annotated[str, "the configuration"],
        "transformers.zip": NotRequired[Annotated[str, "a folder that transformers loads; missing where it has no such architecture"]],
    },
)


class Files(Part):
    def download(self, run_id: str, owner_key: str = "", request: gr.Request | None = None) -> Links:
        """Where the files of a run are: weights, curves, measures, configuration, and a folder for transformers. For a private run, send
        the owner's key in the header X-Playground-Key of each request.

        Args:
            run_id: The run.
            owner_key: The owner's key, for a private run.

        Returns:
            Whole addresses by the name of the file.
        """
        run = self._run(run_id, owner_key)
        at = f"{_address(request)}/live/runs/{run.id}"
        links: Links = {
            "weights": f"{at}/weights", "metrics.csv": f"{at}/metrics.csv", "measures.csv": f"{at}/measures.csv",
            "config.json": f"{at}/config.json",
        }  # fmt: skip
        if run.readable_config is not None and not export.why_not(run.readable_config.model):
            links["transformers.zip"] = f"{at}/transformers.zip"
        return links


def _address(request: gr.Request | None) -> str:
    """The address of the app as whoever asks has written it. Raises ConfigError where none is known."""
    blocks = LocalContext.blocks.get(None)
    asked = None if request is None else request.request
    if asked is None or blocks is None:
        raise ConfigError([Problem("", "the address of this playground is not known; ask over HTTP")])
    route = API_PREFIX + asked.url.path.rpartition(API_PREFIX)[2]
    return get_root_url(asked, route, blocks.root_path)
