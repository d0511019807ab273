"""What is said of the images of a data set that cannot be read."""

import pytest
from PIL import Image

from pipelines.data.catalogue import open_dataset
from pipelines.data.images import UnreadableImage
from pipelines.data.several import joined
from pipelines.extraction.sources import naming_check_of


@pytest.fixture
def sets(tmp_path):
    """A folder of two identities, and another that lies in a folder of it."""
    for root in ("own", "own/.more"):
        for name in ("ann/1.jpg", "ann/2.jpg", "bob/3.jpg", "bob/4.jpg"):
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 8)).save(path)
    roots = [tmp_path / "own", tmp_path / "own/.more"]
    options = {"split": 0.5}
    return roots, joined([open_dataset("folder", root, options=options) for root in roots])


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("packed", [False, True])
def test_of_several_sets_the_check_of_the_one_that_holds_the_image_is_named(sets, which, packed):
    roots, data = sets
    path = roots[which] / "ann/1.jpg"
    name = path.relative_to(data.root) if packed else path
    with pytest.raises(UnreadableImage) as error, naming_check_of(data):
        raise UnreadableImage(str(name), "it is empty")
    check = f"`nformer check-data folder --root {roots[which].resolve()} --split 0.5"
    assert check in str(error.value)
