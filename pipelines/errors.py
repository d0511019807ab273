"""Errors that a user can cause and mend: shown as one line, with exit code 2."""


class PipelineError(Exception):
    """A user's mistake or a fact of the machine; its text says wanted, found, and what to do."""


class BadInput(PipelineError):
    """Something given to us is not what it must be."""


class MissingArtifact(PipelineError):
    """A file that an earlier stage writes is not there; the text names the command for it."""


class StaleArtifact(PipelineError):
    """A file was made from something else than what is there now; the text says what changed."""
