"""The processes that torchrun starts: who does a command, and what they must agree on."""

from threading import Thread

import pytest

from nformer_cli.app import SHARED, app
from nformer_cli.commands.search import index_app
from pipelines import BadInput
from pipelines.data import batches
from pipelines.processes import Processes, join, rank, word_of_this_start, world

ONE_PROCESSS = [
    part.callback
    for part in (
        *(command for command in app.registered_commands if command.name not in SHARED),
        index_app.registered_callback,
        *index_app.registered_commands,
    )
    if part is not None and part.callback is not None
]


@pytest.fixture
def started(monkeypatch):
    """Return what makes this process one of two that torchrun started."""

    def start(number):
        monkeypatch.setenv("RANK", str(number))
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")

    return start


@pytest.mark.parametrize("command", ONE_PROCESSS, ids=lambda one: one.__name__)
def test_a_command_that_is_not_shared_is_the_first_processs_alone(started, command):
    started(1)
    assert command() is None  # whatever it needs
    assert (rank(), world()) == (1, 2)
    started(0)
    with pytest.raises(TypeError):
        command(not_an_option=1)
    assert (rank(), world()) == (0, 1)  # and waits for nobody


@pytest.mark.parametrize("name", ["mps", "cuda:0"])
def test_a_device_that_is_not_a_processs_own_is_refused(started, monkeypatch, name):
    import torch

    started(1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(BadInput, match=f"--device {name}: 2 processes train on CPUs, or each"):
        join(torch.device(name))


def test_processes_beside_each_other_divide_the_cores(started, monkeypatch):
    monkeypatch.setattr(batches, "cores", lambda: 12)
    assert batches.default_workers() == 12
    started(0)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "5")
    assert batches.default_workers() == 2


def test_all_processes_of_a_start_read_the_same_new_word():
    from torch.distributed import HashStore

    store = HashStore()
    words = []
    for _ in range(2):  # the second start finds what the first has left
        found = [""] * 3

        def read(own, found=found):
            found[own] = word_of_this_start(store, own=own, world=3)

        threads = [Thread(target=read, args=(own,)) for own in (2, 1, 0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert found[0] and found == found[:1] * 3
        words.append(found[0])
    assert words[0] != words[1]


class Two(Processes):
    """Two processes, of which the other one finds something else."""

    def _exchanged(self, own):
        return [own, "theirs"]


def test_processes_that_find_different_states_are_refused():
    Processes().require_same("ours", what="state")
    with pytest.raises(BadInput, match="the 2 processes do not find the same state; give all"):
        Two(0, 2).require_same("ours", what="state")
