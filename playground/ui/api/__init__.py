"""The API for programs and agents: named endpoints for all that the page can do, which are tools over MCP where that is on.

Changing a run, or looking at a private one, takes the `owner_key` that `/start_run` returned. The host's token is accepted as the key
of every run. Times in seconds, losses in nats per token.
"""

from playground.ui.api.design import Designing
from playground.ui.api.endpoint import publish
from playground.ui.api.experiments import Experimenting
from playground.ui.api.files import Files
from playground.ui.api.inside import Inside
from playground.ui.api.part import EXAMPLES
from playground.ui.api.runs import Steering
from playground.ui.api.sampling import Sampling
from playground.ui.api.texts import Texts
from playground.ui.api.watching import Watching
from playground.ui.common import Services

PARTS = (Designing, Texts, Steering, Watching, Files, Sampling, Inside, Experimenting)  # in the order in which one needs them


def build(services: Services) -> None:
    """Register every endpoint, each a public method of a part; call inside the page's Blocks."""
    for part in PARTS:
        made = part(services)
        for name in vars(part):
            if not name.startswith("_"):
                publish(getattr(made, name), EXAMPLES)
