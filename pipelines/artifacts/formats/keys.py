"""Which arrays of a file are which: keys such as train_features, and those that are nearly so."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from ...embeddings import SPLITS
from ...errors import BadInput

Warn = Callable[[str], None]
# By field, what files of others call it, MATLAB's evaluation scripts last.
FIELDS = {
    "features": ("features", "feature", "feats", "feat", "embeddings", "embedding", "f"),
    "pids": ("pids", "pid", "ids", "id", "labels", "label", "identities"),
    "camids": ("camids", "camid", "cams", "cam", "cameras", "camera"),
    "names": ("names", "name", "paths", "path", "filenames"),
    "clothes": ("clothes", "clothids", "clothes_ids"),
    "track": ("track", "tracks", "trackids", "track_ids"),
    "time": ("time", "times", "timestamps", "dates"),
    "illumination": ("illumination", "illuminations"),
    "viewpoint": ("viewpoint", "viewpoints"),
}
# Further words that are no keys on their own but tell, beside a split's, what a key means.
HINTS = {
    "features": ("x", "vector", "emb"),
    "pids": ("y", "target", "person", "class"),
    "camids": (),
    "names": ("file", "image"),
}
ALSO = {"probe": "query"}  # by another name, the split that is read from it
OF_SPLIT = {
    **ALSO,
    **{"test": "gallery", "q": "query", "g": "gallery"},
    **dict(zip(SPLITS, SPLITS, strict=True)),
}
SHORT = {"qf": "query_features", "gf": "gallery_features"}  # re-identification's usual names


def keyed_fields(
    path: Path, keys: Sequence[str], *, warn: Warn, labelled: bool, what: str = "keys"
) -> dict[str, dict[str, str]]:
    """Sort a file's keys `{split}_{field}` by split and field; say which others are ignored.

    labelled: whether pids are needed. Where they are not, features without a split's name are
              taken too, as split "".

    Raises:
        BadInput: no split in it, a split without features or without pids, or two keys for one.
    """
    called = {split: split for split in (*SPLITS, *(() if labelled else ("",)))} | ALSO
    wanted = {
        (f"{name}_{alias}" if name else alias): (split, field)
        for name, split in called.items()
        for field, aliases in FIELDS.items()
        for alias in aliases
    }
    found: dict[str, dict[str, str]] = {}
    for key in keys:
        if key not in wanted:
            continue
        split, field = wanted[key]
        own = f"{split}_{field}" if split else field
        other = found.setdefault(split, {}).setdefault(field, own if own in keys else key)
        if other != key and other != own:
            raise BadInput(f"{path} has both {other} and {key}; one of them is wanted")
    if not found and not labelled and len(keys) == 1:
        found[""] = {"features": keys[0]}
    if not found:
        raise BadInput(
            f"{path} has no embeddings: its {what} are {_listed(keys) or 'none'}; wanted "
            "{train,query,gallery}_{features,pids,camids}, and _names where there are names"
            f"{_meant(keys, wanted)}"
            + ("; or query_f, query_label, query_cam, gallery_f…" if what == "variables" else "")
        )
    for split, fields in found.items():
        for field in ("features", *(("pids",) if labelled else ())):
            if field not in fields:
                hint = " (-1 where the person is not known)" if field == "pids" else ""
                raise BadInput(
                    f"{path} has {split} but no {split}_{field}; it is needed{hint}, or the file "
                    f"is cut. Its {what} are {_listed(keys)}{_meant(set(keys), wanted)}"
                )
    read = {key for fields in found.values() for key in fields.values()}
    for name, split in ALSO.items():
        if theirs := [key for key in read if key.startswith(f"{name}_")]:
            warn(f"{path}: {name} is read as {split} ({_listed(theirs)})")
    unknown = set(keys) - read
    if unknown:
        warn(f"{path}: ignored {_listed(list(unknown))}")
    return {split: found[split] for split in (*SPLITS, "") if split in found}


def _meant(keys: Iterable[str], wanted: Mapping[str, tuple[str, str]]) -> str:
    """Return what to rename, where keys are nearly right: each to a name of its own."""
    given, near = set(keys), dict[str, str]()
    fields = {alias: field for field, aliases in FIELDS.items() for alias in aliases}
    alone = {key: fields[key.lower()] for key in sorted(given) if key.lower() in fields}
    if {"features", "pids"} <= set(alone.values()):
        renamed = ", ".join(f"{key} to gallery_{field}" for key, field in alone.items())
        return f". They name no split: rename {renamed}, or to train_… or query_… likewise"
    names = {key: "_".join(filter(None, which)) for key, which in wanted.items()}
    taken = {names[key] for key in given & set(wanted)}
    for key in sorted(given - set(wanted)):
        plain = re.sub("[^a-z]+", "_", key.lower()).strip("_")
        close = get_close_matches(plain, [name for name in wanted if "_" in name], n=1, cutoff=0.7)
        found = SHORT.get(plain) or _by_words(plain) or (names[close[0]] if close else "")
        if found and found not in taken:
            near[key] = found
            taken.add(found)
    renamed = ", ".join(f"{key} to {name}" for key, name in near.items())
    return f". Perhaps rename {renamed}" if near else ""


def _by_words(key: str) -> str:
    """Return the name that a key's words say, as `y_train` says train_pids; "" where none."""
    words = key.split("_")
    splits = [OF_SPLIT[word] for word in words if word in OF_SPLIT]
    fields = [
        field
        for word in words
        for field, more in HINTS.items()
        if any(_begins(word, known) for known in (*FIELDS[field], *more))
    ]
    return f"{splits[0]}_{fields[0]}" if len(splits) == 1 and fields else ""


def _begins(word: str, known: str) -> bool:
    """Return whether a word is a known one, or a longer form of it."""
    return word == known or (len(known) > 2 and word.startswith(known))


def _listed(keys: Sequence[str], most: int = 12) -> str:
    rest = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(sorted(keys)[:most]) + rest
