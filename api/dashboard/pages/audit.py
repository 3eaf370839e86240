"""The audit: who did what, the newest first; whether every row is as it was written; all of it to take away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from sqlmodel import Session

from api.dashboard import rendering
from api.dashboard.access import PageRoute, PersonDep, is_part
from api.deps import ServiceDep
from api.problems import ProblemError
from vidlm.audit import export, listing, reading
from vidlm.audit.checks import Check, Checks
from vidlm.audit.export import Format
from vidlm.audit.reading import Entry
from vidlm.people import accounts
from vidlm.people.signing_in import SignedIn
from vidlm.store import keys

router = APIRouter(include_in_schema=False, route_class=PageRoute, prefix="/audit")

SHOWN: Final = 50
"""Rows of a page."""
PIECE: Final = 500
"""Rows of an export that are sent at once."""
_MEDIA: Final = {Format.CSV: "text/csv; charset=utf-8", Format.JSON: "application/x-ndjson"}
_ENDINGS: Final = {Format.CSV: "csv", Format.JSON: "jsonl"}

Text = Annotated[str, Query(max_length=200)]
Moment = Annotated[str, Query(max_length=40)]


@dataclass(frozen=True, slots=True)
class Asked:
    """The filters, as they stand in the address. `cursor`: rows before this number."""

    who: str = ""
    event: str = ""
    target: str = ""
    since: str = ""
    until: str = ""
    cursor: int | None = None

    def address(self, **changes: object) -> str:
        """The page's address with other filters; what says nothing is left out."""
        other = replace(self, **{"cursor": None} | changes)  # type: ignore[arg-type]
        values = {"from" if name == "since" else name: getattr(other, name) for name in self.__slots__}
        said = {name: value for name, value in values.items() if value}
        return "/audit" + (f"?{urlencode(said)}" if said else "")


@dataclass(frozen=True, slots=True)
class Row:
    """An entry, with what its ids are called where somebody knows, and its details as names and values."""

    entry: Entry
    who: str | None
    target: str | None
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CheckPart:
    """`check`: what runs here, or ran last. Else `last`: the last time that one was written down."""

    check: Check | None
    last: Row | None
    names: dict[str, str]


@dataclass(frozen=True, slots=True)
class AuditPage:
    """`total`: rows of the whole chain. `names`: of people and keys, by id. `problem`: a filter that makes no sense."""

    asked: Asked
    rows: tuple[Row, ...]
    next: str | None
    total: int
    events: tuple[str, ...]
    names: dict[str, str]
    verified: CheckPart
    problem: str | None


@router.get("")
def get_audit(
    person: PersonDep,
    service: ServiceDep,
    request: Request,
    *,
    who: Text = "",
    event: Text = "",
    target: Text = "",
    since: Annotated[str, Query(alias="from", max_length=40)] = "",
    until: Moment = "",
    cursor: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
) -> Response:
    """The page."""
    asked = Asked(who.strip(), event.strip(), target.strip(), since, until, cursor)
    with reading.snapshot(service.database) as session:
        page = _page(session, person, asked, request.app.state.checks)
    return rendering.html("audit.html", rendering.frame("audit", person), page, status=422 if page.problem else 200)


@router.get("/verify")
def get_check(person: PersonDep, service: ServiceDep, request: Request) -> Response:
    """How far verifying is, for a page that is open."""
    if not is_part(request):
        return RedirectResponse("/audit", 303)
    with reading.snapshot(service.database) as session:
        part = _verified(session, person, request.app.state.checks, _names(session, person))
    return rendering.html("parts/check.html", rendering.frame("audit", person), part)


@router.post("/verify")
def verify(person: PersonDep, service: ServiceDep, request: Request) -> Response:
    """Begin to verify the chain, unless somebody has begun."""
    request.app.state.checks.begin(person.caller.tenant_id, person.caller.id)
    return get_check(person, service, request)


@router.post("/export")
def take_export(
    person: PersonDep,
    service: ServiceDep,
    *,
    form: Annotated[Format, Form(alias="format")] = Format.CSV,
    since: Annotated[str, Form(alias="from", max_length=40)] = "",
    until: Annotated[str, Form(max_length=40)] = "",
) -> Response:
    """The whole audit, or what was done in a time, as a file. That it was taken stands in the audit."""
    wanted = export.Wanted(person.caller.tenant_id, moment(since), moment(until))
    tenants = export.note(service.database, form, wanted, actor=person.caller.id)
    lines = export.lines(service.database, form, wanted, tenants)
    headers = {"Content-Disposition": f'attachment; filename="audit.{_ENDINGS[form]}"', "Cache-Control": "no-store"}
    return StreamingResponse(_pieces(lines), media_type=_MEDIA[form], headers=headers)


def moment(raw: str) -> datetime | None:
    """An ISO time, in UTC where it names no zone; None for nothing. Raises `ProblemError` 422."""
    if not raw:
        return None
    try:
        at = datetime.fromisoformat(raw)
        return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise ProblemError(422, "invalid_time", f"{raw!r} is no time") from exc


def _pieces(lines: Iterable[str]) -> Iterator[str]:
    """The lines, many at once: each piece costs the sending thread a hop."""
    held: list[str] = []
    for line in lines:
        held.append(line)
        if len(held) == PIECE:
            yield "".join(held)
            held.clear()
    yield "".join(held)


def _page(session: Session, person: SignedIn, asked: Asked, checks: Checks) -> AuditPage:
    tenant_id = person.caller.tenant_id
    names = _names(session, person)
    problem, found = None, []
    try:
        found = listing.page(session, _wanted(tenant_id, asked, names), SHOWN + 1)
    except ProblemError as exc:
        problem = exc.detail
    head = reading.heads(session).get(tenant_id)
    return AuditPage(
        asked=asked,
        rows=tuple(_row(entry, names) for entry in found[:SHOWN]),
        next=asked.address(cursor=found[SHOWN - 1].number) if len(found) > SHOWN else None,
        total=0 if head is None else head.number,
        events=tuple(listing.events(session, tenant_id)),
        names=names,
        verified=_verified(session, person, checks, names),
        problem=problem,
    )


def _wanted(tenant_id: str, asked: Asked, names: dict[str, str]) -> listing.Wanted:
    """What is asked for; somebody's name stands for their ids. Raises `ProblemError` 422."""
    if not f"{asked.who}{asked.event}{asked.target}".isprintable():
        raise ProblemError(422, "invalid_request", "no row has such a text in it")
    called = {name: id_ for id_, name in names.items()}
    return listing.Wanted(
        tenant_id,
        actors=tuple(id_ for id_, name in names.items() if name == asked.who) or (asked.who,) if asked.who else None,
        event=asked.event or None,
        target_id=called.get(asked.target, asked.target) or None,
        since=moment(asked.since),
        until=moment(asked.until),
        before=asked.cursor,
    )


def _row(entry: Entry, names: dict[str, str]) -> Row:
    return Row(entry, names.get(entry.actor), names.get(entry.target_id), tuple(listing.facts(entry.details)))


def _verified(session: Session, person: SignedIn, checks: Checks, names: dict[str, str]) -> CheckPart:
    tenant_id = person.caller.tenant_id
    check = checks.of(tenant_id)
    if check is not None:
        return CheckPart(check, None, names)
    found = listing.page(session, listing.Wanted(tenant_id, event="audit.verified"), 1)
    return CheckPart(None, _row(found[0], names) if found else None, names)


def _names(session: Session, person: SignedIn) -> dict[str, str]:
    tenant_id = person.caller.tenant_id
    return keys.names(session, tenant_id) | accounts.names(session, tenant_id)
