"""Check image names that come out of files: paths that stay below the data set's root."""

from pathlib import PurePosixPath


def inside(name: str) -> bool:
    """Return whether a path, as written in a list, stays below the folder it starts from."""
    path = PurePosixPath(name.replace("\\", "/"))
    drive = len(name) > 1 and name[1] == ":"
    return bool(name) and not path.is_absolute() and ".." not in path.parts and not drive
