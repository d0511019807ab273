"""Triton's kernels without a GPU: run by its interpreter, and compiled for GPUs not here."""

import os
import subprocess
import sys

import pytest
import torch

from pipelines.neighbours.edges import Edges
from pipelines.nformer import fused
from pipelines.nformer.fused import Projected, launch_settings, read_edges, read_in_steps

INTERPRETED = """
import torch
from pipelines.neighbours.edges import Edges
from pipelines.nformer.fused import difference_on_a_small_graph, read_at_once, read_in_steps
from pipelines.nformer.fused import Projected

with torch.inference_mode():  # as refining asks for it
    print(difference_on_a_small_graph(torch.device("cpu")))

lists = torch.tensor([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])[:, None]
for columns, width, kept in ((1, 3, 0.0), (5, 16, 0.5), (40, 40, 1.0), (5, 2100, 0.7)):
    keep = torch.rand(lists.shape, generator=torch.Generator().manual_seed(1)) < kept
    edges = Edges.of(lists, keep, heads=2, sources=4)
    found = []
    for read in (read_at_once, read_in_steps):
        leaves = [
            torch.linspace(-3, 3, 8 * size).sin().view(8, size).requires_grad_()
            for size in (columns, columns, width)
        ]
        projected = Projected(*leaves)  # the rows read each other, as in training
        mixed = read(projected, projected, edges=edges)
        found.append([mixed.detach(), *torch.autograd.grad(mixed.exp().sum(), leaves)])
    print(max(float(((a - b).norm() / b.norm().clamp(min=1e-6))) for a, b in zip(*found)))
"""


@pytest.mark.slow
def test_interpreted_kernels_agree_with_pytorch_forward_and_backward():
    pytest.importorskip("triton")
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = [sys.executable, "-c", INTERPRETED]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    differences = [float(line) for line in done.stdout.split()]
    assert len(differences) == 5
    assert max(differences) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("columns, width", [(5, 128), (128, 128), (200, 640)])
def test_kernels_compile_for_gpus(columns, width, capability):
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from pipelines.nformer import kernels

    settings = launch_settings(columns, width)
    warps = settings.pop("num_warps")
    for kernel in (kernels.read_rows, kernels.gradients_of_rows, kernels.gradients_of_sources):
        arguments = [name for name in kernel.arg_names if name not in settings]
        types = {name: "*i64" if name in ("offsets", "index") else "*fp32" for name in arguments}
        source = ASTSource(
            kernel, types | dict.fromkeys(settings, "constexpr"), constexprs=settings
        )
        target = GPUTarget("cuda", capability, 32)
        built = triton.compile(source, target=target, options={"num_warps": warps})
        assert built.asm["cubin"]


def test_a_cpu_reads_in_steps_and_says_nothing(recwarn):
    edges = Edges.of(torch.tensor([[[1]], [[0]]]), torch.ones(2, 1, 1).bool(), heads=1, sources=2)
    rows = Projected(torch.ones(2, 1), torch.zeros(2, 1), torch.tensor([[0.0], [4.0]]))
    assert read_edges(rows, rows, edges=edges).tolist() == [[2.0], [2.0]]
    assert not recwarn


@pytest.mark.parametrize(
    "fails, said",
    [(RuntimeError("Failed to find C compiler"), "C compiler"), (0.5, "differ by 5.0e-01")],
)
def test_kernels_that_fail_or_differ_are_not_used(monkeypatch, fails, said):
    pytest.importorskip("triton")

    def compare(device):
        if isinstance(fails, Exception):
            raise fails
        return fails

    monkeypatch.setattr(fused, "difference_on_a_small_graph", compare)
    fused._serves.cache_clear()
    with pytest.warns(UserWarning, match=said):
        assert not fused._serves(torch.device("cuda"))
    fused._serves.cache_clear()


def test_the_step_by_step_way_by_hand():
    # row 0 asks 1 of keys (0, log 3): its own edge weighs 1/4, row 1's 3/4; row 1 has no other
    kept = torch.tensor([[[True]], [[False]]])
    edges = Edges.of(torch.tensor([[[1]], [[0]]]), kept, heads=1, sources=2)
    keys = torch.tensor([[1.0], [3.0]]).log()
    rows = Projected(torch.ones(2, 1), keys, torch.tensor([[4.0], [8.0]]))
    assert torch.allclose(read_in_steps(rows, rows, edges=edges), torch.tensor([[7.0], [8.0]]))
