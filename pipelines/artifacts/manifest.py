"""What an artifact was made from: NAME.json beside NAME."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BadInput

SCHEMA = 1  # raised when a stage's output changes meaning: every older artifact is then stale


@dataclass(frozen=True)
class Manifest:
    """The identity of an artifact (stage, schema, config, inputs) and facts about its making.

    inputs: SHA-256 of each artifact or image list it was made from, by name.
    facts:  what later stages want to know (dataset, root, counts, seconds); not its identity.
    """

    artifact: str
    stage: str
    config: dict[str, Any]
    inputs: dict[str, str]
    facts: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA
    sha256: str = ""
    bytes: int = 0

    def differences(self, other: "Manifest") -> list[str]:
        """Return what makes `other` another artifact than this one, a phrase each."""
        found = []
        if self.stage != other.stage:
            found.append(f"it was made by {other.stage}")
        if self.schema != other.schema:
            found.append(f"its schema is {other.schema}, this version writes {self.schema}")
        for name in sorted({*self.inputs, *other.inputs}):
            if self.inputs.get(name) != other.inputs.get(name):
                found.append(f"{name} has changed")
        for key in sorted({*self.config, *other.config}):
            was, now = other.config.get(key), self.config.get(key)
            if was != now:
                found.append(f"{key} was {was!r}, now {now!r}")
        return found

    def to_json(self) -> str:
        """Return the manifest as indented JSON with sorted keys."""
        return json.dumps(asdict(self), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @staticmethod
    def read(path: Path) -> "Manifest":
        """Read a manifest; BadInput when it is not one of ours."""
        try:
            return Manifest(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise BadInput(
                f"{path} is not a manifest of ours ({error}); remove it and the file beside it, "
                "then run the stage again"
            ) from error
