"""All tests: `python -m tests`, with pytest's own options after it.

Those that start no app, worker or browser run first, in two processes; the rest one after the other, because what trains in them would
be starved by tests beside it.
"""

import subprocess
import sys
import time

NONE_FOUND = 5  # pytest's status where no test was chosen
BESIDE_EACH_OTHER = [f"tests/playground/{room}" for room in ("bench", "config", "data", "inside", "runs", "training", "web")]
BESIDE_EACH_OTHER += ["tests/models", "tests/test_house.py"]


def main() -> int:
    began = time.monotonic()
    parts = [["-n", "2", *BESIDE_EACH_OTHER], [f"--ignore={path}" for path in BESIDE_EACH_OTHER]]
    ended = [subprocess.run([sys.executable, "-m", "pytest", *part, *sys.argv[1:]]).returncode for part in parts]
    print(f"all tests: {(time.monotonic() - began) / 60:.1f} minutes")
    return max((code for code in ended if code != NONE_FOUND), key=abs, default=NONE_FOUND)


if __name__ == "__main__":
    sys.exit(main())
