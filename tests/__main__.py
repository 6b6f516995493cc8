"""All tests: `python -m tests`, with pytest's own options after it.

Those that drive a browser run one after the other, because browser, app and training keep two cores busy: two at a time are no quicker, and
miss what they wait for. All others run in two processes, which compute with one thread each: threads that wait for each other on too few
cores cost up to nine tenths of the time.
"""

import os
import subprocess
import sys
import time

from playground.system.cores import calm_threads

NONE_FOUND = 5  # pytest's status where no test was chosen
BROWSER = "tests/browser"


def main() -> int:
    began = time.monotonic()
    calm = calm_threads(os.environ)
    parts = [(["-n", "2", f"--ignore={BROWSER}"], calm | {"OMP_NUM_THREADS": "1"}), ([BROWSER], calm)]
    ended = [
        subprocess.run([sys.executable, "-m", "pytest", *part, *sys.argv[1:]], env=environment).returncode for part, environment in parts
    ]
    print(f"all tests: {(time.monotonic() - began) / 60:.1f} minutes")
    return max((code for code in ended if code != NONE_FOUND), key=abs, default=NONE_FOUND)


if __name__ == "__main__":
    sys.exit(main())
