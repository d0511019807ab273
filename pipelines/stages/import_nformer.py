"""a checkpoint of the authors' released code -> nformer.pt"""

from pathlib import Path

from ..artifacts.checkpoints import load_untrusted
from ..artifacts.embeddings import open_embeddings
from ..artifacts.manifest import Manifest
from ..artifacts.nformer import save_nformer
from ..artifacts.run import Run, writing_stage
from ..backbones.state_dicts import unwrapped
from ..errors import BadInput
from ..files import file_digest
from ..nformer.released import nformer_from_released
from ..progress import Progress, Silent

ARTIFACT, STAGE = "nformer.pt", "import-nformer"


@writing_stage
def import_nformer(
    run: Run,
    file: str | Path,
    *,
    neighbours: int = 20,
    landmarks: int = 5,
    heads: int = 2,
    overwrite: bool = False,
    progress: Progress = Silent(),
) -> Path:
    """Bring an NFormer trained with the authors' code into a run.

    file: a state dict (.pt, .pth), alone or under `state_dict` or `model`; no code of it is run.

    Raises:
        BadInput: not such a file, tensors missing or of another shape, or made for another width
            than the run's embeddings.
        StaleArtifact: the run holds another NFormer, and `overwrite` is not given.
    """
    source = Path(file)
    state = unwrapped(load_untrusted(source), str(source))
    settings = {"neighbours": neighbours, "landmarks": landmarks, "heads": heads}
    wanted = Manifest(ARTIFACT, STAGE, settings, {"the released checkpoint": file_digest(source)})
    if run.is_current(wanted, overwrite=overwrite):
        progress.message(f"{run.path(ARTIFACT)} is up to date")
        return run.path(ARTIFACT)
    model = nformer_from_released(state, **settings)
    _require_same_width(run, model.dim)
    with run.writing(wanted) as (path, facts):
        facts.update(dim=model.dim, identities=model.settings["classes"], source=source.name)
        save_nformer(path, model, source=source.name)
    progress.message(
        f"{model.settings['layers']} layers of width {model.dim}, trained on "
        f"{model.settings['classes']} identities"
    )
    return run.path(ARTIFACT)


def _require_same_width(run: Run, dim: int) -> None:
    if run.manifest("embeddings.h5") is None:
        return
    with open_embeddings(run.artifact("embeddings.h5")) as file:
        width = int(file.attrs["dim"])
    if width != dim:
        raise BadInput(
            f"the NFormer refines embeddings of width {dim}, the run's are {width} wide: use the "
            "backbone that it was trained with"
        )
