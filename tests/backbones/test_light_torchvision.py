"""torchvision comes without the compiler, and the compiler still comes when asked for."""

import subprocess
import sys

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


def check(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_the_compiler():
    check(LIGHT)


def test_a_torchvision_that_wants_more_of_it_is_imported_as_ever():
    check(OTHER_TORCHVISION)
