"""All tests: `python -m tests`, with pytest's own options after it.

Those that drive a browser run one after the other, because browser, app and training keep two cores busy; all others run in two processes.
"""

import subprocess
import sys
import time

NONE_FOUND = 5  # pytest's status where no test was chosen
BROWSER = "tests/browser"


def main() -> int:
    began = time.monotonic()
    parts = [["-n", "2", f"--ignore={BROWSER}"], [BROWSER]]
    ended = [subprocess.run([sys.executable, "-m", "pytest", *part, *sys.argv[1:]]).returncode for part in parts]
    print(f"all tests: {(time.monotonic() - began) / 60:.1f} minutes")
    return max((code for code in ended if code != NONE_FOUND), key=abs, default=NONE_FOUND)


if __name__ == "__main__":
    sys.exit(main())
