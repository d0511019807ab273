"""What requests are given: the parameters that several share, and what a body may be."""

import json
from typing import Annotated

import numpy as np
from fastapi import Query, Request

from ..errors import BadInput
from .taken import Refused

MOST_ITEMS = 1000  # of one answer
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


def kind_of_body(request: Request) -> str:
    """Return a request's content type, without what follows it."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_picture(kind: str) -> None:
    """Raise Refused unless a content type is a picture's: forms of other sites cannot name one."""
    if not kind.startswith("image/"):
        raise Refused(415, f"content-type {kind or 'missing'}: image/…, or JSON, is wanted")


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
