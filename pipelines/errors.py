"""Errors that a user can cause and mend: shown as one line, with exit code 2."""

from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 200  # characters of a library's own reason


class PipelineError(Exception):
    """A user's mistake or a fact of the machine; its text says wanted, found, and what to do."""


class BadInput(PipelineError):
    """Something given to us is not what it must be."""


class MissingArtifact(PipelineError):
    """A file that an earlier stage writes is not there; the text names the command for it."""


class StaleArtifact(PipelineError):
    """A file was made from something else than what is there now; the text says what changed."""


@contextmanager
def blaming(file: object, *, saying: str = "is truncated or damaged") -> Iterator[None]:
    """Turn whatever a library raises while it parses a file into BadInput: the file and why.

    Of damaged bytes a library may raise anything (TypeError, struct.error, TokenError…), and what
    it raises is documented nowhere; so only parsing belongs inside, or calls of a service, whose
    transport changes with its library's version.
    """
    try:
        with naming(file):
            yield
    except PipelineError:
        raise
    except Exception as error:
        raise BadInput(f"{file} {saying} ({reason_of(error)})") from error


@contextmanager
def naming(file: object) -> Iterator[None]:
    """Put the file before a BadInput that does not name it."""
    try:
        yield
    except BadInput as error:
        if type(error) is not BadInput or str(file) in str(error):
            raise
        raise BadInput(f"{file}: {error}") from error


def reason_of(error: BaseException) -> str:
    """Return a library's error in one short line."""
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= LONGEST else f"{lines[0][:LONGEST]}…"
