import numpy as np
import pytest
import torch

from pipelines.artifacts.embeddings import save_embeddings
from pipelines.artifacts.manifest import Manifest
from pipelines.artifacts.nformer import load_nformer
from pipelines.artifacts.run import Run
from pipelines.embeddings import Embeddings
from pipelines.errors import BadInput, StaleArtifact
from pipelines.gallery.refinement import refine_set
from pipelines.stages.import_nformer import import_nformer


def checkpoint(golden, path, *, wrap=None, prefix=""):
    state = {prefix + name[3:]: golden[name] for name in golden if name.startswith("sd/")}
    torch.save({wrap: state, "epoch": 3} if wrap else state, path)
    return path


@pytest.mark.parametrize("wrap,prefix", [(None, ""), ("state_dict", "nformer."), ("model", "")])
def test_the_authors_checkpoint_runs_here(golden, tmp_path, wrap, prefix):
    file = checkpoint(golden, tmp_path / "nformer.pt", wrap=wrap, prefix=prefix)
    path = import_nformer(Run(tmp_path / "run"), file)
    refined = refine_set(load_nformer(path), golden["x"][0], landmarks=golden["landmarks"])
    assert (refined - golden["eval_out"][0]).abs().max() < 1e-4


def test_it_is_up_to_date_or_stale_and_stays_whole_whatever_the_file_is_called(golden, tmp_path):
    file = checkpoint(golden, tmp_path / "nformer.pt")
    run = Run(tmp_path / "run")
    path = import_nformer(run, file)
    assert import_nformer(run, file) == run.artifact("nformer.pt") == path
    with pytest.raises(StaleArtifact, match="neighbours was 20, now 9"):
        import_nformer(run, file, neighbours=9)


def test_embeddings_of_another_width_are_refused(golden, tmp_path):
    run = Run(tmp_path / "run")
    with run.writing(Manifest("embeddings.h5", "extract", {}, {})) as (path, _):
        save_embeddings(path, query=Embeddings(np.eye(3), np.arange(3), np.arange(3)))
    with pytest.raises(BadInput, match="of width 64, the run's are 3 wide"):
        import_nformer(run, checkpoint(golden, tmp_path / "theirs.pth"))


def test_files_that_hold_no_nformer_are_refused(tmp_path):
    run, file = Run(tmp_path / "run"), tmp_path / "file.pth"
    with pytest.raises(BadInput, match="is not there"):
        import_nformer(run, file)
    torch.save([1, 2], file)
    with pytest.raises(BadInput, match="holds no state dict"):
        import_nformer(run, file)
    torch.save({"conv1.weight": torch.zeros(2)}, file)
    with pytest.raises(BadInput, match="no NFormer of the released code's"):
        import_nformer(run, file)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(BadInput, match="cannot be read as weights"):
        import_nformer(run, file)
