"""What is started by `python app.py` and, where the playground is installed as a package, by `gpt-playground`."""

from __future__ import annotations

import os
import sys


def page() -> None:
    """Serve the page, as PLAYGROUND_* and GRADIO_* environment variables say, until it is ended."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # gradio reads it when it is imported: nothing is sent from this machine
    from playground.config.settings import from_environment
    from playground.ui import serve

    serve.run(from_environment())


def main() -> int:
    """`gpt-playground`: the page; with a command behind it, that of the command line."""
    if len(sys.argv) == 1:
        page()
        return 0
    from playground.cli.commands import main as command

    return command(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
