"""How much is taken at once: requests, and the bytes that they send."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from .settings import ServeSettings


class Refused(Exception):  # an answer, not an error of ours
    """A request that is not taken: its status, why, and after how many seconds to come back."""

    def __init__(self, status: int, problem: str, *, retry: int | None = None) -> None:
        super().__init__(problem)
        self.status, self.problem, self.retry = status, problem, retry


class Taken:
    """Counts what is being answered; past a bound, a request is refused."""

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.requests, self.bytes = 0, 0
        self.each = 0.05  # seconds that a request takes the server, by the last ones

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a request until the end of the block."""
        if self.requests >= self.settings.waiting:
            raise self.full(f"{self.requests} requests are waiting")
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    def full(self, why: str) -> Refused:
        """Return a refusal, with the seconds after which there should be room."""
        seconds = max(1, math.ceil(self.requests * self.each))
        return Refused(429, f"{why}; come back in {seconds} s", retry=seconds)

    @asynccontextmanager
    async def received(
        self, stream: AsyncIterator[bytes], *, announced: str = ""
    ) -> AsyncIterator[bytes]:
        """Yield all that a request sends; its bytes count until the end of the block.

        Raises:
            Refused: it is too much, it takes too long, or others send much at the moment.
        """
        most = int(self.settings.megabytes * 1e6)
        large = Refused(413, f"a picture may have {self.settings.megabytes:g} MB")
        if announced.isdigit() and int(announced) > most:
            raise large
        parts, count = [], 0
        try:
            async with asyncio.timeout(self.settings.seconds):
                async for part in stream:
                    count += len(part)
                    self.bytes += len(part)
                    parts.append(part)
                    if count > most:
                        raise large
                    if self.bytes > self.settings.in_flight * 1e6:
                        raise self.full("many pictures are being received")
            content = b"".join(parts)
            parts.clear()
            yield content
        except TimeoutError:
            limit = f"{self.settings.seconds:g} s"
            raise Refused(408, f"the picture did not arrive within {limit}") from None
        finally:
            self.bytes -= count

    def took(self, seconds: float) -> None:
        """Note how long the server was at work for one request."""
        self.each += 0.1 * (seconds - self.each)
