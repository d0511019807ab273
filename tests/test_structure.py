"""The layout holds: imports point one way, and help loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BASE = {"config", "progress", "flow", "errors", "seeding", "device", "embeddings", "imports"}
MAY_IMPORT = {
    "data": BASE | {"data", "artifacts"},
    "retrieval": BASE | {"retrieval"},
    "models": BASE | {"models", "retrieval"},
    "artifacts": BASE | {"artifacts", "models", "retrieval"},
    "training": BASE | {"training", "artifacts", "models", "retrieval", "data"},
    "stages": BASE | {"stages", "training", "artifacts", "models", "retrieval", "data"},
    "reproduction": BASE
    | {"reproduction", "stages", "training", "artifacts", "models", "retrieval", "data"},
}
HEAVY = ("torch", "torchvision", "h5py", "faiss", "scipy", "matplotlib", "PIL", "numpy")


def imported_rooms(path: Path) -> set[str]:
    """Return the rooms of `pipelines` that a file imports relatively, outside type checking."""
    tree = ast.parse(path.read_text())
    package = path.relative_to(ROOT / "pipelines").parent.parts
    rooms = set()
    for node in runtime_nodes(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - (node.level - 1)]
            target = (*base, *(node.module or "").split(".")) if node.module else base
            names = [alias.name for alias in node.names] if not target else [target[0]]
            rooms.update(names)
    return rooms


def runtime_nodes(tree: ast.AST):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        yield node
        yield from runtime_nodes(node)


def test_imports_point_one_way():
    for room, allowed in MAY_IMPORT.items():
        for path in (ROOT / "pipelines" / room).rglob("*.py"):
            wrong = imported_rooms(path) - allowed
            assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"
    for name in BASE:
        path = ROOT / "pipelines" / f"{name}.py"
        assert imported_rooms(path) <= BASE, path


def test_only_relative_imports_inside_pipelines():
    for path in (ROOT / "pipelines").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert (node.module or "").split(".")[0] not in ("pipelines", "nformer_cli"), path


def test_only_search_imports_faiss():
    for path in (ROOT / "pipelines").rglob("*.py"):
        if path.name == "search.py" and path.parent.name == "retrieval":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [
                alias.name for alias in getattr(node, "names", []) if isinstance(alias, ast.alias)
            ]
            names.append(getattr(node, "module", "") or "")
            assert "faiss" not in [name.split(".")[0] for name in names], path


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["evaluate", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    code = (
        "import sys; sys.argv = ['nformer', *sys.argv[1:]]\n"
        "from nformer_cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert done.stdout.strip().splitlines()[-1] == "LOADED []"


def test_public_names_are_all_there():
    import pipelines

    for name in pipelines.__all__:
        assert getattr(pipelines, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pipelines.nothing  # noqa: B018
