"""The requests that a server answers: the page, the searches, the items, and how it is."""

import asyncio
import functools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Annotated, Any

import anyio
import numpy as np
from anyio.to_thread import run_sync
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from ..device import cores
from ..errors import BadInput, PipelineError
from . import schema
from .guard import Guard
from .service import Service, as_found
from .taken import Refused

MOST_ITEMS = 1000  # of one answer
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
BODY = {
    "required": False,
    "description": "A picture, or the features of one; none where `row` is given.",
    "content": {
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["features"],
                "properties": {"features": {"type": "array", "items": {"type": "number"}}},
            }
        },
    },
}
PICTURE = {"required": True, "content": {"image/*": BODY["content"]["image/*"]}}  # type: ignore[index]
Cameras = Annotated[list[str] | None, Query(max_length=100, description="Only items of these.")]
Since = Annotated[int | None, Query(ge=0, lt=1 << 63, description="Only items since this time.")]
Until = Annotated[int | None, Query(ge=0, lt=1 << 63, description="Only items up to this time.")]
Version = Annotated[str, Query(max_length=64, description='Of the index; "": the current one.')]


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


def add_search(app: FastAPI, service: Service) -> None:
    """Add the search."""
    decoding = anyio.CapacityLimiter(cores())  # a decoded picture takes up to 150 MB

    @app.post("/search", response_model=schema.Found, openapi_extra={"requestBody": BODY})
    async def search(
        request: Request,
        row: Annotated[int | None, Query(description="Search with this item's picture.")] = None,
        top: Annotated[int, Query(ge=1, le=MOST_ITEMS, description="Items to find.")] = 10,
        crop: Annotated[str, Query(max_length=60, description="x,y,width,height in pixels.")] = "",
        camera: Annotated[str, Query(max_length=200, description="The picture's own.")] = "-1",
        threshold: Annotated[
            str, Query(max_length=30, description="auto, or a similarity before refinement.")
        ] = "",
        false_accept: Annotated[
            float, Query(description="Share of strangers that threshold=auto accepts.")
        ] = 0.01,
        among: Cameras = None,
        since: Since = None,
        until: Until = None,
        version: Version = "",
    ) -> Any:
        """Find who is on a picture, as `nformer search` does."""
        with service.taken.one():
            opened = service.opened(version if row is not None else "")
            settings: dict[str, Any] = {
                "crop": crop_of(crop),
                "camera": camera,
                "among": (tuple(among or ()), since, until),
                "top": top,
                "threshold": threshold_of(threshold),
                "false_accepts": false_accept,
            }
            prepare = functools.partial(service.asked, opened, **settings)
            if row is not None:
                asked = await run_sync(prepare, row, limiter=decoding)
            else:
                announced = request.headers.get("content-length", "")
                kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
                if kind not in ("application/json", "application/octet-stream"):
                    require_picture(kind)
                stream = request.stream()
                async with service.taken.received(stream, announced=announced) as sent:
                    content = features_of(sent) if kind == "application/json" else sent
                    asked = await run_sync(prepare, content, limiter=decoding)
                    del sent, content
            begun = time.perf_counter()
            result = await asyncio.wrap_future(service.batches.ask(asked))
            service.taken.took((time.perf_counter() - begun) / max(1, service.taken.requests))
        return JSONResponse(as_found(asked, result))


def add_items(app: FastAPI, service: Service) -> None:
    """Add what tells of the items, and shows them."""
    decoding = anyio.CapacityLimiter(cores())

    @app.get("/items", response_model=schema.Items)
    async def items(
        start: Annotated[int, Query(ge=0, description="So many are left out.")] = 0,
        count: Annotated[int, Query(ge=1, le=MOST_ITEMS, description="At most.")] = 50,
        among: Cameras = None,
        since: Since = None,
        until: Until = None,
        version: Version = "",
    ) -> Any:
        """List items by row."""
        opened = service.opened(version)
        rows = opened.rows_of(among or (), since=since, until=until)
        total = len(opened.camids) if rows is None else len(rows)
        chosen = range(start, min(start + count, total)) if rows is None else rows[start:][:count]
        listed = [service.item(opened, int(row)) for row in chosen]
        return {"version": opened.version, "total": total, "items": listed}

    @app.get("/items/{row}", response_model=schema.Item)
    async def item(row: int, version: Version = "") -> Any:
        """Tell of one item."""
        opened = service.opened(version)
        return service.item(opened, service.row(opened, row))

    @app.get(
        "/items/{row}/picture",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}},
    )
    async def picture(row: int, version: Version = "", whole: bool = False) -> Any:
        """Show an item's picture, fitted into a list, or whole."""
        opened = service.opened(version)
        show = functools.partial(service.shown.jpeg, opened, service.row(opened, row))
        jpeg = await run_sync(functools.partial(show, small=not whole), limiter=decoding)
        kept = {"cache-control": "private, max-age=3600"} if version else {}
        return Response(jpeg, media_type="image/jpeg", headers=kept)


def add_changes(app: FastAPI, service: Service) -> None:
    """Add what changes the index; without --allow-edit it is there and refuses."""

    @app.post("/items", response_model=schema.Changed, openapi_extra={"requestBody": PICTURE})
    async def add(
        request: Request,
        pid: Annotated[str, Query(max_length=200, description="Who it is; -1: not known.")] = "-1",
        camera: Annotated[str, Query(max_length=200, description="-1: not known.")] = "-1",
    ) -> Any:
        """Add a picture to the index, as `nformer index add` does."""
        require_edits(service)
        with service.taken.one():
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            require_picture(kind)
            announced = request.headers.get("content-length", "")
            async with service.taken.received(request.stream(), announced=announced) as sent:
                change = functools.partial(service.add, sent, pid=pid, camera=camera)
                return changed(service, await run_sync(change))

    @app.delete("/items/{row}", response_model=schema.Changed)
    async def remove(row: int, version: Annotated[str, Query(max_length=64)]) -> Any:
        """Remove an item from the index; the version says whose row is meant."""
        require_edits(service)
        with service.taken.one():
            return changed(service, await run_sync(service.remove, version, row))


def add_state(app: FastAPI, service: Service) -> None:
    """Add what tells how the server is."""

    @app.get("/health", response_model=schema.Health)
    async def health() -> Any:
        """Say whether the server answers."""
        problem = "the index's file changed and cannot be opened" if service.live.problem else ""
        count, version = len(service.live.current.camids), service.live.current.version
        return {"status": "ok", "items": count, "version": version, "problem": problem}

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Any:
        """Count requests, seconds and memory, as Prometheus reads them."""
        service.metrics.taken.set(service.taken.requests)
        text = service.metrics.text(service.live)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/about", response_model=schema.About)
    async def about() -> Any:
        """Tell what is served."""
        opened = service.live.current
        searching, index = opened.searching, opened.searching.index
        known = opened.times[opened.times >= 0]
        return {
            "version": opened.version,
            "run": service.name,
            "items": len(index),
            "dim": index.dim,
            "refined_by": index.refined_by,
            "pictures": service.pictures,
            "shown": any(searching.folders),
            "allow_edit": service.edits is not None,
            "megabytes": service.settings.megabytes,
            "cameras": service.cameras(opened),
            "first_time": int(known.min()) if len(known) else None,
            "last_time": int(known.max()) if len(known) else None,
            "calibration": service.tells(opened),
            "approximate": searching.said,
        }


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


def require_edits(service: Service) -> None:
    """Raise Refused where changes are not allowed."""
    if service.edits is None:
        raise Refused(403, "changes are not allowed; start the server with --allow-edit")


def require_picture(kind: str) -> None:
    """Raise Refused unless a content type is a picture's: forms of other sites cannot name one."""
    if not kind.startswith("image/"):
        raise Refused(415, f"content-type {kind or 'missing'}: image/…, or JSON, is wanted")


def changed(service: Service, count: int) -> dict[str, Any]:
    """Return what a change did."""
    opened = service.live.current
    return {"changed": count, "items": len(opened.camids), "version": opened.version}


def crop_of(text: str) -> tuple[int, int, int, int] | None:
    """Return `x,y,width,height` as numbers, or None when there is none."""
    if not text:
        return None
    parts = text.split(",")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() for part in parts):
        raise BadInput(f"crop {text}: wanted x,y,width,height in pixels, as in 10,20,64,128")
    x, y, width, height = map(int, parts)
    return x, y, width, height


def threshold_of(text: str) -> float | str | None:
    """Return a similarity, "auto", or None when there is none."""
    if text in ("", "auto"):
        return text or None
    try:
        value = float(text)
    except ValueError:
        value = 2.0
    if not -1 <= value <= 1:
        raise BadInput(f"threshold {text}: wanted auto, or a similarity from -1 to 1")
    return value


def features_of(content: bytes) -> np.ndarray:
    """Return the features [d] of `{"features": [...]}`."""
    try:
        found = json.loads(content)["features"]
        features = np.asarray(found, dtype=np.float32)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        raise BadInput('the JSON is not {"features": [numbers]}') from None
    if features.ndim != 1 or not len(features) or not np.isfinite(features).all():
        raise BadInput("features: one list of finite numbers is wanted")
    return features


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
