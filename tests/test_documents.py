"""The README is true: its commands and options exist, every command is in it, its snippets run."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from nformer_cli.app import app

README = Path(__file__).parents[1] / "README.md"


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


def shown_commands() -> list[str]:
    """Return the `nformer …` lines of the README's code blocks, continued lines joined."""
    text = README.read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.startswith(("    ", "nformer "))]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [part for part in parts if re.match(r"nformer [a-z-]", part)]


@pytest.mark.parametrize("line", shown_commands())
def test_commands_and_options_exist(line):
    words = shlex.split(line, comments=True)[1:]
    if words[0].startswith("-"):
        return
    name = next((name for name in COMMANDS if name.split() == words[: len(name.split())]), None)
    assert name, f"no such command: {line}"
    known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    known |= {option for parameter in COMMANDS[name].params for option in parameter.secondary_opts}
    for word in words:
        if word.startswith("--"):
            assert word.split("=")[0] in known | {"--help"}, line


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_documented(name):
    assert re.search(rf"nformer {name}\b", README.read_text()), f"README does not show: {name}"


def snippets() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", README.read_text(), flags=re.M | re.S)


@pytest.mark.parametrize("code", snippets(), ids=lambda code: code.splitlines()[1][:40])
def test_python_snippets_run(code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})  # our own text
    printed = capsys.readouterr().out
    assert printed.strip(), "a snippet prints what it found"
    promised = re.search(
        re.escape(code) + r"```\n\nIt prints:\n\n((?: {4}.*\n)+)", README.read_text()
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
