"""The contexts that belong to no single page; a page's own stands beside its route."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorPage:
    status: int
    code: str
    detail: str
