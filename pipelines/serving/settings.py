"""What a server is told: where it listens, who may ask, and how much it takes at once."""

import ipaddress
import socket
from dataclasses import dataclass

from ..errors import BadInput

SHORTEST_TOKEN = 16  # characters
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class ServeSettings:
    """Where a server listens, and its limits.

    token:     what each request has to show; "": nothing, which is for loopback only.
    names:     other names that it is asked by, such as that of a proxy before it.
    waiting:   requests taken at once, being answered or waiting; the next one is told to come back.
    batch:     queries that are embedded and refined together, at most.
    megabytes: of one picture that is sent.
    in_flight: megabytes of all pictures that are being received.
    seconds:   that a picture may take to arrive, and that the end waits for requests taken.
    """

    host: str = LOOPBACK
    port: int = 8000
    token: str = ""
    names: tuple[str, ...] = ()
    allow_edit: bool = False
    waiting: int = 128
    batch: int = 16
    megabytes: float = 16
    in_flight: float = 256
    seconds: float = 30

    def __post_init__(self) -> None:
        """Raise BadInput for what would be open to others, or could not work."""
        if not 0 <= self.port < 1 << 16:
            raise BadInput(f"--port {self.port}: wanted is 0 (any free one) to 65535")
        plain = self.token.isascii() and self.token.isalnum()
        if self.token and not (plain and len(self.token) >= SHORTEST_TOKEN):
            raise BadInput(
                f"--token: wanted are {SHORTEST_TOKEN} letters and digits or more, such as "
                "$(openssl rand -hex 16)"
            )
        others = [f"--name {name}" for name in self.names]
        others += [] if is_loopback(self.host) else [f"--host {self.host}"]
        if others and not self.token:
            raise BadInput(
                f"{others[0]}: others than this machine could search and see the pictures; "
                "give a --token that they have to show, such as $(openssl rand -hex 16)"
            )

    def listening(self) -> socket.socket:
        """Return a socket that listens at this place.

        Raises:
            BadInput: another program listens there, or there is no such place.
        """
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
            family, kind, protocol, _, place = found[0]
            listening = socket.socket(family, kind, protocol)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(place)
            listening.listen(1024)
        except OSError as error:
            raise BadInput(
                f"nothing can listen at {self.host}, port {self.port}: "
                f"{(error.strerror or str(error)).lower()}; name another with --port"
            ) from None
        return listening


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
