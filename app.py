"""Start the playground: settings -> app -> launch. Configured by PLAYGROUND_* and GRADIO_* variables."""

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported; nothing leaves the machine

from playground.config.settings import from_environment
from playground.ui import serve

if __name__ == "__main__":
    serve.run(from_environment())
