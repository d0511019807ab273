"""README and manual are true: all commands and settings stand there, snippets and links work."""

import re
import shlex
import shutil
import tomllib
import typing
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.gallery_runs import people
from helpers.layouts import write_images
from typer.main import get_command

from nformer_cli.app import app
from pipelines import Run, import_embeddings
from pipelines.backbones.as_is import architecture
from pipelines.config import SECTIONS, ExtractConfig
from pipelines.settings import RECIPES, values_of
from pipelines.stages.index_pictures import index_pictures

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
MANUAL = ROOT / "nformer_cli" / "manual"
PAGES = sorted(MANUAL.glob("*.md"))
DOCUMENTS = [README, *PAGES]
DATABASES = {"qdrant_client", "pymilvus"}  # no extra of ours; their snippets run where they are
OTHERS_OPTIONS = {
    "--max-restarts",
    "--abd-np",
    "--headless",
    "--hide-scrollbars",
    "--window-size",
    "--screenshot",
}


def name_of(path: Path) -> str:
    return path.name


def leaf_commands(group=None, prefix=()):
    group = group or get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaf_commands(command, (*prefix, name))
            if command.invoke_without_command:  # `nformer index`, beside `nformer index add`
                yield " ".join((*prefix, name)), command
        else:
            yield " ".join((*prefix, name)), command


COMMANDS = dict(leaf_commands())


def options_of(command) -> set[str]:
    found = {option for parameter in command.params for option in parameter.opts}
    return found | {option for one in command.params for option in one.secondary_opts} | {"--help"}


def without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def shown_commands() -> list[str]:
    """Return the `nformer …` lines of code blocks, continued lines joined, and of code in text."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text().replace("\\\n", " ")
        lines = [line.strip() for line in text.splitlines() if line.startswith(("    ", "nformer"))]
        parts = [part.strip() for line in lines for part in line.split("&&")]
        found += [part for part in parts if re.match(r"nformer [a-z-]", part)]
        found += re.findall(r"`(nformer [a-z][^`]*)`", without_fences(text))
    return sorted(set(found))


@pytest.mark.parametrize("line", shown_commands())
def test_commands_and_options_exist(line):
    words = shlex.split(line, comments=True)[1:]
    if words[0].startswith("--"):  # of nformer itself: completion, version
        assert words[0] in options_of(get_command(app))
        return
    name = next((name for name in COMMANDS if name.split() == words[: len(name.split())]), None)
    assert name, f"no such command: {line}"
    for word in words:
        if word.startswith("--"):
            assert word.split("=")[0] in options_of(COMMANDS[name]), line


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_options_named_in_text_exist(path):
    known = {*OTHERS_OPTIONS, *options_of(get_command(app))}.union(
        *map(options_of, COMMANDS.values())
    )
    named = set(re.findall(r"`(--[a-z][a-z0-9-]*)", without_fences(path.read_text())))
    assert named <= known, sorted(named - known)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_documented(name):
    shown = [line for line in shown_commands() if re.match(rf"nformer {name}(?![\w-])", line)]
    assert shown, f"neither README nor manual shows: nformer {name}"


def test_the_readme_is_one_page():
    assert len(README.read_text().split()) <= 1500


def test_the_installation_is_where_ci_looks_for_it():
    commands = re.findall(r"^ *python -m pip install '\.\[test\]'.*", README.read_text(), re.M)
    assert commands == ["    python -m pip install '.[test]' && python -m pytest"]


# Snippets


def snippets() -> list[tuple[Path, str]]:
    fence = re.compile(r"^```(?:python|py)\n(.*?)^```", flags=re.M | re.S)
    return [(path, code) for path in DOCUMENTS for code in fence.findall(path.read_text())]


def titled(value) -> str:
    if isinstance(value, Path):
        return value.stem
    return value.splitlines()[0].strip('"')[:40]


@pytest.fixture(scope="module")
def earlier(tmp_path_factory) -> Path:
    """A folder with what the documents say is there.

    market.npz, and the run runs/market of it; crops, and the run runs/crops with their index.
    """
    folder = tmp_path_factory.mktemp("earlier")
    splits = {
        **people(0, 16, 6, 1, "train"),
        **people(500, 30, 1, 2, "query"),
        **people(500, 30, 6, 3, "gallery"),
    }
    np.savez(folder / "market.npz", **splits)
    import_embeddings(Run(folder / "runs" / "market"), folder / "market.npz")
    crops = write_images(folder / "crops", [f"{number}.jpg" for number in range(3)])
    network, given = architecture("osnet_x0_25"), {"arch": "osnet_x0_25"}
    torch.save(network.build(size=(64, 32), feature="").state_dict(), folder / "osnet.pth")
    config = ExtractConfig(height=64, width=32)
    index_pictures(
        Run(folder / "runs" / "crops"), crops, **given, weights=folder / "osnet.pth", config=config
    )
    return folder


@pytest.mark.parametrize(("path", "code"), snippets(), ids=titled)
def test_python_snippets_run(path, code, earlier, tmp_path, monkeypatch, capsys):
    for package in re.findall(r"^ *(?:import|from) (\w+)", code, flags=re.M):
        if package in DATABASES:
            pytest.importorskip(package, reason=f"{package} is not installed")
    shutil.copytree(earlier, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, path.name, "exec"), {"__name__": "document"})  # our own text
    printed = capsys.readouterr().out
    assert printed.strip(), "a snippet prints what it found"
    promised = re.search(
        re.escape(code) + r"```\n\nIt prints:\n\n((?: {4}.*\n)+)", path.read_text()
    )
    if promised:
        words, numbers = told(printed)
        expected_words, expected_numbers = told(promised[1])
        assert words == expected_words
        assert numbers == pytest.approx(expected_numbers, abs=0.03)  # cores round differently


def told(text: str) -> tuple[str, list[float]]:
    """Return a text without its figures and spaces, and those figures."""
    figures = re.findall(r"\d+\.\d+", text)
    return "".join(re.sub(r"\d+\.\d+", "#", text).split()), [float(one) for one in figures]


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_code_fits_a_terminal_of_80_columns(path):
    """`nformer manual` indents code by two: it has 78 columns."""
    text = path.read_text()
    fenced = "".join(re.findall(r"^```\w*\n(.*?)^```", text, flags=re.M | re.S)).splitlines()
    indented = [line[4:] for line in without_fences(text).splitlines() if line.startswith("    ")]
    assert [line for line in fenced + indented if len(line) > 78] == []


# Links


def links(path: Path) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "", without_fences(path.read_text()))
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target for target in targets if not target.startswith(("https://", "http://"))]


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", without_fences(path.read_text()), flags=re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.strip().lower()) for heading in headings]
    assert len(set(plain)) == len(plain), f"{path.name} has two headings of the same name"
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path):
    for link in links(path):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.is_file(), f"{path.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{path.name}: {link}"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_page_is_linked(path):
    assert f"nformer_cli/manual/{path.name}" in [link.partition("#")[0] for link in links(README)]
    if path.stem != "contents":
        assert path.name in links(MANUAL / "contents.md")


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_page_begins_with_its_title_and_what_it_is_about(path):
    title, empty, about, end = path.read_text().splitlines()[:4]
    assert re.match(r"# \w", title)
    assert (empty, end) == ("", "")
    assert 20 <= len(about) <= 66, about  # a line of `nformer manual`
    assert about.endswith(".")


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_tables_have_at_most_seven_columns(path):
    lines = path.read_text().splitlines()
    tables = [line.strip("|").split("|") for line in lines if re.fullmatch(r"\|[-:| ]+\|", line)]
    assert all(len(columns) <= 7 for columns in tables)


def test_glossary_is_in_alphabetical_order():
    terms = re.findall(r"^### (.+)$", (MANUAL / "glossary.md").read_text(), flags=re.M)
    assert terms == sorted(terms, key=lambda term: term.lower().replace("-", " "))
    assert len(terms) > 30


# Settings


def rows_of(heading: str) -> dict[str, list[str]]:
    """Return the table under a heading of the settings page that begins so: {key: other cells}."""
    text = (MANUAL / "settings.md").read_text()
    part = re.search(rf"^#+ {re.escape(heading)}.*?(?=^#|\Z)", text, flags=re.M | re.S)
    assert part, f"settings.md has no heading {heading}"
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in part[0].splitlines()
        if line.startswith("| `")
    ]
    return {row[0].strip("` "): row[1:] for row in cells}


def value(cell: str):
    return tomllib.loads(f"value = {cell.strip('`')}")["value"]


def plain(setting):
    return list(setting) if isinstance(setting, tuple) else setting


@pytest.mark.parametrize("section", sorted(SECTIONS))
def test_every_setting_is_documented_with_its_default_and_choices(section):
    rows, kind = rows_of(f"[{section}]"), SECTIONS[section]
    hints, defaults = typing.get_type_hints(kind), vars(kind())
    assert list(rows) == list(defaults)
    for key, (default, values, about) in rows.items():
        assert values == values_of(section, key)
        assert value(default) == plain(defaults[key]), f"{section}.{key}"
        for choice in typing.get_args(hints[key]):
            if typing.get_origin(hints[key]) is typing.Literal:
                assert f'`"{choice}"`' in about, f"{section}.{key}: {choice}"
        assert len(about) > 5


def test_every_recipe_is_documented():
    assert set(rows_of("Recipes\n")) == {path.stem for path in RECIPES.glob("*.toml")}


@pytest.mark.parametrize("section", sorted(SECTIONS))
def test_every_key_of_every_recipe_is_documented_with_its_value(section):
    recipes = list(rows_of("Recipes\n"))
    tables = [tomllib.loads((RECIPES / f"{name}.toml").read_text()) for name in recipes]
    keys = {key for table in tables for key in table.get(section, {})}
    rows = rows_of(f"Recipes: [{section}]") if keys else {}
    assert set(rows) == keys
    for key, cells in rows.items():
        shown = [None if cell.strip() == "–" else value(cell) for cell in cells]
        assert shown == [table.get(section, {}).get(key) for table in tables], key


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_a_page_with_an_onnx_file_says_what_to_install(path):
    text = path.read_text(encoding="utf-8")
    if re.search(r"^    .*(--onnx|--format onnx)", text, re.M):
        assert "nformer[onnx]" in text


def test_the_demo_has_one_duration_everywhere():
    command = ROOT / "nformer_cli" / "commands" / "datasets.py"
    for path, times in ((README, 1), (MANUAL / "start.md", 1), (command, 2)):
        text = " ".join(path.read_text(encoding="utf-8").replace('"', "").split())
        assert text.count("about two minutes on two idle CPU cores") == times, path


@pytest.mark.parametrize("path", [README, MANUAL / "start.md", MANUAL / "datasets.md"], ids=name_of)
def test_the_data_of_an_example_have_a_link_where_they_first_stand(path):
    text = path.read_text(encoding="utf-8")
    for name in ("PKU-Reid", "Con-ReID"):
        first = text.find(name)
        assert first < 0 or text[first - 1 :].startswith(f"[{name}](https://github.com/"), name
