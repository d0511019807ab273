"""Every command's help says what it does, reads and writes, with an example."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from nformer_cli.app import app

ROOT = Path(__file__).parents[2]


def commands(group=None, prefix=()):
    group = group or get_command(app)
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from commands(command, (*prefix, name))
            if command.invoke_without_command:
                yield (*prefix, name)
        else:
            yield (*prefix, name)


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_help_has_its_parts(command):
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    text = result.output
    for part in ("Reads:", "Writes:", "Example: nformer " + " ".join(command)):
        assert part in text, f"{part} is missing"
    first = next(line for line in text.splitlines() if line.strip() and "Usage" not in line)
    assert len(first.strip()) < 60, first
    assert first.strip().endswith(".")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nformer_cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def test_a_users_mistake_is_one_line_and_exit_code_2(tmp_path):
    done = run("extract", "--run", str(tmp_path / "[empty]"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "[empty]/backbone.pt is not there, nor is its folder (--run)" in done.stderr


def test_cuda_asked_for_and_absent(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("a CUDA device is here")
    from pipelines.device import choose_device
    from pipelines.errors import BadInput

    with pytest.raises(BadInput, match="cuda: this machine shows no GPU driver; use"):
        choose_device("cuda")
    with pytest.raises(BadInput, match="not a device; use auto, cpu"):
        choose_device("gpu")
    assert choose_device("auto").type in ("cpu", "mps")


def test_anothers_pipelines_package_is_named(tmp_path):
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "__init__.py").write_text("")
    code = "from nformer_cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )
    assert done.returncode == 2
    assert "another package named `pipelines`" in done.stderr
    assert str(tmp_path) in done.stderr.replace("\n", "")


def test_info_of_no_run_says_how_to_begin(tmp_path):
    done = run("info", NFORMER_RUN=str(tmp_path / "none"))
    assert done.returncode == 2
    assert "begin a run with: nformer train-backbone" in done.stderr


def test_an_interrupted_command_says_that_it_can_go_on(monkeypatch, capsys):
    from nformer_cli import app as application
    from nformer_cli.main import main

    def interrupted() -> None:
        raise KeyboardInterrupt

    one = typer.Typer()
    one.command()(interrupted)
    monkeypatch.setattr(application, "app", one)
    monkeypatch.setattr(sys, "argv", ["nformer"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    said = capsys.readouterr().err
    assert "interrupted; the same command goes on from what was finished, if anything was" in said


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_choices_stand_whole_in_80_columns(command):
    text = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "80"}).output
    assert "<bool>" not in text and "<str>" not in text
    assert max(map(len, text.splitlines())) <= 80
    node = get_command(app)
    for name in command:
        node = node.commands[name]
    for parameter in node.params:
        if parameter.param_type_name == "option" and parameter.metavar:
            assert f"{parameter.opts[0]} {parameter.metavar}" in text
        if parameter.param_type_name == "option":
            assert parameter.help, parameter.name


def test_the_commands_are_listed_in_groups_a_line_each(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = CliRunner().invoke(app, ["--help"])
    assert "<bool>" not in done.output and "non/e" not in done.output
    for title in ("Stages", "Data sets", "Search", "Import and export", "Results, reports"):
        assert f"─ {title}" in done.output
    command = get_command(app)
    for name in command.commands:
        assert sum(line.startswith(f"│ {name} ") for line in done.output.splitlines()) == 1
    assert max(map(len, done.output.splitlines())) <= 80
    lines = [line for line in done.output.splitlines() if line.startswith("│ ")]
    assert len(lines) == len(command.commands) + 5  # options, one of them on two lines


def test_defaults_and_arguments_are_shown_as_they_are_typed():
    roots = CliRunner().invoke(app, ["train-backbone", "--help"]).output
    assert "default: data]" in " ".join(roots.replace("│", " ").split()) and "Posix" not in roots
    files = CliRunner().invoke(app, ["cluster", "--help"]).output
    assert "[OPTIONS] [FILE…]\n" in files
