"""Campaigns that try to break the playground, and count what broke: `python -m playground soak CAMPAIGN`.

Each takes what was typed, prints its counts, and returns 1 if anything was violated.
"""

from collections.abc import Callable

from playground.cli.flags import Typed
from playground.soak import faults, fuzz, kills, visitors

CAMPAIGNS: dict[str, Callable[[Typed], int]] = {
    "kills": kills.campaign,
    "faults": faults.campaign,
    "visitors": visitors.campaign,
    "fuzz": fuzz.campaign,
}
