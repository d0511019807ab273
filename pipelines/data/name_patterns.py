"""`--pattern '{pid}_c{camid}_*.jpg'`: where the names of pictures hold identity and camera."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..embeddings import COLUMNS
from ..errors import BadInput

FIELDS = ("pid", "camid", "split", *COLUMNS)
# Patterns that names are tried with, to name one: the first that all of them are of.
USUAL = (
    *("{pid}_c{camid}s*", "{pid}_c{camid}_*", "{pid}_cam{camid}_*", "{pid}-c{camid}-*"),
    *("cam{camid}_{pid}_*", "c{camid}_{pid}_*"),
    *("{pid}_{camid}_*", "{pid}-{camid}-*", "{pid}_*", "{pid}-*"),
)
PART = re.compile(r"\{(\w*)\}|(\*\*|\*)")


@dataclass(frozen=True)
class NamePattern:
    """A pattern of names.

    {pid}, {camid}, {split}, or a name of COLUMNS: as short as the rest allows, and no "/".
    *: anything but "/".   **: anything.   A pattern without "/" is one of file names; else of paths
    below the folder.
    """

    text: str
    compiled: re.Pattern[str]

    @staticmethod
    def of(text: str) -> "NamePattern":
        """Return a pattern; BadInput where it is none, or has no identity."""
        expression, end, named = "", 0, list[str]()
        for part in PART.finditer(text):
            expression += re.escape(text[end : part.start()])
            end = part.end()
            field, stars = part.groups()
            if field is None:
                expression += ".*" if stars == "**" else "[^/]*"
                continue
            if field not in FIELDS or field in named:
                raise BadInput(
                    f"--pattern {text}: {{{field}}} "
                    f"{'stands twice' if field in named else 'is nothing that a name can hold'}; "
                    f"wanted {{pid}}, {{camid}}, {{split}}, or {', '.join(COLUMNS)}, once each"
                )
            named.append(field)
            expression += f"(?P<{field}>[^/]+?)"
        if "pid" not in named:
            raise BadInput(f"--pattern {text}: no {{pid}} in it, as in '{{pid}}_c{{camid}}_*.jpg'")
        return NamePattern(text, re.compile(expression + re.escape(text[end:]), re.DOTALL))

    def fields(self, name: str) -> dict[str, str] | None:
        """Return what a name holds, by field; None where it is not of this pattern."""
        whole = name if "/" in self.text else name.rpartition("/")[2]
        match = self.compiled.fullmatch(whole)
        return None if match is None else match.groupdict()


def usual_pattern(names: Sequence[str]) -> str | None:
    """Return a usual pattern that all names are of, with several persons, one in two; or None."""
    for text in USUAL:
        pattern = NamePattern.of(text)
        found = [pattern.fields(name) for name in names]
        people = {fields["pid"] for fields in found if fields is not None}
        if None not in found and 1 < len(people) < len(names):
            return text
    return None
