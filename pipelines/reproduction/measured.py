"""A file of measured figures, so that each figure is measured once."""

import json
from pathlib import Path

from ..artifacts.lock import claim
from ..files import write_text

SCHEMA = 2  # raised when a figure's meaning changes: older ones are then measured again
Figures = dict[str, float]


class MeasuredFigures:
    """A file of figures about one set of embeddings; it is whole after every figure."""

    def __init__(self, path: Path, *, digest: str) -> None:
        self.path, self.digest = path, digest
        self.known: dict[str, Figures] = {}
        if path.exists():
            self.known = self._read()

    def get(self, *key: object) -> Figures | None:
        """Return the figures of a key, None where they were never measured."""
        return self.known.get(_joined(key))

    def put(self, figures: Figures, *key: object) -> Figures:
        """Keep figures under a key, and return them."""
        claim(self.path)
        self.known[_joined(key)] = figures
        table = {"schema": SCHEMA, "embeddings": self.digest, "cells": self.known}
        write_text(self.path, json.dumps(table, indent=0, sort_keys=True) + "\n")
        return figures

    def _read(self) -> dict[str, Figures]:
        """Return what is in the file, nothing where it is of other embeddings or not ours."""
        try:
            table = json.loads(self.path.read_text(encoding="utf-8"))
        except ValueError:  # nothing of worth is lost: it is measured again
            return {}
        same = isinstance(table, dict) and table.get("schema") == SCHEMA
        return dict(table["cells"]) if same and table.get("embeddings") == self.digest else {}


def _joined(key: tuple[object, ...]) -> str:
    return " | ".join(str(part) for part in key)
