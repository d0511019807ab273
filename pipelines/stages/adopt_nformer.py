"""an nformer.pt of another run, or a checkpoint of the authors' -> this run's nformer.pt"""

from pathlib import Path

from ..artifacts.checkpoints import load_untrusted
from ..artifacts.embeddings import open_embeddings
from ..artifacts.manifest import Manifest
from ..artifacts.nformer import load_nformer, save_nformer
from ..artifacts.run import Run, writing_stage
from ..files import file_digest
from ..progress import Progress, Silent
from .early import unlike_width
from .import_nformer import ARTIFACT, STAGE, import_nformer

NETWORKS = ("backbone.pt", "network weights", "onnx network")  # what embeddings are made by


@writing_stage
def adopt_nformer(
    run: Run, file: str | Path, *, overwrite: bool = False, progress: Progress = Silent()
) -> Path:
    """Use an NFormer that was trained on another data set in this run.

    Raises:
        BadInput: no NFormer, or one for embeddings of another width than this run's.
        StaleArtifact: the run has an NFormer of its own, and `overwrite` is not given.
    """
    source = Path(file)
    if source.exists() and run.path(ARTIFACT).exists() and source.samefile(run.path(ARTIFACT)):
        return run.artifact(ARTIFACT)
    content = load_untrusted(source)
    if not (isinstance(content, dict) and set(content) == {"meta", "tensors"}):
        return import_nformer(run, source, overwrite=overwrite, progress=progress)
    model = load_nformer(source)
    with open_embeddings(run.artifact("embeddings.h5")) as embeddings:
        width = int(embeddings.attrs["dim"])
    if width != model.dim:
        raise unlike_width(source, dim=model.dim, width=width)
    _compare_networks(run, source, progress=progress)
    inputs = {"the model of another run": file_digest(source)}
    wanted = Manifest(ARTIFACT, STAGE, {}, inputs)
    if not run.is_current(wanted, overwrite=overwrite):
        with run.writing(wanted) as (path, facts):
            facts.update(dim=model.dim, identities=model.settings["classes"], source=source.name)
            save_nformer(path, model, source=source.name)
        progress.message(f"{source} is this run's NFormer now: {run.path(ARTIFACT)}")
    return run.path(ARTIFACT)


def _compare_networks(run: Run, source: Path, *, progress: Progress) -> None:
    """Warn where the other run's embeddings are of another network, as far as both are known."""
    other = Run(source.parent)
    if source.name != ARTIFACT or not other.path("embeddings.h5").exists():
        return
    theirs, ours = (_network(one) for one in (other, run))
    if theirs and ours and theirs != ours:
        progress.warn(
            f"--model {source} was trained on the embeddings of another network than this run's, "
            "of equal width: what it learned there need not hold here. Embed both data sets with "
            "one network: nformer extract --weights RUN/backbone.pt"
        )


def _network(run: Run) -> str:
    """Return the digest of the network that made a run's embeddings; "" where it is not known."""
    manifest = run.manifest("embeddings.h5")
    inputs = manifest.inputs if manifest else {}
    return next((inputs[name] for name in NETWORKS if name in inputs), "")
