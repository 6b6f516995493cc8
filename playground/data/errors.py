"""The error of the data modules, in a module of its own so that all of them can import it."""

from __future__ import annotations

from models.knobs import ConfigError, Problem


class CorpusError(ConfigError):
    """A text or task that is not available or not usable; the message says what can be done instead."""

    def __init__(self, message: str, path: str = "data.source"):
        super().__init__([Problem(path, message)])
