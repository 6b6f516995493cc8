"""What can go wrong with data, apart so that every module of data can raise it."""

from __future__ import annotations

from models.knobs import ConfigError, Problem


class CorpusError(ConfigError):
    """A text or task that cannot be had or used, said with what can be done instead."""

    def __init__(self, message: str, path: str = "data.source"):
        super().__init__([Problem(path, message)])
