"""A benchmark's table, and the machine that it was measured on."""

import os
import platform
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path


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
        lines += [_line(self.columns), _line(["---"] * len(self.columns))]
        lines += [_line(row) for row in self.rows]
        return "\n".join([*lines, "", *self.notes]).rstrip() + "\n"


def machine() -> str:
    """Return what this machine computes with, in words."""
    import torch

    parts = [f"{cores()} cores of {_processor()}"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join([*parts, f"PyTorch {torch.__version__}"])


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
