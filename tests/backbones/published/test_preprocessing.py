"""An image is prepared as each code base's own test prepares it, transcribed with torchvision."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from pipelines.backbones.published import PUBLISHED
from pipelines.data.augment import normalise
from pipelines.data.images import fitted

IMAGENET = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
HALF = transforms.Normalize([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])


def resized(size, normalisation):
    """Resize with Pillow's default filter of torchvision, to [0, 1], normalise."""
    return transforms.Compose([transforms.Resize(size), transforms.ToTensor(), normalisation])


def of_fastreid(size):
    """torchvision's filter 3, values to 255, mean and deviation times 255 inside of the model."""

    def transform(image):
        image = transforms.Resize(size, interpolation=transforms.InterpolationMode.BICUBIC)(image)
        values = torch.from_numpy(np.array(image).transpose(2, 0, 1)).float()
        mean = torch.tensor([0.485 * 255, 0.456 * 255, 0.406 * 255])
        deviation = torch.tensor([0.229 * 255, 0.224 * 255, 0.225 * 255])
        return (values - mean[:, None, None]) / deviation[:, None, None]

    return transform


TRANSCRIBED = {
    "torchreid:resnet50": resized([256, 128], IMAGENET),
    "osnet_": resized([256, 128], IMAGENET),
    "resnet50_": resized([256, 128], IMAGENET),
    "mlfn": resized([256, 128], IMAGENET),
    "hacnn": resized([160, 64], IMAGENET),
    "fastreid:sbs": of_fastreid([384, 128]),
    "fastreid:": of_fastreid([256, 128]),
    "bot_": resized([256, 128], IMAGENET),
    "transreid:": resized([256, 128], HALF),
    "transreid_ssl:vit_small": resized([256, 128], HALF),
    "transreid_ssl:vit_base": resized([384, 128], HALF),
    "pass:": resized([256, 128], HALF),
    "clipreid:vit": resized([256, 128], HALF),
    "clipreid:rn50": resized([256, 128], IMAGENET),
    "solider:": resized([384, 128], HALF),
    "abdnet": resized([384, 128], IMAGENET),
    "megadescriptor:l384": resized([384, 384], IMAGENET),
    "megadescriptor:": resized([224, 224], IMAGENET),
    "miewid:": resized([440, 440], IMAGENET),
}


@pytest.mark.parametrize("arch", PUBLISHED)
def test_an_image_is_prepared_as_in_the_code_bases_own_test(arch):
    values = np.random.default_rng(0).integers(0, 256, (213, 97, 3), dtype=np.uint8)
    image = Image.fromarray(values)
    theirs = next(one for start, one in TRANSCRIBED.items() if arch.startswith(start))(image)
    preprocessing = PUBLISHED[arch].preprocessing
    pixels = torch.from_numpy(fitted(image, preprocessing).copy()).permute(2, 0, 1)[None]
    ours = normalise(pixels, preprocessing)[0]
    assert ours.shape == theirs.shape and (ours - theirs).abs().max() < 1e-5
