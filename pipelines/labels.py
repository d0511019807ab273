"""Identities and cameras as people write them -> the integers that everything after them reads."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import BadInput

JUNK = -1
NAME = 1 << 62  # numbers from here on stand for names, everywhere for the same


@dataclass(frozen=True)
class LabelNames:
    """The names of identities and cameras that are no numbers, each by its number from 0.

    Both are empty where the labels are numbers themselves.
    """

    pids: Sequence[str] = ()
    camids: Sequence[str] = ()

    def person(self, pid: int) -> str:
        """Return an identity as its owner calls it."""
        return self.pids[pid] if 0 <= pid < len(self.pids) else str(pid)

    def camera(self, camid: int) -> str:
        """Return a camera as its owner calls it."""
        return self.camids[camid] if 0 <= camid < len(self.camids) else str(camid)

    def camera_number(self, given: int | str, *, known: bool = True, option: str = "camera") -> int:
        """Return the number of a camera, given by number or by name; -1: not known.

        known: whether some camera is.   option: what it was given by.

        Raises:
            BadInput: there is none of this name; names those that there are.
        """
        text = str(given).strip()
        if not known and not NEGATIVE.fullmatch(text):
            raise BadInput(
                f"no cameras are known in this gallery, {text!r} neither; leave {option} out"
            )
        if text in self.camids:
            return list(self.camids).index(text)
        if NEGATIVE.fullmatch(text) or (WHOLE.fullmatch(text) and not self.camids):
            return numbers_of([text], "camera")[text]
        listed = ", ".join(self.camids[:10]) or "numbers"
        raise BadInput(f"camera {text!r} is not in the gallery; its cameras are {listed}")


NUMBERS = LabelNames()  # labels are numbers themselves
WHOLE = re.compile(r"(-?[0-9]{1,18})(?:\.0+)?")  # 7, -1, 0007 and pandas' 7.0; not 1_000
NO_NAMES = {"none", "null", "<na>", "nat", "#n/a", "n/a"}  # what stands where programs know nothing
SIGNS = str.maketrans({"\u2212": "-", "\u2013": "-", ",": "."})  # of numbers, as people type them
OF_NOBODY = {"junk", "junkimages", "distractor", "distractors", "background", "nobody", "unknown"}
NEGATIVE = re.compile(r"0*-[0-9]{1,18}(?:\.0+)?")  # -1, -1.0, and MARS's 00-1


def numbers_of(texts: Iterable[str], what: str) -> dict[str, int]:
    """Return a number for each distinct text.

    Where all are whole numbers these are their own. Otherwise they are names, numbered from 0 in
    sorted order. A negative number is junk, -1, beside names too.

    Raises:
        BadInput: a number that is not whole, or NaN; what: the labels' name in that sentence.
    """
    distinct = sorted(set(texts))
    junk = [text for text in distinct if NEGATIVE.fullmatch(text)]
    known = [text for text in distinct if not NEGATIVE.fullmatch(text)]
    whole = {text: match for text in known if (match := WHOLE.fullmatch(text))}
    for text in known:
        if text not in whole and is_number(text):
            raise BadInput(f"{what} is {text!r}; a whole number or a name is wanted")
    if len(whole) == len(known):
        numbers = {text: int(match[1]) for text, match in whole.items()}
    else:
        numbers = {text: number for number, text in enumerate(known)}
    return numbers | dict.fromkeys(junk, JUNK)


def same_everywhere(texts: np.ndarray, what: str) -> np.ndarray:
    """Return texts [N] as numbers [N] int64 that do not depend on the other texts of the set.

    A whole number is its own; a negative one, and no text at all, is junk. A name is 62 bits of its
    digest with the 63rd set: apart from all numbers of up to 18 digits. That two of a million names
    share a number happens once in nine million times.

    Raises:
        BadInput: a number that is not whole, or NaN; what: the labels' name in that sentence.
    """
    distinct = set(texts.tolist())
    numbers = {text: numbers_of([text], what)[text] for text in distinct} | {"": JUNK}
    for text in distinct - {""}:
        if not (WHOLE.fullmatch(text) or NEGATIVE.fullmatch(text)):
            digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
            numbers[text] = int.from_bytes(digest, "big") >> 2 | NAME
    return numbered(texts, numbers)


def joined_labels(
    there: np.ndarray,
    names: Sequence[str],
    *,
    new: np.ndarray,
    called: Mapping[int, str],
    what: str,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return new labels [N] numbered as those of a set, and the set's names with the new ones.

    there: the set's labels.   names: theirs by number; none where they are numbers themselves.
    new:   [N]; negative ones stay.   called: the names of those that are no numbers themselves.

    Raises:
        BadInput: new labels are names, and those of the set are numbers; what: theirs.
    """
    listed = list(names)
    known = sorted({int(label) for label in new.tolist() if label >= 0})
    if not listed and (there >= 0).any():
        named = [called[label] for label in known if label in called]
        if named:
            raise BadInput(
                f"the {what} there are numbers, such as {int(there.max())}; {named[0]!r} is a "
                "name. Give a number"
            )
        return new, ()
    if not listed and not any(label in called for label in known):
        return new, ()
    numbers = {text: number for number, text in enumerate(listed)}
    found = new.copy()
    for label in known:
        text = called.get(label, str(label))
        found[new == label] = numbers.setdefault(text, len(numbers))
    return found, tuple(numbers)


def is_number(text: str) -> bool:
    """Return whether a text is a number or none of some kind: 1.5, 1e3, nan, None; not 1_000."""
    if text.lower() in NO_NAMES:
        return True
    try:
        float(text.translate(SIGNS))
    except ValueError:
        return False
    return "_" not in text


def names_of(numbers: Mapping[str, int]) -> tuple[str, ...]:
    """Return texts that were numbered as names, by number; none where they have their own."""
    if all(WHOLE.fullmatch(text) or NEGATIVE.fullmatch(text) for text in numbers):
        return ()
    return tuple(sorted(text for text in numbers if numbers[text] >= 0))


def told_of_nobody(names: Iterable[str]) -> list[str]:
    """Return a sentence where names of persons may stand for pictures of nobody."""
    found = [name for name in names if re.sub("[^a-z]", "", name.lower()) in OF_NOBODY]
    return [
        f"{name!r} is read as the name of one person; if its pictures show nobody in particular, "
        "call it -1"
        for name in found
    ]


def distractors(pids: np.ndarray, queried: np.ndarray) -> np.ndarray:
    """Return which rows [N] are distractors: pid 0, as Market-1501 has it.

    queried: the queries' pids [Q]. Where one of them is 0, ids start at 0, and it is a person.
    """
    found: np.ndarray = (pids == 0) & ~(queried == 0).any()
    return found


def texts_of(labels: np.ndarray) -> np.ndarray | None:
    """Return labels [N] that are text as [N] str without outer spaces; None where they are not."""
    if labels.dtype.kind == "S":
        return np.char.strip(np.char.decode(labels, "utf-8"))
    return np.char.strip(labels) if labels.dtype.kind in "UT" else None


def column_values(values: np.ndarray) -> np.ndarray:
    """Return a column of further labels, [N] of numbers or text, as [N] int64 or as text.

    What stands for nothing (NaN, an empty text, None) is -1. Fractions are text.
    """
    texts = texts_of(values)
    if texts is None and values.dtype.kind == "f":
        gaps = np.isnan(values)
        if not (np.where(gaps, 0, values) % 1).any():
            return np.where(gaps, JUNK, np.where(gaps, 0, values).astype(np.int64))
        texts = np.where(gaps, "", values.astype(str))
    if texts is None:
        return values.astype(np.int64 if values.dtype.kind in "iub" else str)
    nothing = np.isin(np.char.lower(texts.astype(str)), ["", "nan", *NO_NAMES])
    return np.where(nothing, str(JUNK), texts)


def column_numbers(texts: Iterable[str]) -> dict[str, int]:
    """Return a number for each distinct text of a column of further labels.

    Whole numbers are their own where all are; otherwise texts are numbered from 0 in sorted order,
    so that dates keep theirs. A negative number is -1: not known.
    """
    distinct = set(texts)
    known = sorted(text for text in distinct if not NEGATIVE.fullmatch(text))
    whole = {text: int(match[1]) for text in known if (match := WHOLE.fullmatch(text))}
    found = whole if len(whole) == len(known) else {text: n for n, text in enumerate(known)}
    return found | dict.fromkeys(distinct - set(found), JUNK)


def numbered(texts: np.ndarray, numbers: dict[str, int]) -> np.ndarray:
    """Return texts [N] by their numbers, [N] int64."""
    distinct, rows = np.unique(texts, return_inverse=True)
    return np.array([numbers[str(text)] for text in distinct], np.int64)[rows]
