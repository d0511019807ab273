"""The layout holds: imports point one way, and help loads nothing heavy."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each floor may import the floors after it; rooms of one floor only as PEERS says.
FLOORS = (
    {"nformer_cli"},
    {"reproduction", "benchmarks"},
    {"stages"},
    {"serving"},
    {"evaluation", "reporting"},
    {"extraction"},
    {"training"},
    {"distributed"},
    {"gallery"},
    {"artifacts"},
    {"nformer", "backbones", "data"},
    {"ranking", "refiners", "clustering"},
    {"neighbours"},
    {
        "embeddings",
        "config",
        "settings",
        "processes",
        "progress",
        "flow",
        "errors",
        "seeding",
        "device",
        "imports",
        "files",
        "labels",
        "hdf5",
        "probe",
        "blocks",
        "preprocessing",
    },
)
ARRAYS_ONLY = (
    "nformer",
    "refiners",
    "neighbours",
    "ranking",
    "clustering",
)  # rooms that never see a file
FILES = {"pathlib", "h5py", "io", "tempfile", "shutil", "files", "artifacts"}
# Public functions whose first parameters users give by place, as the manual shows them.
POSITIONAL = {
    "pipelines.neighbours.nearest.search",  # search(query, gallery, k)
    "pipelines.gallery.refinement.refine",  # refine(model, query, gallery)
    # Three arrays in the order of `Embeddings`, and two histograms behind the rows they explain.
    "pipelines.refiners.fitting.of",
    "pipelines.training.neighbour_refiner.fit",  # fit(features, pids, camids)
    "pipelines.ranking.rerankers.jaccard._mix",  # for partial
    "pipelines.refiners.images_per_person.images_per_person",
}
HEAVY = ("torch", "torchvision", "h5py", "faiss", "scipy", "matplotlib", "PIL", "numpy")


def module_of(path: Path) -> str:
    """Return a file's dotted name from the root: pipelines.neighbours.graph, nformer_cli.main."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    module_of(path): path
    for top in ("pipelines", "nformer_cli")
    for path in sorted((ROOT / top).rglob("*.py"))
}


def room_of(module: str) -> str:
    """Return the room, or the file at the foot of the tree, that a module belongs to."""
    parts = module.split(".")
    return parts[0] if parts[0] == "nformer_cli" or len(parts) == 1 else parts[1]


def imported_modules(module: str, *, when_loaded: bool = False) -> set[str]:
    """Return the modules of this tree that a file imports, those of type checking left out.

    when_loaded: only the imports that run as the file is loaded, not those inside functions.
    """
    path = SOURCES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found = set()
    for node in runtime_nodes(ast.parse(path.read_text()), into_functions=not when_loaded):
        if not isinstance(node, ast.ImportFrom):
            continue
        base = package[: len(package) - node.level + 1] if node.level else []
        target = ".".join([*base, *([node.module] if node.module else [])])
        if target.split(".")[0] not in ("pipelines", "nformer_cli"):
            continue
        for alias in node.names:
            full = f"{target}.{alias.name}"
            found.add(full if full in SOURCES else target)
    return found


def runtime_nodes(tree: ast.AST, *, into_functions: bool = True):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        if not into_functions and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        yield from runtime_nodes(node, into_functions=into_functions)


def test_imports_point_one_way():
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    for module in SOURCES:
        room = room_of(module)
        if room == "pipelines":
            continue  # the public names
        for target in imported_modules(module):
            other = room_of(target)
            at_the_foot = other == room or floor[room] == floor.get(other) == len(FLOORS) - 1
            if not at_the_foot and other != "pipelines":
                assert floor[room] < floor[other], f"{module} imports {target}"


def test_no_file_imports_in_a_circle():
    graph = {module: imported_modules(module) & set(SOURCES) for module in SOURCES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module in done:
            return
        for target in graph[module]:
            visit(target, (*trail, module))
        done.add(module)

    for module in SOURCES:
        visit(module, ())


@pytest.mark.parametrize("room", ARRAYS_ONLY)
def test_rooms_of_arrays_never_see_a_file(room):
    for module, path in SOURCES.items():
        if room_of(module) != room:
            continue
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names.append(node.module or "")
            opened = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "open"
            assert not opened, f"{module} opens a file"
            assert not {name.split(".")[0] for name in names} & FILES, module
        assert not {room_of(target) for target in imported_modules(module)} & FILES, module


def test_more_than_two_parameters_are_given_by_name():
    found = []
    for module, path in SOURCES.items():
        if module == "pipelines.nformer.kernels":  # Triton calls them
            continue
        found += [
            f"{module}.{name}({', '.join(positional)})"
            for name, positional in positional_parameters(ast.parse(path.read_text()))
            if len(positional) > 2 and f"{module}.{name}" not in POSITIONAL
        ]
    assert not found, "\n".join(found)


def positional_parameters(tree: ast.AST, inside: ast.ClassDef | None = None):
    """Yield each function's name and its parameters that may be given by place, self left out."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from positional_parameters(
                node, node if isinstance(node, ast.ClassDef) else inside
            )
            continue
        names = [argument.arg for argument in node.args.posonlyargs + node.args.args]
        names = names[1:] if inside and names[:1] in (["self"], ["cls"]) else names
        if not called_by_others(node, inside):
            yield node.name, names
        yield from positional_parameters(node)


def called_by_others(function: ast.FunctionDef | ast.AsyncFunctionDef, inside) -> bool:
    """Return whether Python, torch or Typer sets how a function is called."""
    bases = [ast.unparse(base) for base in inside.bases] if inside else []
    decorators = [ast.unparse(one) for one in function.decorator_list]
    special = function.name.startswith("__") and function.name != "__init__"
    differentiable = "torch.autograd.Function" in bases and function.name in ("forward", "backward")
    options = re.search(r"options\.|Annotated\[", ast.unparse(function.args))  # Typer's
    typer = any("app." in one for one in decorators) or options is not None
    return special or differentiable or typer


def test_only_relative_imports_inside_pipelines():
    for path in (ROOT / "pipelines").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert (node.module or "").split(".")[0] not in ("pipelines", "nformer_cli"), path


def test_only_the_search_room_imports_faiss():
    for path in (ROOT / "pipelines").rglob("*.py"):
        if path.parent.name == "neighbours":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [
                alias.name for alias in getattr(node, "names", []) if isinstance(alias, ast.alias)
            ]
            names.append(getattr(node, "module", "") or "")
            assert "faiss" not in [name.split(".")[0] for name in names], path


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["evaluate", "--help"], ["cluster", "--help"]]
)
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
