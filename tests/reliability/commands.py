"""The commands that write, each in a fork of this process: torch is loaded once, not each time.

This process never computes: what it has done with threads would not survive a fork.
"""

import gc
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

LOADED = (  # by one command or another
    *("h5py", "jinja2", "matplotlib.backends.backend_agg", "PIL.Image", "pydantic.type_adapter"),
    *("torch._dynamo", "torchvision.models", "nformer_cli.main", "pipelines.stages.search_images"),
    *("nformer_cli.app", "typer._adapters", "pipelines.backbones.uninitialised"),
    *(f"pipelines.stages.{name}" for name in ("demo", "export", "index", "report", "subsample")),
    "pipelines.reproduction.reproduce",
)
LIMIT = 60.0  # seconds; nothing here takes three, alone on a machine
IMAGES = (
    "market1501 --root {images} --arch shufflenet_v2_x0_5 --weights none --epochs 1 --batch 8 "
    "--set instances=2 --height 32 --width 16 --workers 0 --device cpu"
)
COMMANDS = {
    "import-embeddings": "import-embeddings {folder}/x.npz",
    "train-nformer": "train-nformer --recipe paper --steps 9 --set eval_every=3 --set batch=24 "
    "--device cpu",
    "refine": "refine --device cpu",
    "evaluate": "evaluate --rerank kr --refine nformer --device cpu --no-report",
    "report": "report",
    "index": "index",
    "index add": "index add {folder}/more.npz",
    "index remove": "index remove gallery/000*",
    "subsample": "subsample --images-per-identity 1,2",
    "export-embeddings": "export-embeddings {run}/out.npz --overwrite",
    "reproduce": "reproduce table4 --steps 2 --seeds 1 --draws 1 --device cpu",
    "pack": "pack market1501 --root {images} --height 32 --width 16 --workers 0",
    "train-backbone": f"train-backbone {IMAGES}",
    "extract": "extract --batch 16 --workers 0 --device cpu",
    "export": "export --format torchscript",
}
AFTER = {  # of each, the command that makes the run that it is given
    "train-nformer": "import-embeddings",
    "refine": "train-nformer",
    "evaluate": "train-nformer",
    "report": "evaluate",
    "index": "train-nformer",
    "index add": "index",
    "index remove": "index",
    "subsample": "train-nformer",
    "export-embeddings": "import-embeddings",
    "reproduce": "import-embeddings",
    "extract": "train-backbone",
    "export": "train-backbone",
}
WRITES = {  # of each, what is the same however it came about
    "import-embeddings": "embeddings.h5",
    "train-nformer": "nformer.pt",
    "refine": "refined.h5",
    "evaluate": "ranking.h5",
    "report": "report.csv",
    "index": "index.h5",
    "index add": "index.h5",
    "index remove": "index.h5",
    "subsample": "images-per-identity-01/embeddings.h5",
    "export-embeddings": "out.npz",
    "reproduce": "reproduce/cells.json",
    "pack": "images.h5",
    "train-backbone": "backbone.pt",
    "extract": "embeddings.h5",
    "export": "",  # no two traces are alike
}


@dataclass(frozen=True)
class Ended:
    """How a fork ended: its exit code, or minus the signal that ended it, and what it said."""

    code: int
    text: str

    def problem(self, *allowed: int) -> str:
        """Return what is wrong with such an end, or ""."""
        if self.code == -signal.SIGKILL:
            return f"did not end in {LIMIT:.0f} s"
        if "Traceback" in self.text or self.code not in allowed:
            return f"ended with {self.code}: {self.text[-600:]}"
        lines = [line for line in self.text.splitlines() if line.startswith("error:")]
        if self.code == 2 and len(lines) != 1:
            return f"exit code 2 without one line of reason: {self.text[-600:]}"
        return ""


class Fork:
    """A function in a process of its own, its output in a file."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.log = Path(mkdtemp(prefix="nformer-fork-")) / "log"
        self.begun = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.setpgid(0, 0)
                output = os.open(self.log, os.O_WRONLY | os.O_CREAT)
                os.dup2(output, 1)
                os.dup2(output, 2)
                function()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> Ended:
        """Wait for its end; kill it where that does not come."""
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - self.begun > LIMIT:
                self.kill()
            time.sleep(0.002)
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        shutil.rmtree(self.log.parent)
        return Ended(os.waitstatus_to_exitcode(status), text)


def command(name: str, folder: Path) -> None:
    """Run a command as a user does, in this process, on the run in a folder."""
    from nformer_cli.main import main

    places = {"folder": folder, "images": folder / "images", "run": folder / "run"}
    words = [word.format(**places) for word in COMMANDS.get(name, name).split()]
    sys.argv = ["nformer", *words, "--run", str(folder / "run")]
    main()


def forked(name: str, folder: Path, *, first: Callable[[], object] = lambda: None) -> Fork:
    """Begin a command in a fork, after `first` was done there."""

    def whole() -> None:
        first()
        command(name, folder)

    return Fork(whole)


def whole_artifacts(folder: Path) -> str:
    """Return which artifact of the runs below a folder is not what its manifest says, or ""."""
    from pipelines.artifacts.run import Run
    from pipelines.errors import PipelineError

    for manifest in sorted(folder.rglob("*.json")):
        path = manifest.with_suffix("")
        if not path.is_file() or path.suffix not in (".h5", ".pt", ".json", ".torchscript"):
            continue
        try:
            run = Run(path.parent)
            if run.manifest(path.name) is not None:
                run.require_whole(path.name)
        except PipelineError as error:
            return str(error)
    return ""


def left_over(folder: Path) -> str:
    """Return the names of what no finished command leaves, or ""."""
    found = [path.name for path in folder.rglob(".*") if path.name != ".synthetic-unfinished"]
    return ", ".join(sorted(found))


def made(name: str, folder: Path) -> bytes:
    """Return what a command wrote that is the same however it came about."""
    path = folder / "run" / WRITES[name]
    return path.read_bytes() if WRITES[name] and path.is_file() else b""


class Templates:
    """Runs on which every command can be run, made once; and what each command makes of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seconds = folder, dict[str, float]()
        source = folder / "source"
        source.mkdir(parents=True)
        _must(Fork(lambda: _write_inputs(source)), "inputs")
        for name in COMMANDS:
            before = AFTER.get(name)
            start = source if before is None else folder / f"after {before}"
            shutil.copytree(start, folder / f"before {name}")
            place = shutil.copytree(start, folder / f"after {name}")
            begun = time.monotonic()
            _must(forked(name, place), name)
            self.seconds[name] = time.monotonic() - begun

    def place(self, name: str) -> Path:
        """Return where this process keeps what it calls so; made by it, or a template."""
        own = self.folder / str(os.getpid()) / name
        return own if own.exists() or not (self.folder / name).exists() else self.folder / name

    def copy(self, command: str, name: str) -> Path:
        """Return a fresh folder on which the command can be run."""
        return self.copy_of(f"before {command}", name)

    def copy_of(self, template: str, name: str) -> Path:
        """Return a fresh folder of this process, a copy of a template."""
        own = self.folder / str(os.getpid()) / name
        shutil.rmtree(own, ignore_errors=True)
        return Path(shutil.copytree(self.place(template), own))

    def wanted(self, name: str) -> bytes:
        return made(name, self.folder / f"after {name}")


def _must(fork: Fork, what: str) -> None:
    problem = fork.end().problem(0)
    if problem:
        raise RuntimeError(f"{what} {problem}")


def _write_inputs(folder: Path) -> None:
    import numpy as np

    from pipelines.data.synthetic.dataset import write_synthetic

    random = np.random.default_rng(0)
    centres = random.normal(size=(40, 8))
    arrays = {}
    for split, people, first in (("train", 12, 0), ("query", 6, 20), ("gallery", 6, 20)):
        pids = np.repeat(np.arange(first, first + people), 4)
        arrays[f"{split}_features"] = centres[pids] + 0.3 * random.normal(size=(len(pids), 8))
        arrays[f"{split}_pids"] = pids
        arrays[f"{split}_camids"] = np.arange(len(pids)) % 4
        arrays[f"{split}_names"] = [f"{split}/{row:04d}.jpg" for row in range(len(pids))]
    np.savez(folder / "x.npz", **arrays)
    np.savez(
        folder / "more.npz",
        gallery_features=random.normal(size=(3, 8)),
        gallery_pids=[1, 2, 3],
        gallery_names=["new/1", "new/2", "new/3"],
    )
    small = {"train_identities": 6, "test_identities": 3, "cameras": 2, "images": 4}
    write_synthetic(folder / "images", **small, height=32, width=16)


def load() -> None:
    """Load what the commands import, set this process and its forks to one thread, and leave out
    what takes long and writes nothing: the drawing of charts, the second trace of an export,
    three in four blocks of the network.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import torch
    import typer.main
    from matplotlib.figure import Figure
    from PIL import Image

    torch.set_num_threads(1)
    for name in LOADED:
        import_module(name)
    Image.preinit()
    built = typer.main.get_command(import_module("nformer_cli.app").app)
    typer.main.get_command = lambda app: built
    torch.jit.trace = partial(torch.jit.trace, check_trace=False)
    from torchvision.models.shufflenetv2 import ShuffleNetV2

    from pipelines.reporting import page

    whole = ShuffleNetV2.__init__

    def short(self: ShuffleNetV2, repeats: list[int], channels: list[int], **rest: Any) -> None:
        whole(self, [1] * len(repeats), channels, **rest)

    ShuffleNetV2.__init__ = short  # type: ignore[method-assign]
    for path in page.TEMPLATES.glob("*.j2"):
        page.template(path.name)
    drawn = Figure.savefig

    def savefig(figure: Figure, target: Any, **options: Any) -> None:
        if options.get("format") == "svg":
            target.write("<svg></svg>")
        else:
            drawn(figure, target, **{**options, "dpi": 10})

    Figure.savefig = savefig  # type: ignore[method-assign]
    gc.freeze()  # or each fork would copy all of it as soon as it looks for garbage
