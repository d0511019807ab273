"""The networks by name, looked at without loading PyTorch: a wrong name is found at once."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ..errors import BadInput
from ..flow import command_line

TIMM = "timm:"
OSNETS = ("osnet_x1_0", "osnet_x0_75", "osnet_x0_5", "osnet_x0_25")
TRAINED_HERE = ("abdnet", *OSNETS)  # beside torchvision's and timm's
FASTREID = ("bot_r50", "bot_r50_ibn", "bot_r101_ibn", "sbs_r50", "sbs_r50_ibn", "sbs_r101_ibn",
            "agw_r50", "agw_r50_ibn", "agw_r101_ibn")  # fmt: skip
TRANSREID = ("vit_base", "vit_base_s12", "deit_base", "deit_base_s12",
             "vit_small", "vit_small_s12", "deit_small", "deit_small_s12")  # fmt: skip
AS_PUBLISHED = (
    *OSNETS,
    *("osnet_ibn_x1_0", "osnet_ain_x1_0", "osnet_ain_x0_75", "osnet_ain_x0_5", "osnet_ain_x0_25"),
    *("torchreid:resnet50", "resnet50_fc512", "resnet50_ibn_a", "mlfn", "hacnn"),
    *(f"fastreid:{name}" for name in FASTREID),
    *("bot_r50", "bot_r50_ibn"),
    *(f"transreid:{name}" for name in TRANSREID),
    *("transreid_ssl:vit_small", "transreid_ssl:vit_base", "pass:vit_small", "pass:vit_base"),
    *("clipreid:vit", "clipreid:vit_s12", "clipreid:rn50"),
    *("solider:swin_tiny", "solider:swin_small", "solider:swin_base", "abdnet"),
    *(f"megadescriptor:{name}" for name in ("t224", "s224", "b224", "l224", "l384")),
    *("miewid:msv2", "miewid:msv3"),
)
DECLARED = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


@cache
def torchvision_names() -> tuple[str, ...]:
    """Return the names of torchvision's classification networks, as its source declares them."""
    found = find_spec("torchvision")
    if found is None or found.origin is None:
        return ()
    sources = sorted((Path(found.origin).parent / "models").glob("*.py"))
    return tuple(name for one in sources for name in DECLARED.findall(one.read_text("utf-8")))


def require_trainable(arch: str) -> None:
    """Raise BadInput unless `train-backbone` has a network of this name; timm's are left to timm.

    The text names what is spelled like it.
    """
    if arch in AS_PUBLISHED and arch not in TRAINED_HERE:
        use = command_line("extract", "--arch", arch, "--weights", "FILE")
        raise BadInput(
            f"--arch {arch} is used as published, not trained here: {use}. To train: "
            f"{', '.join(TRAINED_HERE)}, a torchvision network or timm:NAME"
        )
    _require(arch, TRAINED_HERE)


def require_published(arch: str, *, option: str = "--arch") -> None:
    """Raise BadInput unless a network can be used as it is by this name; timm's are left to it."""
    _require(arch, AS_PUBLISHED, option=option)


def initial_weights_file(weights: str) -> Path | None:
    """Return the file that a new backbone starts from, or None for imagenet and none.

    Raises:
        BadInput: there is no such file.
    """
    if weights in ("imagenet", "none"):
        return None
    path = Path(weights).expanduser()
    if not path.is_file():
        raise BadInput(
            f"--weights {weights}: no such file; wanted imagenet, none, or a file of weights"
        )
    return path


def require_timm(arch: str) -> None:
    """Raise BadInput, with the command that installs it, unless timm can be imported."""
    if find_spec("timm") is None:
        raise BadInput(f"--arch {arch} needs timm: python -m pip install 'nformer[timm]'")


def _require(arch: str, ours: Iterable[str], *, option: str = "--arch") -> None:
    if arch.startswith(TIMM):
        require_timm(arch)
        return
    known = (*ours, *torchvision_names())
    if arch not in known:
        near = get_close_matches(arch, known, n=5, cutoff=0.3)
        spelled = f"spelled like it: {', '.join(near)}; " if near else ""
        raise BadInput(
            f"{option} {arch}: no such network; {spelled}known are torchvision's "
            "(https://pytorch.org/vision/stable/models.html#classification), "
            f"{', '.join(TRAINED_HERE)}, timm:NAME, and for extract and index those of "
            "nformer manual backbones"
        )
