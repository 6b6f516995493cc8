"""How long a test waits for what must come true: as long as this machine, as busy as it is, takes for so much work.

Waiting ends as soon as it has come true; only what never does costs the whole patience.
"""

import functools
import subprocess
import sys
import time

FLOOR_S = 40.0
LONGEST_S = 600.0  # below `timeout` in pyproject.toml, which doesn't say what was waited for
PAGE_FLOOR_S = 90.0  # what a page waits for may be a whole run of a few hundred steps
STARTS = 12  # in starts of a process with torch: most of what is waited for takes one to three, and a few steps of a tiny model

# What a worker does before its first step; an optimizer imports much more of torch.
_START = "import torch; torch.optim.AdamW([torch.zeros(1, requires_grad=True)])"


@functools.cache
def patience_s() -> float:
    """Seconds, by what a start takes now; measured once in this process. Minutes on a crowded machine."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", _START], check=True)
    return min(max(FLOOR_S, STARTS * (time.monotonic() - began)), LONGEST_S)


def page_patience_s() -> float:
    """Of a page in a browser."""
    return max(PAGE_FLOOR_S, patience_s())


def still(began: float, floor_s: float = FLOOR_S) -> bool:
    """Whether what began then, by `time.monotonic`, is still within patience. Measures only where the floor is not enough."""
    waited_s = time.monotonic() - began
    return waited_s < floor_s or waited_s < patience_s()
