"""The requests by route: search, items, changes, and how the server is."""

import asyncio
import functools
import time
from typing import Annotated, Any

import anyio
from anyio.to_thread import run_sync
from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response

from ..device import cores
from ..gallery.asked import parsed_crop, parsed_threshold
from . import schema
from .parameters import (
    BODY,
    MOST_ITEMS,
    PICTURE,
    Cameras,
    Since,
    Until,
    Version,
    features_of,
    kind_of_body,
    require_picture,
)
from .service import Service, as_found
from .taken import Refused


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
                "crop": parsed_crop(crop, option="crop"),
                "camera": camera,
                "among": (tuple(among or ()), since, until),
                "top": top,
                "threshold": parsed_threshold(threshold, option="threshold"),
                "false_accepts": false_accept,
            }
            prepare = functools.partial(service.asked, opened, **settings)
            if row is not None:
                asked = await run_sync(prepare, row, limiter=decoding)
            else:
                announced = request.headers.get("content-length", "")
                kind = kind_of_body(request)
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
            kind = kind_of_body(request)
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


def require_edits(service: Service) -> None:
    """Raise Refused where changes are not allowed."""
    if service.edits is None:
        raise Refused(403, "changes are not allowed; start the server with --allow-edit")


def changed(service: Service, count: int) -> dict[str, Any]:
    """Return what a change did."""
    opened = service.live.current
    return {"changed": count, "items": len(opened.camids), "version": opened.version}
