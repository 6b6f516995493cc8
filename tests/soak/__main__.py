"""Campaigns that try to break the playground, and count what broke: `python -m tests.soak CAMPAIGN`, from the repository's root.

Each prints its counts, and returns 1 if anything was violated. They work in a folder that goes away, unless --root names one.
"""

import sys

from playground.cli.flags import Flag
from playground.cli.program import Command, main
from tests.soak import faults, fuzz, kills, visitors

KILLS = Flag("kills", "N", "How many SIGKILLs. (default 100)")
RUNS = Flag("runs", "N", "How many runs train, two at a time; if all end before the last kill, as many again. (default 6)")
VISITORS = Flag("visitors", "N", "How many people. (default 50)")
SECONDS = Flag("seconds", "X", "For how long. (default 600)")
REQUESTS = Flag("requests", "N", "How many requests. (default 10,000)")
SEED = Flag("seed", "N", "Of all random choices. (default: 0 for fuzz, a new one each time for kills)")

CAMPAIGNS = {
    "kills": Command(
        "kills [--kills N] [--runs N] [--seed N] [--root DIR] [--json]", "End the playground's processes at random instants.",
        kills.campaign, (KILLS, RUNS, SEED),
    ),
    "faults": Command(
        "faults [--root DIR] [--json]", "Take away its disk, its memory, its clock and its database, one after the other.", faults.campaign,
    ),
    "visitors": Command(
        "visitors [--visitors N] [--seconds X] [--json]", "Fill a room with people who all use the page.",
        visitors.campaign, (VISITORS, SECONDS),
    ),
    "fuzz": Command(
        "fuzz [--requests N] [--seed N] [--json]", "Send a flood of malformed requests.", fuzz.campaign, (REQUESTS, SEED),
    ),
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main("tests.soak", CAMPAIGNS, sys.argv[1:]))
