"""an exported backbone + its model card -> a repository of the Hugging Face Hub"""

from ..artifacts.run import Run
from ..errors import blaming
from ..progress import Progress, Silent
from ..reporting.model_card import model_card
from .early import require_repository
from .export import NAMES, Format


def push(
    run: Run, repository: str, *, format: Format = "safetensors", progress: Progress = Silent()
) -> str:
    """Upload an exported backbone and its model card in one commit; return where they are.

    repository: OWNER/NAME; it is made where it is not there, private. The Hub's own settings
                (`hf auth login`, HF_TOKEN, HF_ENDPOINT) say who uploads and where to.

    Raises:
        MissingArtifact: nothing was exported in this format.
        BadInput: the Hub does not let in, or cannot be reached.
    """
    require_repository(repository)
    from huggingface_hub import CommitOperationAdd, HfApi

    file = f"model.{format}"
    exported = run.artifact(NAMES[format])
    card = model_card(run, run.require_manifest(NAMES[format]), format=format, file=file)
    operations = [
        CommitOperationAdd("README.md", card.encode()),
        CommitOperationAdd(file, str(exported)),
    ]
    progress.message(f"uploading README.md and {file} to {repository}")
    saying = (
        "is not uploaded; log in with `hf auth login`, and look whether the name is yours and the "
        "Hub can be reached"
    )
    with blaming(f"--push {repository}", saying=saying):
        api = HfApi()
        api.create_repo(repository, private=True, exist_ok=True)
        api.create_commit(repository, operations, commit_message="Backbone exported by nformer")
    return f"{api.endpoint}/{repository}"
