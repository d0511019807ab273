"""The `nformer` command in this process: its exit code and what it wrote; a traceback goes on."""

import io
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple
from unittest import mock

from nformer_cli.main import main


class Done(NamedTuple):
    code: int
    out: str
    err: str


def nformer(line: str) -> Done:
    """Run a line as a shell would, in the working folder; Done(1, …) is not a traceback."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["nformer", *shlex.split(line)]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            return Done(int(end.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("main does not return")


def refused(line: str) -> str:
    """Return the one line that a command is refused with; its exit code is 2."""
    done = nformer(line)
    assert done.code == 2, (line, done)
    (text,) = done.err.strip().splitlines()
    return text
