"""A server's application: its routes and its page, behind its checks, its problems in a line."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from anyio.to_thread import run_sync
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from ..errors import PipelineError
from . import schema
from .guard import Guard
from .routes import add_changes, add_items, add_search, add_state
from .service import Service
from .taken import Refused

FIXED = {
    "index.html": "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": schema.Problem, "description": about}
    for status, about in {
        400: "It cannot be searched with; the text says why.",
        401: "The token is missing.",
        403: "Another site asks, or changes are not allowed.",
        408: "It did not arrive in time.",
        413: "It is too large.",
        415: "It is neither a picture nor JSON.",
        422: "A parameter is wrong.",
        429: "Too much is waiting; the header Retry-After says when to come back.",
    }.items()
}


def create_app(service: Service) -> Any:
    """Return the ASGI application of a server, behind its checks."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await run_sync(service.close)

    app = FastAPI(
        title="nformer",
        description="Find a person in an index of pictures.",
        version=_version(),
        docs_url=None,  # FastAPI's pages load scripts from other sites
        redoc_url=None,
        lifespan=lifespan,
        responses=PROBLEMS,
    )
    add_problems(app)
    add_page(app)
    add_state(app, service)
    add_items(app, service)
    add_search(app, service)
    add_changes(app, service)
    return Guard(Counted(app, service), settings=service.settings)


def add_page(app: FastAPI) -> None:
    """Add the page and its files, read once: no request names a file."""
    folder = files(__package__) / "static"
    contents = {name: (folder / name).read_bytes() for name in FIXED}

    def sending(name: str) -> Callable[[], Awaitable[Response]]:
        async def fixed() -> Response:
            headers = {"cache-control": "no-cache"}
            return Response(contents[name], media_type=FIXED[name], headers=headers)

        return fixed

    for name in FIXED:
        place = "/" if name == "index.html" else f"/{name}"
        app.get(place, include_in_schema=False)(sending(name))


def add_problems(app: FastAPI) -> None:
    """Answer what is wrong with a request in a line of JSON."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        headers = {} if error.retry is None else {"retry-after": str(error.retry)}
        return JSONResponse({"error": error.problem}, error.status, headers)

    @app.exception_handler(PipelineError)
    async def bad(_: Request, error: PipelineError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 400)

    @app.exception_handler(HTTPException)
    async def elsewhere(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def wrong(_: Request, error: RequestValidationError) -> JSONResponse:
        found = error.errors()[0]
        return JSONResponse({"error": f"{found['loc'][-1]}: {found['msg']}"}, 422)


class Counted:
    """An application that counts its requests, by route."""

    def __init__(self, app: FastAPI, service: Service) -> None:
        self.app, self.metrics = app, service.metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand a request on, and count it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.perf_counter(), [500]

        async def noting(message: Any) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if route != "other" else "other"
            self.metrics.requests.labels(method, route, status[0]).inc()
            self.metrics.seconds.labels(method, route).observe(time.perf_counter() - begun)


def _version() -> str:
    from .. import __version__

    return __version__
