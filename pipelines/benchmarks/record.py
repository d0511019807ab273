"""A benchmark's table, and the machine that it was measured on."""

import platform
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from ..device import cores


@dataclass(frozen=True)
class Record:
    """What a benchmark measured.

    columns: the titles.   rows: cells as text, one list a row.   notes: a sentence each.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)

    def markdown(self, command: str) -> str:
        """Return the table as Markdown, under the machine's name and the command that made it."""
        lines = [f"# {self.title}", "", f"{machine()}, {date.today():%d %B %Y}; `{command}`.", ""]
        table = [self.columns, ["---"] * len(self.columns), *self.rows]
        lines += [f"| {' | '.join(cells)} |" for cells in table]
        return "\n".join([*lines, "", *self.notes]).rstrip() + "\n"


def machine() -> str:
    """Return what this machine computes with, in words."""
    import torch

    parts = [f"{cores()} cores of {_processor()}"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join([*parts, f"PyTorch {torch.__version__}"])


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
