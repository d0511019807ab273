"""The installed distribution has a module `nformer`: the library's names, and the command."""

import subprocess
import sys

import pipelines


def run(*arguments, folder):
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


def test_import_nformer_gives_the_public_names_without_loading_torch(tmp_path):
    code = (
        "import sys, nformer; from nformer import BadInput, Run; import pipelines; "
        "assert Run is pipelines.Run and nformer.__version__ == pipelines.__version__; "
        "assert 'torch' not in sys.modules; print(*dir(nformer))"
    )
    done = run("-c", code, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == sorted(pipelines.__all__)


def test_what_is_not_there_is_an_attribute_error(tmp_path):
    done = run("-c", "from nformer import nothing", folder=tmp_path)
    assert "cannot import name 'nothing'" in done.stderr


def test_python_m_nformer_is_the_command(tmp_path):
    done = run("-m", "nformer", "info", "--run", "nowhere", folder=tmp_path)
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr
