"""Save and restore all that an interrupted training needs to continue unchanged."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..artifacts.checkpoints import load_checkpoint, save_checkpoint
from ..files import sealed, sealing

Modules = Mapping[str, nn.Module]
Optimizers = Mapping[str, Optimizer]
Generators = Mapping[str, torch.Generator]


def save_state(
    path: Path,
    *,
    key: str,
    counters: Mapping[str, Any],
    modules: Modules,
    optimizers: Optimizers,
    generators: Generators | None = None,
) -> None:
    """Write a training's state as `path` with its digest in the name, whole or not at all.

    key:      what this training is (a digest of its config and inputs): see `load_state`.
    counters: JSON-able facts, such as the epoch and the step reached.
    """
    tensors: dict[str, Tensor] = {}
    meta: dict[str, Any] = {"key": key, "counters": dict(counters), "optimizers": {}}
    for name, module in modules.items():
        tensors.update(_prefixed(f"module/{name}", module.state_dict()))
    for name, optimizer in optimizers.items():
        found, plain = _split_optimizer(optimizer.state_dict())
        tensors.update(_prefixed(f"optimizer/{name}", found))
        meta["optimizers"][name] = plain
    for name, generator in (generators or {}).items():
        tensors[f"generator/{name}"] = generator.get_state()
    random_tensors, meta["random"] = _random_state()
    tensors.update(_prefixed("random", random_tensors))
    with sealing(path) as temporary:
        save_checkpoint(temporary, tensors, meta=meta)


def load_state(
    path: Path,
    *,
    key: str,
    modules: Modules,
    optimizers: Optimizers,
    generators: Generators | None = None,
) -> dict[str, Any] | None:
    """Restore a training from `path` and return its counters, or None to start afresh.

    None: there is no such file, it was damaged, or it belongs to another training than `key`.
    Modules, optimisers, generators and the global random states are changed in place.
    """
    found = sealed(path)
    if found is None:
        return None
    tensors, meta = load_checkpoint(found)
    if meta.get("key") != key:
        return None
    for name, module in modules.items():
        module.load_state_dict(_below(tensors, f"module/{name}"))
    for name, optimizer in optimizers.items():
        plain = meta["optimizers"][name]
        optimizer.load_state_dict(_join_optimizer(_below(tensors, f"optimizer/{name}"), plain))
        _lay_out_like_parameters(optimizer)
    for name, generator in (generators or {}).items():
        generator.set_state(tensors[f"generator/{name}"])
    _restore_random(_below(tensors, "random"), meta["random"])
    counters: dict[str, Any] = meta["counters"]
    return counters


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}


def _split_optimizer(state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return an optimiser's state as tensors, "PARAMETER/KEY", and the rest as plain values."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for parameter, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{parameter}/{name}"] = value
            else:
                plain.setdefault(str(parameter), {})[name] = value
    return tensors, {"state": plain, "param_groups": state["param_groups"]}


def _join_optimizer(tensors: Mapping[str, Tensor], plain: dict[str, Any]) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {
        int(parameter): dict(entries) for parameter, entries in plain["state"].items()
    }
    for name, tensor in tensors.items():
        parameter, _, entry = name.partition("/")
        state.setdefault(int(parameter), {})[entry] = tensor
    return {"state": state, "param_groups": plain["param_groups"]}


def _lay_out_like_parameters(optimizer: Optimizer) -> None:
    """Give each momentum its parameter's strides (channels_last): fused kernels rely on them."""
    for parameter, entries in optimizer.state.items():
        for name, value in entries.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                entries[name] = torch.empty_like(parameter.detach()).copy_(value)


def _random_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    version, words, gauss = random.getstate()
    _, numpy_words, position, has_gauss, cached = np.random.get_state(legacy=True)
    tensors = {
        "torch": torch.get_rng_state(),
        "python": torch.tensor(words, dtype=torch.int64),
        "numpy": torch.from_numpy(np.asarray(numpy_words, dtype=np.int64)),
    }
    if torch.cuda.is_initialized():
        tensors["cuda"] = torch.cuda.get_rng_state()  # of this process's device
    plain = {"python": [version, gauss], "numpy": [int(position), int(has_gauss), float(cached)]}
    return tensors, plain


def _restore_random(tensors: Mapping[str, Tensor], plain: dict[str, Any]) -> None:
    torch.set_rng_state(tensors["torch"])
    version, gauss = plain["python"]
    random.setstate((version, tuple(tensors["python"].tolist()), gauss))
    words = tensors["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", words, *plain["numpy"]))
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"])
