"""What stands for the objects of other programs' classes in a file of weights."""

import pickle
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

LEGACY_PICKLES = 4  # of a file of before PyTorch 1.6: magic number, protocol, system, content
# Names that PyTorch reads by itself; its own begin with "torch.".
KNOWN = {"collections.OrderedDict", "collections.Counter", "_codecs.encode"}
KNOWN |= {f"builtins.{name}" for name in ("set", "bytearray", "complex")}
# Of PyTorch's own, those that it does not read.
MODULES = ("torch.nn.modules.", "torch.optim.", "torch.nn.parallel.", "torch.distributed.")


class Ignored:
    """What stands for an object of a class that is not read: a module's tensors are kept, no more.

    module: of a network, its state as pickled; else empty.
    """

    module: Mapping[str, Any]

    def __new__(cls, *_: Any) -> "Ignored":
        """Take whatever the object was made from."""
        found = super().__new__(cls)
        found.module = {}
        return found

    def __init__(self, *_: Any) -> None:
        """Keep nothing."""

    def __setstate__(self, state: Any) -> None:
        """Keep a network's parts."""
        if isinstance(state, dict) and {"_parameters", "_buffers", "_modules"} <= state.keys():
            self.module = state

    def tensors(self, prefix: str = "") -> dict[str, Any]:
        """Return a network's tensors by the names that its state_dict() would give them."""
        if not self.module:
            return {}
        named = {**self.module["_parameters"], **self.module["_buffers"]}
        skipped = self.module.get("_non_persistent_buffers_set", ())
        found = {
            f"{prefix}{name}": value
            for name, value in named.items()
            if value is not None and name not in skipped
        }
        for name, inner in self.module["_modules"].items():
            if isinstance(inner, Ignored):
                found |= inner.tensors(f"{prefix}{name}.")
        return found


class IgnoredMapping:
    """Makes a plain dictionary of an object of a dictionary's subclass (yacs' CfgNode…)."""

    def __new__(cls, *_: Any) -> Any:
        """Return what takes the items."""
        return OrderedDict()


class IgnoredList(list[Any]):
    """What stands for a list's subclass, or another object that is filled like one."""

    def __new__(cls, *_: Any) -> "IgnoredList":
        """Take whatever the object was made from."""
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        """Start empty."""
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """Keep nothing."""


class StandIn:
    """An object of any class while a file is looked through: it notes how it is filled."""

    filled: set[type]

    def __new__(cls, *_: Any, **__: Any) -> "StandIn":
        """Take whatever the object was made from."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Keep nothing."""

    def __setstate__(self, state: Any) -> None:
        """Keep nothing."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Note that it is a mapping."""
        self.filled.add(IgnoredMapping)

    def append(self, item: Any) -> None:
        """Note that it is a list."""
        self.filled.add(IgnoredList)

    def extend(self, items: Any) -> None:
        """Note that it is a list."""
        self.filled.add(IgnoredList)


class Survey(pickle.Unpickler):
    """Reads a pickle with a stand-in for every class and function in it, so that none is run.

    names: of Python 3, where the file has those of Python 2.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.names: dict[str, type[StandIn]] = {}

    def find_class(self, module: str, name: str) -> type[StandIn]:
        """Return a stand-in of its own for each name."""
        module, name = NAME_MAPPING.get((module, name), (module, name))
        full = f"{IMPORT_MAPPING.get(module, module)}.{name}"
        if full not in self.names:
            self.names[full] = type("StandIn", (StandIn,), {"filled": set()})
        return self.names[full]

    def persistent_load(self, pid: Any) -> Any:
        """Stand for a tensor's storage, or of old files for a network's class with its source."""
        if isinstance(pid, tuple) and len(pid) > 1 and pid[0] == "module":
            return pid[1]
        return self.find_class("torch", "storage")()


def stand_ins(path: Path) -> dict[str, type]:
    """Return what is to stand for each class in a file that PyTorch does not know by itself."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inside = min((n for n in archive.namelist() if n.endswith("data.pkl")), key=len)
            with archive.open(inside) as file:
                survey = Survey(file)
                survey.load()
    else:
        with path.open("rb") as file:
            survey = Survey(file)
            for _ in range(LEGACY_PICKLES):
                survey.load()
    return {
        name: min(stand.filled, key=lambda kind: kind.__name__, default=Ignored)
        for name, stand in survey.names.items()
        if name not in KNOWN and (not name.startswith("torch.") or name.startswith(MODULES))
    }


def with_tensors(content: Any) -> Any:
    """Return a file's content with the tensors of a whole network in its place."""
    if isinstance(content, Ignored):
        return content.tensors() or content
    if isinstance(content, dict):
        return {key: with_tensors(value) for key, value in content.items()}
    return content
