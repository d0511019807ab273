"""What an artifact was made from: NAME.json beside NAME."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin

from ..errors import BadInput
from ..files import text_digest

SCHEMA = 1  # raised when a stage's output changes meaning: every older artifact is then stale
SEAL = "digest"  # of the manifest's other lines


# Whether an input was not there before, and whether it is not there now: what happened to it.
CHANGES = {
    (False, False): "has changed",
    (True, False): "is new",
    (False, True): "is not given now",
}


@dataclass(frozen=True)
class Manifest:
    """The identity of an artifact (stage, schema, config, inputs) and facts about its making.

    inputs: SHA-256 of each artifact or image list it was made from, by name.
    facts:  what later stages want to know (dataset, root, counts, seconds); not its identity.
    block_sums: digests of its blocks, where it is mapped into memory: see `block_digests`.
    """

    artifact: str
    stage: str
    config: dict[str, Any]
    inputs: dict[str, str]
    facts: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA
    sha256: str = ""
    bytes: int = 0
    block_sums: str = ""

    def differences(self, other: "Manifest") -> list[str]:
        """Return what makes `other` another artifact than this one, a phrase each."""
        found = []
        if self.stage != other.stage:
            found.append(f"it was made by {other.stage}")
        if self.schema != other.schema:
            found.append(f"its schema is {other.schema}, this version writes {self.schema}")
        for name in sorted({*self.inputs, *other.inputs}):
            if self.inputs.get(name) != other.inputs.get(name):
                appeared, left = name not in other.inputs, name not in self.inputs
                found.append(f"{name} {CHANGES[appeared, left]}")
        for key in sorted({*self.config, *other.config}):
            was, now = other.config.get(key), self.config.get(key)
            if was != now:
                found.append(f"{key} was {was!r}, now {now!r}")
        return found

    def to_json(self) -> str:
        """Return the manifest as indented JSON with sorted keys, and the digest of all that."""
        table = asdict(self)
        return _text(table | {SEAL: text_digest(_text(table))})

    @staticmethod
    def read(path: Path) -> "Manifest":
        """Read a manifest; BadInput when it is not one of ours."""
        try:
            table = json.loads(path.read_bytes())
            if not isinstance(table, dict):
                raise TypeError("it must be a mapping")
            seal = table.pop(SEAL, None)  # earlier versions wrote none
            if seal is not None and seal != text_digest(_text(table)):
                raise ValueError("it was altered")
            table.pop("blocks", None)  # an earlier version's: such an artifact is read whole
            found = Manifest(**table)
            for one in fields(Manifest):
                kind, value = get_origin(one.type) or one.type, getattr(found, one.name)
                if type(value) is not kind:
                    raise ValueError(f"its {one.name} is {value!r}")
            return found
        except (ValueError, TypeError, RecursionError) as error:
            raise BadInput(
                f"{path} is not a manifest of ours ({error}); remove it and the file beside it, "
                "then run the stage again"
            ) from error


def _text(table: dict[str, Any]) -> str:
    return json.dumps(table, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
