"""Errors in the files that training reads. Imports no torch."""


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged or of another model; names the file."""

    code = "no_checkpoint"


class NoCheckpointYet(CheckpointError):
    """The run has not saved its first checkpoint."""

    code = "no_checkpoint_yet"
