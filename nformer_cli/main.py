"""The entry point: a user's mistake becomes one line and exit code 2, a bug keeps its traceback."""

import io
import json
import os
import sys
from contextvars import copy_context
from pathlib import Path
from typing import Any

INTERRUPTED = 130  # what Typer makes of Ctrl-C


def main() -> None:
    """Run the `nformer` command and exit."""
    # Threads that wait by spinning make a shared machine five to thirty times slower (measured:
    # ShuffleNet training on two busy cores, 5 to 35 images/s against 160). Set before torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # the least: 2⁴ cycles
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")  # its default, without a warning of it
    for stream in (sys.stdout, sys.stderr):  # what an encoding lacks is written as an escape
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _require_our_pipelines()
    from pipelines.processes import world

    try:
        _run()
    except SystemExit as end:
        if world() == 1:
            raise
        # Under torchrun, PyTorch's threads can abort a process while Python takes itself down
        # (seen once in 30 ends), which torchrun would take for a failure.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else int(bool(end.code)))


def _interrupted() -> str:
    """Return what an interrupted command kept, and how to go on."""
    from pipelines.artifacts.run import SCRATCH
    from pipelines.artifacts.unfinished import kept_of_this_command
    from pipelines.flow import AT_WORK

    kept = kept_of_this_command(Path(AT_WORK.get()) / SCRATCH) if AT_WORK.get() else None
    if kept is None:
        return "interrupted; the same command goes on from what was finished, if anything was"
    return f"interrupted; {kept} is kept, the same command goes on from there"


def _run() -> None:
    import typer

    from pipelines.errors import PipelineError
    from pipelines.files import FULL
    from pipelines.processes import EndedElsewhere

    from .app import app

    misuse: type[Any] = typer.BadParameter.__mro__[2]  # Click's base, which Typer keeps elsewhere
    try:
        # A copy: what a command tells the messages, such as its run, ends with it.
        context = copy_context()
        code = context.run(app, prog_name="nformer", standalone_mode=False)
        if code == INTERRUPTED:
            _complain(context.run(_interrupted))
        sys.exit(code or 0)
    except EndedElsewhere:
        sys.exit(1)
    except PipelineError as error:
        _complain(str(error))
        sys.exit(2)
    except misuse as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.ctx.get_help())
        else:
            typed = [word for word in sys.argv[1:2] if word in typer.main.get_group(app).commands]
            asked = " ".join(["nformer", *typed]) if error.ctx is None else error.ctx.command_path
            _complain(f"{error.format_message().rstrip('.')}; see {asked} --help")
        sys.exit(2)
    except typer.Abort:
        sys.exit(1)
    except BrokenPipeError:  # `nformer info | head`: the reader has seen enough
        _drop_output()
        sys.exit(141)
    except OSError as error:
        if error.filename is not None and error.strerror is not None:
            _complain(f"{os.fsdecode(error.filename)}: {error.strerror}")
        elif error.errno in FULL:  # `nformer evaluate --json > there`
            _drop_output()
            _complain(f"{FULL[error.errno]} for the output")
        elif "shared object" in str(error) or ".dll" in str(error):  # of a package's own libraries
            _complain(f"a package cannot be loaded ({error}); install nformer again with pip")
        else:
            raise  # of no file: a bug of ours
        sys.exit(2)
    except ImportError as error:
        if (error.name or "").split(".")[0] in ("pipelines", "nformer_cli"):
            raise
        what = error.name or "a package"
        _complain(f"{what} cannot be imported ({error}); install nformer again with pip")
        sys.exit(2)


def _drop_output() -> None:
    """Send what is still to be written to stdout nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _require_our_pipelines() -> None:
    """Refuse to run another project's `pipelines`, which an import path can put before ours."""
    import pipelines

    if getattr(pipelines, "DISTRIBUTION", None) != "nformer":
        folders = pipelines.__file__ or ", ".join(getattr(pipelines, "__path__", ["?"]))
        text = (
            f"another package named `pipelines` stands before nformer's: {folders}. Run nformer "
            "from another folder, take that one off PYTHONPATH, or use a virtual environment "
            "of its own"
        )
        _tell_as_json(text)
        print(f"error: {text}", file=sys.stderr)  # our console needs our pipelines
        sys.exit(2)


def _complain(text: str) -> None:
    """Say what is wrong on stderr; to a program that asked for JSON, on stdout too."""
    from pipelines.processes import is_first_to_say

    from .console import err, tell

    if not is_first_to_say(text):
        return
    err.quiet = False
    _tell_as_json(text)
    tell(text, mark="error: ", style="bold red")


def _tell_as_json(text: str) -> None:
    """Say what is wrong to a program that asked for JSON."""
    if "--json" in sys.argv[1:]:
        print(json.dumps({"error": text}, ensure_ascii=False))


if __name__ == "__main__":
    main()
