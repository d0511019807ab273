"""Who does the tasks: this process, or the workers of a Ray cluster."""

import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from ..errors import BadInput, PipelineError
from .asked import LOCAL, require_cluster, require_reachable

RETRIES = 5  # of a task whose worker or machine has died
# Without it Ray takes the machine's own address, even where it is given 127.0.0.1.
ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
OBJECT_STORE = 100 << 20  # bytes, of a local cluster: tasks hand each other files


class Workers(Protocol):
    """Whoever runs functions of modules on arguments that can be pickled."""

    count: int

    def run(
        self, work: Callable[..., Any], calls: Sequence[dict[str, Any]]
    ) -> Iterator[tuple[int, Any]]:
        """Yield each call's number and what `work` returned, as they are done."""


class ThisProcess:
    """Runs one task after another."""

    count = 1

    def run(
        self, work: Callable[..., Any], calls: Sequence[dict[str, Any]]
    ) -> Iterator[tuple[int, Any]]:
        """Yield each call's number and what `work` returned."""
        for number, call in enumerate(calls):
            yield number, work(**call)


class RayWorkers:
    """Runs tasks on a Ray cluster, one on each of its CPUs at once."""

    def __init__(self, ray: Any) -> None:
        self.ray, self.count = ray, max(1, int(ray.cluster_resources().get("CPU", 1)))

    def run(
        self, work: Callable[..., Any], calls: Sequence[dict[str, Any]]
    ) -> Iterator[tuple[int, Any]]:
        """Yield each call's number and what `work` returned, as they are done.

        A task whose worker or machine dies is given to another one.
        """
        task = self.ray.remote(max_retries=RETRIES, num_cpus=1, scheduling_strategy="SPREAD")(work)
        pending = {task.remote(**call): number for number, call in enumerate(calls)}
        while pending:
            (done,), _ = self.ray.wait(list(pending), num_returns=1)
            yield pending.pop(done), self._result(done)

    def _result(self, done: Any) -> Any:
        errors = self.ray.exceptions
        try:
            return self.ray.get(done)
        except errors.RayTaskError as error:
            if "failed to import" in str(error.cause):
                raise BadInput(
                    "a worker of the cluster cannot import nformer; install the same version of it "
                    "on every machine"
                ) from error
            raise error.cause from error
        except errors.RayError as error:
            reason = str(error).strip().splitlines()[0]
            raise PipelineError(
                f"a task was lost {RETRIES + 1} times ({type(error).__name__}: {reason}); what was "
                "finished is kept, the same command goes on from there"
            ) from None


@contextmanager
def cluster_of(asked: str) -> Iterator[Workers]:
    """Yield the workers of a cluster: "local:N" starts one here, an address joins one that runs.

    No usage statistics are sent. A local cluster's processes listen on loopback only and know each
    other by a token, unless Ray was loaded before, and end with this one.

    Raises:
        BadInput: Ray is not installed, or no cluster answers.
    """
    require_cluster(asked)
    if not asked.startswith(LOCAL):
        require_reachable(asked)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_IGNORE_UNHANDLED_ERRORS": "1"}
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if asked.startswith(LOCAL) and "ray" not in sys.modules:  # it reads them as it is loaded
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        os.environ |= ON_LOOPBACK
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if asked.startswith(LOCAL):
        quiet |= {
            "num_cpus": int(asked.removeprefix(LOCAL)),
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE,
            "address": "local",
        }
    else:
        quiet |= {"address": asked}
    try:
        ray.init(**quiet)
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInput(
            f"--cluster {asked}: no Ray cluster can be used there ({reason}); start one with "
            "`ray start --head`, or use --cluster local:2"
        ) from error
    try:
        yield RayWorkers(ray)
    finally:
        ray.shutdown()
