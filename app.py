"""Starts the web app: reads the settings and serves the page. Configured by PLAYGROUND_* and GRADIO_* environment variables."""

from playground.cli.entry import page

if __name__ == "__main__":
    page()
