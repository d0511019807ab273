"""Load other programs' state dicts into a backbone, matching tensors by name."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import BadInput
from .abdnet import ABDNet
from .backbone import Backbone
from .tensor_names import CLASSIFIERS, as_ours, nearest_text, without_common_prefix, without_prefix

# Where files keep their tensors, the first of these where several hold as many.
WRAPPERS = (
    *("state_dict", "model", "net", "model_state_dict", "network", "weights", "tensors", "params"),
    *("teacher", "ema", "state_dict_ema", "model_ema"),
)
DEEPEST = 4  # levels of wrapping
# Parts beside a network's body, by the beginning of their names: what others train on top of it.
HEADS = re.compile(
    r"(classifi|fc|head|bottleneck|bn_?neck|neck|bnneck|projection|embed|feat|pool|gem|loss|cent|"
    r"logit|arc|pixel_|reduction|proj|queue|predictor)",
    re.IGNORECASE,
)
# Tables that follow from a network's sizes; older programs save them, and we make them ourselves.
TABLES = ("relative_position_index", "relative_coords_table", "attn_mask")
INNER_HEADS = re.compile(r"(classifi\w*|fc|heads?|head_dist|logits?|arc\w*)$", re.IGNORECASE)


@dataclass(frozen=True)
class LoadedWeights:
    """What became of a state dict: tensors taken, of how many given, and the names left out."""

    taken: int
    given: int
    left_out: tuple[str, ...]  # classifiers of other data sets
    made_anew: tuple[str, ...]  # of ours, not in the file

    def __str__(self) -> str:
        text = f"{self.taken} of {self.given} tensors taken"
        if self.left_out:
            text += f"; left out: {_listed(self.left_out)}"
        if self.made_anew:
            text += f"; made anew: {_listed(self.made_anew)}"
        return text


def load_weights(backbone: Backbone, content: object, *, source: str) -> LoadedWeights:
    """Give a backbone the weights of a state dict, as found in a file, in place.

    A classifier that is missing or of another size is left out, and so are our own projection and
    neck when the file is a plain classification network's.

    Raises:
        BadInput: any other tensor is missing, unknown or of another shape; lists them.
    """
    given = unwrapped(content, source)
    whole = without_prefix(as_ours(given), backbone.state_dict())[0]
    if any(name.startswith("body.") for name in whole) and "projection.weight" in whole:
        return _load(backbone, whole, source=source, classifier="classifier")
    return _load_body(backbone, given, source=source)


def load_network(
    module: nn.Module,
    content: object,
    *,
    source: str,
    rename: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] | None = None,
) -> LoadedWeights:
    """Give a network without a Backbone around it the weights of a state dict, in place.

    module: may have `fresh`, beginnings of the names that a file may lack, and `aside`, those of
            its authors' tensors that do not enter the feature.
    rename: from the file's names, less what all of them begin with, to the network's.

    Raises:
        BadInput: a tensor of the network is missing or of another shape, or one of the file's is
            no classifier, no neck and no other part beside the feature; lists them.
    """
    given = unwrapped(content, source)
    named = rename(without_common_prefix(given)) if rename else given
    inside, outside = without_prefix(named, module.state_dict())
    loaded = _load(
        module,
        inside,
        source=source,
        classifier="",
        fresh=getattr(module, "fresh", ()),
        aside=getattr(module, "aside", ()),
    )
    left_out = tuple(sorted((*loaded.left_out, *outside)))
    return replace(loaded, given=len(given), left_out=left_out)


def _load_body(backbone: Backbone, given: Mapping[str, Tensor], *, source: str) -> LoadedWeights:
    body = backbone.body
    fresh: tuple[str, ...] = ()
    count = len(given)
    given, outside = without_prefix(given, body.state_dict())
    if isinstance(body, ABDNet):
        given, fresh = body.expand_weights(given), body.fresh
    loaded = _load(body, given, source=source, classifier=backbone.body_classifier, fresh=fresh)
    head = ("projection", "bottleneck", "classifier")
    return replace(
        loaded,
        given=count,
        left_out=(*loaded.left_out, *outside),
        made_anew=(*loaded.made_anew, *head),
    )


def unwrapped(content: object, source: str) -> dict[str, Tensor]:
    """Return the tensors of a state dict: of the dictionary in a file that holds the most.

    Raises:
        BadInput: no tensors in it, or numbers that are none.
    """
    if not isinstance(content, Mapping) or not content:
        raise BadInput(
            f"{source} holds no state dict: wanted names with a tensor each. Of a whole model, "
            "save model.state_dict()"
        )
    order = {name: -place for place, name in enumerate(WRAPPERS)}
    tensors: dict[str, Tensor] = {}
    best = (0, 0)
    for key, candidate in _mappings(content, ""):
        rank = len(candidate), order.get(key, -len(WRAPPERS))
        if rank > best:
            best, tensors = rank, candidate
    if not tensors:
        raise BadInput(f"{source} holds no tensors: {_listed([str(key) for key in content])}")
    return tensors


def _mappings(content: Any, key: str, *, depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the tensors of every dictionary in a dictionary, with its key."""
    yield (
        key,
        {
            name: torch.as_tensor(value)
            for name, value in content.items()
            if isinstance(name, str)
            and (
                isinstance(value, Tensor)
                or (isinstance(value, np.ndarray) and value.dtype.kind in "fiu")
            )
        },
    )
    for name, value in content.items():
        if isinstance(value, Mapping) and isinstance(name, str) and depth < DEEPEST:
            yield from _mappings(value, name, depth=depth + 1)


def _load(
    module: nn.Module,
    given: Mapping[str, Tensor],
    *,
    source: str,
    classifier: str,
    fresh: tuple[str, ...] = (),
    aside: tuple[str, ...] = (),
) -> LoadedWeights:
    """Load what fits; `classifier` is the layer that may differ, its first part one that may lack.

    A head that the file lacks altogether (ConvNeXt's norm, say) is made anew; half a head is not.
    """
    wanted = module.state_dict()
    fitting = {k: v for k, v in given.items() if k in wanted and wanted[k].shape == v.shape}
    left_out = [name for name in given if name not in fitting]
    missing = [name for name in wanted if name not in given and name not in _counters(wanted)]
    head = f"{classifier.partition('.')[0]}."
    may_lack = (f"{classifier}.", *fresh)
    if classifier and not any(name.startswith(head) for name in given):
        may_lack = (head, *fresh)
    problems = [
        _misfit(name, given, wanted=wanted)
        for name in left_out
        if not (_is_classifier(name, classifier) or _is_beside(name, wanted))
        and not name.startswith(aside)
    ]
    problems += [f"{name} is missing" for name in missing if not name.startswith(may_lack)]
    if problems:
        raise BadInput(
            f"{source} does not fit this backbone, {len(problems)} tensors differ: "
            f"{_listed(sorted(problems), 8)}. {nearest_text(given)}"
        )
    broken = [k for k, v in fitting.items() if v.is_floating_point() and not v.isfinite().all()]
    if broken:
        raise BadInput(
            f"{source}: {_listed(broken)} hold NaN or infinite values; training had failed by then"
        )
    module.load_state_dict(fitting, strict=False)
    made_anew = [name for name in wanted if name not in fitting and name not in _counters(wanted)]
    return LoadedWeights(len(fitting), len(given), tuple(sorted(left_out)), tuple(made_anew))


def _counters(tensors: Mapping[str, Tensor]) -> set[str]:
    """Batch norms' step counts: older programs do not save them, and nothing reads them."""
    return {name for name in tensors if name.endswith("num_batches_tracked")}


def _is_classifier(name: str, classifier: str) -> bool:
    """Whether a tensor is of the layer that may differ, by our name for it or by another's."""
    module = name.rpartition(".")[0]
    return module in CLASSIFIERS or (bool(classifier) and module == classifier)


def _is_beside(name: str, wanted: Mapping[str, Tensor]) -> bool:
    """Whether a tensor is of a part that the network lacks and that is called as heads are.

    Inside of a part that the network has, only a classifier may be one too many.
    """
    parts = name.split(".")
    if parts[-1] in TABLES:
        return True
    known = {".".join(one.split(".")[: len(parts)]) + "." for one in wanted}
    for depth in range(len(parts)):
        above = ".".join(parts[: depth + 1]) + "."
        if not any(one.startswith(above) for one in known):
            return bool((INNER_HEADS if depth else HEADS).match(parts[depth]))
    return False


def _misfit(name: str, given: Mapping[str, Tensor], *, wanted: Mapping[str, Tensor]) -> str:
    if name not in wanted:
        return f"{name} is unknown here"
    return f"{name} is {tuple(given[name].shape)}, wanted {tuple(wanted[name].shape)}"


def _listed(names: Sequence[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
