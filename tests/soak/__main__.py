"""Campaigns that try to break the playground, and count what broke: `python -m tests.soak CAMPAIGN`, from the repository's root.

Each prints its counts, and returns 1 after any violation. They work in a temporary folder, unless --root names one.
"""

import sys

from playground.cli.flags import Flag
from playground.cli.program import Command, main
from tests.soak import faults, fuzz, kills, siege, visitors

KILLS = Flag("kills", "N", "How many SIGKILLs. (default 100)")
RUNS = Flag("runs", "N", "How many runs train, two at a time; if all end before the last kill, as many more start. (default 6)")
VISITORS = Flag("visitors", "N", "How many people. (default 50)")
SECONDS = Flag("seconds", "X", "How long they use the page. (default 600)")
REQUESTS = Flag("requests", "N", "How many requests. (default 10,000)")
CROWD = Flag("crowd", "N", "How many ask for the same answer at once. (default 45)")
WIDTH = Flag("width", "N", "Width of the model that is asked about, a multiple of 36. (default 576: 48 million parameters)")
ROWS = Flag("rows", "N", "Recorded points of a long run. (default 200,000)")
SEED = Flag("seed", "N", "Seed of all random choices. (default: 0 for fuzz, a new one each time for kills)")

CAMPAIGNS = {
    "kills": Command(
        "kills [--kills N] [--runs N] [--seed N] [--root DIR] [--json]", "Kill the playground's processes at random instants.",
        kills.campaign, (KILLS, RUNS, SEED),
    ),
    "faults": Command(
        "faults [--root DIR] [--json]", "Inject faults of disk, memory, clock and database, one after the other.", faults.campaign,
    ),
    "visitors": Command(
        "visitors [--visitors N] [--seconds X] [--json]", "Simulate many people who use the page at the same time.",
        visitors.campaign, (VISITORS, SECONDS),
    ),
    "fuzz": Command(
        "fuzz [--requests N] [--seed N] [--json]", "Send a flood of malformed requests.", fuzz.campaign, (REQUESTS, SEED),
    ),
    "siege": Command(
        "siege [--crowd N] [--width N] [--rows N] [--json]", "Ask for everything expensive, many times at once.",
        siege.campaign, (CROWD, WIDTH, ROWS),
    ),
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main("tests.soak", CAMPAIGNS, sys.argv[1:]))
