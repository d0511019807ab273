"""Who may ask: the Host and the Origin of a request, its token, and what its answer may do."""

import hashlib
import hmac
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from .settings import ServeSettings, is_loopback

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

COOKIE = "nformer"
OPEN = ("/health",)  # without a token: it tells nothing of the pictures
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
ASKING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>nformer: token</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<h1>A token is needed</h1><form method="get" action="/"><label>Token
<input name="token" type="password" autocomplete="off" required></label>
<button>Open</button></form></html>"""


class Guard:
    """An ASGI application behind checks; what it refuses never reaches the application.

    Host:   a name of this machine, so that no other site's name can be pointed at it.
    Origin: the page itself, so that no other site's page can send anything here.
    token:  as `Authorization: Bearer TOKEN`, or in the cookie that `/?token=TOKEN` sets.
    """

    def __init__(self, app: App, *, settings: ServeSettings) -> None:
        self.app, self.settings = app, settings
        self.local = is_loopback(settings.host)
        self.names = {"localhost", settings.host.lower().strip("[]")}
        self.names |= {name.lower() for name in settings.names}
        if not self.local:
            self.names.add(socket.gethostname().lower())
        self.cookie = hashlib.sha256(settings.token.encode()).hexdigest()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Refuse a request, or hand it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # no websockets here
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        problem = self.problem(scope, headers)
        if problem:
            await refuse(send, 403, problem=problem)
        elif self.settings.token and scope["path"] not in OPEN and not self.known(headers):
            await self._ask(scope, send)
        else:
            await self.app(scope, receive, _with_headers(send))

    def problem(self, scope: Message, headers: dict[str, list[str]]) -> str:
        """Return why a request is refused whatever its token, or ""."""
        hosts = headers.get("host", [])
        if len(hosts) != 1 or not self.is_ours(hosts[0]):
            return "the Host header is not a name of this server"
        origins = headers.get("origin", [])
        if origins and origins != [f"{scope.get('scheme', 'http')}://{hosts[0]}"]:
            return "the Origin header is another site's"
        site = headers.get("sec-fetch-site", ["none"])[0]
        opened = headers.get("sec-fetch-mode") == ["navigate"] and scope["method"] == "GET"
        if site not in ("none", "same-origin") and not (opened and scope["path"] == "/"):
            return "another site's page asks"
        return ""

    def is_ours(self, host: str) -> bool:
        """Return whether a Host header names this server, at any port.

        Behind a tunnel the port is another one. A number cannot be pointed elsewhere by a name.
        """
        name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        name = (name if port.isdigit() else host).lower().strip("[]")
        if name in self.names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self.local

    def known(self, headers: dict[str, list[str]]) -> bool:
        """Return whether a request shows the token."""
        kind, _, given = headers.get("authorization", [""])[0].partition(" ")
        if kind.lower() == "bearer" and self._is_token(given.strip()):
            return True
        try:
            found = SimpleCookie("; ".join(headers.get("cookie", []))).get(COOKIE)
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(
            found.value.encode("utf-8", "replace"), self.cookie.encode()
        )

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(
            given.encode("utf-8", "replace"), self.settings.token.encode("utf-8")
        )

    async def _ask(self, scope: Message, send: Send) -> None:
        """Take the token of `/?token=…` into a cookie; without one, say that it is needed."""
        home = scope["path"] == "/" and scope["method"] == "GET"
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if home and self._is_token(query.get("token", [""])[0]):
            kept = f"{COOKIE}={self.cookie}; HttpOnly; SameSite=Lax; Path=/"
            await answer(send, 303, headers={"location": "/", "set-cookie": kept})
        elif home:
            kind = {"content-type": "text/html; charset=utf-8"}
            await answer(send, 401, text=ASKING, headers=kind)
        else:
            problem, more = "a token is needed: Authorization: Bearer TOKEN", "Bearer"
            await refuse(send, 401, problem=problem, more={"www-authenticate": more})


async def refuse(
    send: Send, status: int, *, problem: str, more: dict[str, str] | None = None
) -> None:
    """Answer that a request is refused, as JSON."""
    kind = {"content-type": "application/json"}
    await answer(send, status, text=json.dumps({"error": problem}), headers=kind | (more or {}))


async def answer(send: Send, status: int, *, text: str = "", headers: dict[str, str]) -> None:
    """Send a whole answer."""
    body = text.encode()
    sent = {**HEADERS, "cache-control": "no-store", "content-length": str(len(body)), **headers}
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def _with_headers(send: Send) -> Send:
    """Return what sends an answer with the headers that say what a page of it may do."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message["headers"]}
            more = {**HEADERS, "cache-control": "no-store"}
            message["headers"] = [
                *message["headers"],
                *((k.encode(), v.encode()) for k, v in more.items() if k.encode() not in there),
            ]
        await send(message)

    return sending
