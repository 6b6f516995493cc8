"""Starts the web app: reads the settings and serves the page. Configured by PLAYGROUND_* and GRADIO_* environment variables."""

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before the import of gradio, which reads it: nothing is sent from this machine

from playground.config.settings import from_environment
from playground.ui import serve

if __name__ == "__main__":
    serve.run(from_environment())
