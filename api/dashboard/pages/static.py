"""Styles, scripts and pictures of the dashboard. Their addresses name a release of them: they are kept for ever."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path
from fastapi.responses import FileResponse

from api.dashboard import rendering
from api.problems import not_found

router = APIRouter(include_in_schema=False)

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_KEPT: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
_NAMES: Final = {
    str(file.relative_to(rendering.STATIC)) for file in rendering.STATIC.rglob("*") if file.suffix in _TYPES
}


@router.get("/static/{digest}/{name:path}")
def get_static(digest: Annotated[str, Path(max_length=40)], name: Annotated[str, Path(max_length=200)]) -> FileResponse:
    """A file. The address of another release gives today's, which is then not kept."""
    if name not in _NAMES:
        raise not_found("file")
    file = rendering.STATIC / name
    headers = _KEPT if digest == rendering.release() else {"Cache-Control": "no-cache"}
    return FileResponse(file, media_type=_TYPES[file.suffix], headers=headers)
