"""Output of the benchmarks: facts of the machine, median and range, and progress notes."""

from __future__ import annotations

import platform
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import version

from playground.system.cores import n_cpus


def machine() -> dict:
    """The facts of the machine without which a speed means nothing."""
    return {
        "cores": n_cpus(),
        "threads": n_cpus(),
        "torch": version("torch"),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def spread(values: Sequence[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} – {max(values):{form}})"


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
