"""What leads take away: decisions to learn from, and what was moderated in numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from api import examples, review_examples
from api.deps import CallerDep, ServiceDep
from api.lists import moment
from api.problems import ProblemError, documented
from api.report_schemas import TransparencyOut
from vidlm.audit.export import Format
from vidlm.review import exporting, transparency

router = APIRouter(tags=["review"])

_MEDIA: Final = {Format.CSV: "text/csv; charset=utf-8", Format.JSON: "application/x-ndjson"}
_EXPORTED: Final = {
    200: {
        "description": "The decisions",
        "content": {
            "text/csv": {"schema": {"type": "string"}, "example": ",".join(exporting.COLUMNS)},
            "application/x-ndjson": {"schema": {"type": "string"}, "example": "{...}"},
        },
    }
}

Since = Annotated[str | None, Query(max_length=64, description="RFC 3339; not before this.")]
Until = Annotated[str | None, Query(max_length=64, description="RFC 3339; before this.")]


@router.get("/v1/review/decisions/export", response_class=StreamingResponse, responses=documented(_EXPORTED, 422))
def export_decisions(
    service: ServiceDep,
    caller: CallerDep,
    form: Annotated[Format, Query(alias="format")] = Format.CSV,
    since: Since = None,
    until: Until = None,
) -> StreamingResponse:
    """All decisions that count, without those on child safety. That you took them stands in the audit."""
    wanted = exporting.Wanted(caller.tenant_id, _moment(since, "since"), _moment(until, "until"))
    exporting.note(service.database, form, wanted, actor=caller.id)

    def lines() -> Iterator[str]:
        for text, _ in exporting.pieces(service.database, form, wanted):
            yield text

    name = f"decisions.{form}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(lines(), media_type=_MEDIA[form], headers=headers)


@router.get(
    "/v1/reports/transparency",
    response_model=TransparencyOut,
    responses=documented({200: examples.shown("The report", review_examples.TRANSPARENCY)}, 422),
)
def get_transparency(
    service: ServiceDep, caller: CallerDep, since: Since = None, until: Until = None
) -> TransparencyOut:
    """What was moderated in a period, in numbers that may be shown to everybody; the last 30 days."""
    end = _moment(until, "until") or datetime.now(UTC)
    begin = _moment(since, "since") or end - timedelta(days=transparency.USUAL_DAYS)
    if begin >= end:
        raise ProblemError(422, "invalid_request", "since: must be before until")
    with service.database.read() as session:
        made = transparency.report(session, caller.tenant_id, begin, end)
    document = asdict(made)
    for policy_id, counts in made.policies.items():
        document["policies"][policy_id]["overturned"] = counts.overturned
    return TransparencyOut(**document)


def _moment(raw: str | None, name: str) -> datetime | None:
    return None if raw is None else moment(raw, name)
