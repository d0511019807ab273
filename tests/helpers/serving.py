"""A server's run of small pictures, and a client of its application, without a socket."""

import io
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image

from pipelines import Run
from pipelines.backbones.as_is import architecture
from pipelines.config import ExtractConfig
from pipelines.serving.settings import ServeSettings
from pipelines.stages.index_pictures import index_pictures
from pipelines.stages.serve import service_of

ARCH = "osnet_x0_25"
SMALL = ExtractConfig(height=64, width=32, amp="off")


def picture(number: int, *, size=(40, 80)) -> Image.Image:
    """Eight coarse fields in colours of the number's own."""
    coarse = np.random.default_rng(number).integers(0, 256, (4, 2, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.NEAREST)


def png(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind)
    return file.getvalue()


def pictures_run(folder, count: int = 8) -> Run:
    """A run whose index holds pictures 0 to count - 1, by an untrained OSNet."""
    crops = folder / "crops"
    crops.mkdir()
    for number in range(count):
        picture(number).save(crops / f"{number}.png")
    torch.manual_seed(0)
    network = architecture(ARCH).build(size=(64, 32), feature="")
    torch.save(network.state_dict(), folder / "osnet.pth")
    run = Run(folder / "run")
    index_pictures(run, crops, arch=ARCH, weights=folder / "osnet.pth", config=SMALL)
    return run


@contextmanager
def serving(run: Run, **settings):
    """Yield a client, and the service behind it."""
    from starlette.testclient import TestClient

    from pipelines.serving.app import create_app

    service = service_of(run, settings=ServeSettings(**settings))
    with TestClient(create_app(service), base_url="http://localhost:8000") as client:
        yield client, service


def send(client, content: bytes, *, kind="image/png", headers=None, **params):
    """Search with a picture's bytes."""
    return client.post(
        "/search", content=content, params=params, headers={"content-type": kind, **(headers or {})}
    )
