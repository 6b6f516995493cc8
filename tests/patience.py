"""How long a test waits for what must come true: as long as this machine, as busy as it is, takes for so much work.

Waiting ends as soon as it has come true; only what never does costs the whole patience.
"""

import functools
import subprocess
import sys
import time

FLOOR_S = 40.0
STARTS = 15  # as many as it may take to start python with torch: two or three processes are started for most that is waited for

# What a worker does before its first step: the optimizer brings a third of it.
_START = "import torch; torch.optim.AdamW([torch.zeros(1, requires_grad=True)])"


@functools.cache
def patience_s() -> float:
    """Seconds, measured once in this process: on two idle cores the floor, on a crowded machine minutes."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", _START], check=True)
    return max(FLOOR_S, STARTS * (time.monotonic() - began))
