"""The processes of one training, as torchrun starts them: who writes, and what they exchange.

torchrun gives each process its number (RANK), how many there are (WORLD_SIZE), and where a store is
that all of them reach (MASTER_ADDR, MASTER_PORT). Without it there is one process, and nothing here
does anything.
"""

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from .device import own_cuda
from .errors import BadInput, PipelineError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")
STARTED = "TORCHELASTIC_RUN_ID"  # what torchrun sets, and nothing else
FAILED = -1  # instead of a number of images: this process ends with an error
PATIENCE = timedelta(days=1)  # while the first process evaluates, the others wait for it
STEP = timedelta(seconds=60)  # on GPUs, for the gradients of a step
REACHED = timedelta(seconds=5)
PAUSE = 0.05  # seconds


class EndedElsewhere(PipelineError):
    """Another process ended with an error, and has said so."""


def rank() -> int:
    """Return this process's number, from 0; 0 without torchrun."""
    return _number("RANK") if world() > 1 else 0


def world() -> int:
    """Return how many processes torchrun has started; 1 without it.

    Other programs that start processes set RANK and WORLD_SIZE too, for what runs in them; so what
    counts is STARTED.
    """
    return max(1, _number("WORLD_SIZE")) if STARTED in os.environ else 1


def beside() -> int:
    """Return how many processes torchrun has started on this machine; 1 without it."""
    return max(1, _number("LOCAL_WORLD_SIZE")) if world() > 1 else 1


def go_alone() -> None:
    """Make this the only process: what follows, and what it starts, shares nothing."""
    os.environ.pop(STARTED, None)


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def is_first_to_say(text: str) -> bool:
    """Return whether no other process has said the same: what all of them find is said once."""
    if world() == 1:
        return True
    try:
        from torch.distributed import PrefixStore, TCPStore

        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(host, port, is_master=False, timeout=REACHED)
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return bool(PrefixStore(f"nformer/{attempt}", store).add(text, 1) == 1)
    except Exception:  # no store in reach: better said twice than never
        return True


class Processes:
    """This process among those of one training; one alone exchanges nothing.

    rank:  its number; the first, 0, writes files.   world: how many there are.
    group: what counts and decisions are exchanged by; None: the default one.
    """

    def __init__(self, rank: int = 0, world: int = 1, *, group: Any = None) -> None:
        self.rank, self.world, self.group = rank, world, group

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """Return which of some items are this process's: as many as the others', or one more."""
        return slice(count * self.rank // self.world, count * (self.rank + 1) // self.world)

    def counts(self, own: int) -> list[int]:
        """Return how many images each process has of a batch.

        Raises:
            EndedElsewhere: another one has FAILED.
        """
        if self.world == 1:
            return [own]
        found = self._exchanged(own)
        if FAILED in found and own != FAILED:
            raise EndedElsewhere("another process ended with an error")
        return found

    def agreed(self, decide: Callable[[], T]) -> T:
        """Return what the first process decides."""
        if self.world == 1:
            return decide()
        return self._exchanged(decide() if self.is_first else None)[0]

    def require_same(self, found: Any, *, what: str) -> None:
        """Raise BadInput where the processes have found different things."""
        if self.world > 1 and any(other != found for other in self._exchanged(found)):
            raise BadInput(
                f"the {self.world} processes do not find the same {what}; give all of them the "
                "same command, and folders that are the same on every machine"
            )

    def merged(self, own: dict[str, str]) -> dict[str, str]:
        """Return what all processes have noted."""
        if self.world == 1:
            return own
        return {key: value for part in self._exchanged(own) for key, value in part.items()}

    def whole(self, rows: "Tensor", counts: Sequence[int]) -> "Tensor":
        """Return the rows [B, …] of all processes in their order, from this one's [b, …].

        Gradients flow into this process's own rows: the sum over processes of what each of them
        gets so is the gradient of one process with all rows.
        """
        if self.world == 1:
            return rows
        from torch import cat, empty_like
        from torch.distributed import all_gather

        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows.detach()
        parts = [empty_like(padded) for _ in counts]
        with meeting():
            all_gather(parts, padded)
        parts = [part[:count] for part, count in zip(parts, counts, strict=True)]
        parts[self.rank] = rows
        return cat(parts)

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            self._exchanged(None)

    def leave(self) -> None:
        """End the exchange."""
        if self.world > 1:
            from torch.distributed import destroy_process_group

            gc.collect()  # what still has the group keeps its threads, which must end before Python
            destroy_process_group()

    def _exchanged(self, own: Any) -> list[Any]:
        from torch.distributed import all_gather_object

        found: list[Any] = [None] * self.world
        with meeting():
            all_gather_object(found, own, group=self.group)
        return found


def join(device: "torch.device") -> Processes:
    """Meet the other processes that torchrun has started, if there are any.

    On GPUs gradients go over NCCL, and what is counted and agreed over Gloo, which notices at once
    that a process ended, and has the patience to wait while the first one writes and evaluates.

    Raises:
        BadInput: a device that is not this process's own, or of a kind that exchanges nothing.
    """
    if world() == 1:
        return Processes()
    if device.type == "mps" or (device.type == "cuda" and str(device) != own_cuda()):
        raise BadInput(
            f"--device {device}: {world()} processes train on CPUs, or each on a CUDA GPU of its "
            "own; use --device cpu or cuda"
        )
    import torch
    from torch.distributed import init_process_group, new_group

    where: dict[str, Any] = {"store": _own_store(), "rank": rank(), "world_size": world()}
    if device.type != "cuda":
        init_process_group("gloo", timeout=PATIENCE, **where)
        return Processes(rank(), world())
    torch.cuda.set_device(device)
    init_process_group("nccl", timeout=STEP, device_id=device, **where)
    return Processes(rank(), world(), group=new_group(backend="gloo", timeout=PATIENCE))


def _own_store() -> Any:
    """Return a part of torchrun's store that no earlier start has written in; None: PyTorch's own.

    torchrun starts processes again with the store that it has. There PyTorch 2.14 finds the
    addresses of those that were killed, and waits for them (seen in 2 of 2 starts after a kill).
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None  # a new one at each start
    from torch.distributed import PrefixStore, TCPStore

    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(*address, is_master=False, timeout=PATIENCE)
    starts = PrefixStore("nformer/start", store)
    return PrefixStore(word_of_this_start(starts, own=rank(), world=world()), store)


def word_of_this_start(store: Any, *, own: int, world: int) -> str:
    """Return a word that the first process has made, and all processes of this start have read.

    Each process shows a word of its own. The first shows all of them, its own first, until each
    process has seen its own there: so what it has seen is not an earlier start's.
    """
    word = uuid4().hex
    store.set(f"word of {own}", word)
    while own > 0:
        words = store.get("words").decode().split()
        if word in words:
            store.set(f"{words[0]} seen by {own}", "")
            return str(words[0])
        time.sleep(PAUSE)
    others = range(1, world)
    while not store.check([f"{word} seen by {other}" for other in others]):
        store.set(
            "words", " ".join([word, *(store.get(f"word of {one}").decode() for one in others)])
        )
        time.sleep(PAUSE)
    return word


@contextmanager
def meeting() -> Iterator[None]:
    """Turn the error of an exchange whose other side is gone into EndedElsewhere."""
    try:
        yield
    except RuntimeError as error:
        from torch.distributed import DistError

        if world() > 1 and (isinstance(error, DistError) or "gloo" in str(error).lower()):
            raise EndedElsewhere("another process ended") from error
        raise
