"""Find a data set's folders, and list the images in them."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path, PurePosixPath

from ..errors import BadInput

# Every ending of the formats that `images` decodes: a set's pictures may have any of them.
IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png", ".apng", ".bmp", ".dib", ".webp"),
    *(".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".jp2", ".j2k"),
)
# What lies beside pictures as a rule, and is no reason to warn.
NOTES = (".db", ".ini", ".txt", ".md", ".json", ".mat", ".csv", ".xml", ".pdf", ".html", ".zip")
DEPTH = 8  # levels of folders looked into; real layouts have three


def find_home(
    root: Path, *, names: Iterable[str], layouts: Sequence[Sequence[str]], dataset: str
) -> tuple[Path, Sequence[str]]:
    """Return the folder that holds a layout's entries, and that layout, the first that is there.

    The folder is `root`, or one called one of `names` in or below it: two levels are looked into.
    Cases of letters do not matter.

    Raises:
        BadInput: `root` is missing, no folder, empty, or nothing in it has this layout.
    """
    entries = require_folder(root, dataset)
    wanted = {name.lower() for name in names}
    candidates = [root, *_called(root, wanted)]
    candidates += [inner for outer in candidates[1:] for inner in _called(outer, wanted)]
    for needs, candidate in product(layouts, candidates):
        if all(child(candidate, need) is not None for need in needs):
            return candidate, needs
    raise BadInput(
        f"{root} is not laid out as {dataset}: wanted {', '.join(layouts[0])}, in it or in a "
        f"folder called {' or '.join(sorted(names))}; found {shortened(entries)}"
    )


def require_folder(root: Path, dataset: str) -> list[str]:
    """Return the sorted names in the folder `root`.

    Raises:
        BadInput: there is no such folder, it cannot be read, or it is empty.
    """
    if not root.is_dir():
        what = "is a file" if root.exists() else "is not there"
        raise BadInput(f"{root} {what}; --root (or NFORMER_DATA) must be {_wanted(dataset)}")
    entries = sorted(entry.name for entry in scan(root))
    if not entries:
        raise BadInput(f"{root} is empty; --root must be {_wanted(dataset)}")
    return entries


def _wanted(dataset: str) -> str:
    """Return in words what folder a reader wants."""
    own = {
        "folder": "the folder of your pictures, with a folder for each person",
        "csv": "your table, or the folder that it lies in",
    }
    other = f"the folder of {dataset} or the folder it lies in. `nformer datasets` says where to "
    return own.get(dataset, f"{other}get it")


def child(folder: Path, name: str) -> Path | None:
    """Return the entry `name` of a folder, whatever the case of its letters, or None.

    `name` may have several parts: "images/train".
    """
    found = folder
    for part in name.split("/"):
        if not (found / part).exists():
            entries = scan(found) if found.is_dir() else []
            same = [entry.name for entry in entries if entry.name.lower() == part.lower()]
            if not same:
                return None
            part = min(same)
        found = found / part
    return found


def first_child(folder: Path, names: Iterable[str]) -> Path | None:
    """Return the first of some entries that a folder has, or None."""
    return next((found for name in names if (found := child(folder, name)) is not None), None)


def image_names(folder: Path, *, deep: bool = False) -> list[str]:
    """Return the names of the images in a folder, sorted; with `deep`, those below it as well.

    Hidden files and other kinds (Thumbs.db, notes) are left out; see `unread_endings`. A folder
    reached twice through links is listed once.

    Raises:
        BadInput: a name that is not UTF-8, or a folder that cannot be read.
    """
    return sorted(_walk(folder, "", depth=DEPTH if deep else 0, seen={_identity(folder)}))


def unread_endings(folder: Path) -> Counter[str]:
    """Return how many files below a folder have which endings, of those that are not read."""
    return Counter(ending for _, ending in _no_images(folder) if ending not in ("", *NOTES))


def notes(folder: Path) -> list[str]:
    """Return the sorted names below a folder of what usually lies beside pictures."""
    return sorted(name for name, ending in _no_images(folder) if ending in ("", *NOTES))


def _no_images(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the files below a folder that are no images, with their endings; of hidden ones ""."""
    for _, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if name[0] != "." and name != "__MACOSX"]
        for name in names:
            ending = "" if name[0] == "." else os.path.splitext(name)[1].lower()
            if ending not in IMAGE_ENDINGS:
                yield name, ending


def scan(folder: Path | str) -> list[os.DirEntry[str]]:
    """Return the entries of a folder; BadInput when it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise BadInput(f"{folder} cannot be read: {error.strerror}") from error


def inside(name: str) -> bool:
    """Return whether a path, as written in a list, stays below the folder it starts from."""
    path = PurePosixPath(name.replace("\\", "/"))
    drive = len(name) > 1 and name[1] == ":"
    return bool(name) and not path.is_absolute() and ".." not in path.parts and not drive


def shortened(names: Sequence[str], most: int = 5) -> str:
    """Return a list of names as words, with a count of those left out."""
    if not names:
        return "nothing"
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _walk(folder: Path, prefix: str, *, depth: int, seen: set[tuple[int, int]]) -> Iterator[str]:
    for entry in scan(folder):
        name = entry.name
        if name.startswith(".") or name == "__MACOSX":
            continue
        if entry.is_dir():
            path = Path(entry.path)
            if depth and (identity := _identity(path)) not in seen:
                seen.add(identity)
                yield from _walk(path, f"{prefix}{name}/", depth=depth - 1, seen=seen)
        elif name.lower().endswith(IMAGE_ENDINGS):
            try:
                name.encode("utf-8")
            except UnicodeEncodeError:
                where = str(folder).encode(errors="replace").decode()
                raise BadInput(
                    f"{where}: the name {name!r} is not UTF-8; rename the file"
                ) from None
            yield prefix + name


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _called(folder: Path, names: set[str]) -> list[Path]:
    found = [entry for entry in scan(folder) if entry.name.lower() in names and entry.is_dir()]
    return [Path(entry.path) for entry in sorted(found, key=lambda entry: entry.name)]
