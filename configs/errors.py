"""Errors that a user can cause and mend.

The command line prints them as one message on stderr, without a traceback, and exits with code 2.
A message names the key or file, the value found, what was expected, and what to do. Anything else
that is raised is a defect of ours and keeps its traceback.
"""


class UserError(ValueError):
    """Base of the errors below: something outside the code has to change."""

    is_everywhere = True
    "Whether every rank meets this error alike, so that one of them may say it for all."


class ConfigError(UserError):
    """A recipe, an override or a command-line argument is wrong."""


class DataError(UserError):
    """A corpus, shard, index or tokenizer is missing, damaged or unsuitable."""


class CheckpointError(UserError):
    """A checkpoint or run folder is damaged or belongs to something else."""


class TrainingError(UserError):
    """Training cannot go on: the loss is not finite, a device is missing, ..."""
