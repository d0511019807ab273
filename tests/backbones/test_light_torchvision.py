"""torchvision comes without the compiler, and the compiler still comes when asked for."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

LIGHT = """
import sys
from pipelines.backbones.light_torchvision import import_torchvision
import_torchvision()
assert "torchvision.models" in sys.modules
assert "torch._dynamo" not in sys.modules and "sympy" not in sys.modules
import torch, torchvision
image = torch.zeros(1, 3, 32, 32)
assert torchvision.models.resnet18().eval()(image).shape == (1, 1000)
from torch._dynamo.utils import is_compile_supported
assert is_compile_supported.__module__ == "torch._dynamo.utils"
"""

OTHER_TORCHVISION = """
import sys, types
from pipelines.backbones import light_torchvision
class Empty(types.ModuleType):
    def __setattr__(self, name, value): pass  # offers nothing
light_torchvision.ModuleType = Empty
light_torchvision.import_torchvision()
assert not any(name.startswith("torch._dynamo") for name in sys.modules)
import torchvision.models
assert "torch._dynamo.utils" in sys.modules
"""

OTHER_BUILD = """
from pipelines import PipelineError
from pipelines.backbones.light_torchvision import torchvision_models
try:
    torchvision_models()
except PipelineError as error:
    print(error)
"""


def check(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_the_compiler():
    check(LIGHT)


def test_a_torchvision_that_wants_more_of_it_is_imported_as_ever():
    check(OTHER_TORCHVISION)


def test_a_torchvision_of_another_build_is_a_sentence(tmp_path):
    """As where torch is of a CPU and torchvision of CUDA: its operators are not there."""
    (tmp_path / "torchvision").mkdir()
    text = "raise RuntimeError('operator torchvision::nms does not exist')"
    (tmp_path / "torchvision" / "__init__.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", OTHER_BUILD],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        check=False,
    )
    assert "do not fit each other (operator torchvision::nms does not exist): " in done.stdout
