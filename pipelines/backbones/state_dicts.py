"""Load other programs' state dicts into a backbone, matching tensors by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from ..errors import BadInput
from .abdnet import ABDNet
from .backbone import Backbone
from .tensor_names import CLASSIFIERS, as_ours, nearest_text

WRAPPERS = ("state_dict", "model", "net", "model_state_dict", "state_dict_ema", "tensors")


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
    given = as_ours(unwrapped(content, source))
    if any(name.startswith("body.") for name in given):
        if not any(name.startswith("projection.") for name in given):
            body = {name.removeprefix("body."): value for name, value in given.items()}
            return _load_body(backbone, body, source=source)
        return _load(backbone, given, source=source, classifier="classifier")
    return _load_body(backbone, given, source=source)


def _load_body(backbone: Backbone, given: Mapping[str, Tensor], *, source: str) -> LoadedWeights:
    body = backbone.body
    fresh: tuple[str, ...] = ()
    count = len(given)
    if isinstance(body, ABDNet):
        given, fresh = body.expand_weights(given), body.fresh
    loaded = _load(body, given, source=source, classifier=backbone.body_classifier, fresh=fresh)
    head = ("projection", "bottleneck", "classifier")
    return replace(loaded, given=count, made_anew=(*loaded.made_anew, *head))


def unwrapped(content: object, source: str) -> dict[str, Tensor]:
    """Return the tensors of a state dict, without the wrappings and prefixes others add."""
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise BadInput(f"{source} holds no state dict: wanted names with a tensor each")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise BadInput(f"{source} holds no tensors: {_listed([str(key) for key in content])}")
    while all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def _load(
    module: nn.Module,
    given: Mapping[str, Tensor],
    *,
    source: str,
    classifier: str,
    fresh: tuple[str, ...] = (),
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
        _misfit(n, given, wanted=wanted) for n in left_out if not _is_classifier(n, classifier)
    ]
    problems += [f"{name} is missing" for name in missing if not name.startswith(may_lack)]
    if problems:
        raise BadInput(
            f"{source} does not fit this backbone, {len(problems)} tensors differ: "
            f"{_listed(sorted(problems), 8)}. {nearest_text(given)}"
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


def _misfit(name: str, given: Mapping[str, Tensor], *, wanted: Mapping[str, Tensor]) -> str:
    if name not in wanted:
        return f"{name} is unknown here"
    return f"{name} is {tuple(given[name].shape)}, wanted {tuple(wanted[name].shape)}"


def _listed(names: Sequence[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
