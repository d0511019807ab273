"""Import torchvision without PyTorch's compiler, which takes most of the import's time."""

import importlib
import sys
from importlib.metadata import version
from types import ModuleType

from ..errors import PipelineError, reason_of

FROM = (0, 29)  # torchvision; of earlier ones an import that fails cannot be tried again
COMPILER = ("torch._dynamo", "torch._dynamo.utils")


def torchvision_models() -> ModuleType:
    """Return torchvision.models.

    Raises:
        PipelineError: torchvision is built for another torch: one of a CPU, the other of CUDA.
    """
    try:
        return importlib.import_module("torchvision.models")
    except RuntimeError as error:
        found = " and ".join(f"{name} {version(name)}" for name in ("torch", "torchvision"))
        raise PipelineError(
            f"{found} do not fit each other ({reason_of(error)}): install both with one command "
            "and from one place, as nformer manual start says"
        ) from error


def import_torchvision() -> None:
    """Import torchvision.models; one operator there, which we never call, would load the compiler.

    torchvision.ops.roi_align takes `is_compile_supported` from torch._dynamo.utils, and with it
    come sympy, torch._inductor and torch.distributed: 1.3 of 1.5 seconds. A stand-in answers
    instead, for as long as the import takes. Where torchvision is older than 0.29, wants more of
    the compiler than that, or the compiler is there already, it is imported as ever.
    """
    release = tuple(int(part) for part in version("torchvision").split(".")[:2])
    if "torchvision.models" in sys.modules or COMPILER[0] in sys.modules or release < FROM:
        return
    before = set(sys.modules)
    package, utils = (ModuleType(name) for name in COMPILER)
    package.__path__ = []
    utils.is_compile_supported = lambda device_type: False  # type: ignore[attr-defined]
    sys.modules.update(zip(COMPILER, (package, utils), strict=True))
    try:
        importlib.import_module("torchvision.models")
    except (ImportError, AttributeError, RuntimeError):
        for name in set(sys.modules) - before:
            if name.split(".")[0] == "torchvision":
                del sys.modules[name]
    finally:
        for name in COMPILER:
            sys.modules.pop(name, None)
