"""Banks of known videos: entries, lists of hashes in and out, and what a video was recognised as."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated, Final

from fastapi import APIRouter, Body, Path, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse
from sqlmodel import Session
from starlette.concurrency import run_in_threadpool

from api import bank_examples, examples
from api.bank_schemas import (
    MAX_REASON,
    EntryIn,
    EntryOut,
    EntryPage,
    ImportOut,
    MatchesOut,
    entry_out,
    matches_out,
)
from api.deps import CallerDep, Service, ServiceDep
from api.draining import drain
from api.once import OnceDep, respond
from api.problems import ProblemError, documented, not_found
from api.routes.videos import VideoId, existing, not_ready
from vidlm.domain import Bank
from vidlm.jobs.idempotency import Reply
from vidlm.jobs.states import OPEN
from vidlm.known import banks, matches
from vidlm.likeness.hashlists import Form, HashListError, parse_hash_list, videos_of, write_hash_list
from vidlm.store.keys import Caller
from vidlm.store.likeness import BankEntry, FingerprintRow

router = APIRouter(prefix="/v1", tags=["banks"])

MAX_LIST_BYTES: Final = 16 << 20
"""Of one request; a longer list comes in several."""
MAX_LIST_VIDEOS: Final = 10_000
_EXPORTED: Final = 200  # entries read at once
_MEDIA_TYPES: Final = {Form.JSONL: "application/x-ndjson", Form.CSV: "text/csv"}

BankName = Annotated[Bank, Path(examples=["known_bad"])]
EntryId = Annotated[str, Path(max_length=64, examples=[bank_examples.ENTRY["id"]])]
FormName = Annotated[Form, Query(alias="format", description="JSON lines or CSV, one frame a line.")]


@router.post(
    "/banks/{bank}/entries",
    status_code=201,
    response_model=EntryOut,
    responses=documented({201: examples.shown("The entry", bank_examples.ENTRY)}, 404, 409, 410, 413, 422),
)
def create_entry(
    bank: BankName,
    asked: Annotated[EntryIn, Body(examples=[bank_examples.ENTRY_IN])],
    service: ServiceDep,
    caller: CallerDep,
    once: OnceDep,
) -> JSONResponse:
    """Know a video from now on, and whatever is uploaded again of it. It leaves the other bank.

    A video that is in the bank already keeps its entry. 409 `bank_full`, `no_such_video` before all its bytes are here.
    """
    with service.database.write() as session:

        def do() -> Reply:
            existing(session, caller, asked.video_id)
            entry = banks.enter(
                session,
                tenant_id=caller.tenant_id,
                video_id=asked.video_id,
                bank=bank,
                actor=caller.id,
                reason=asked.reason,
                decision_id=asked.decision_id,
                restricted=asked.restricted,
            )
            return Reply(201, entry_out(entry).model_dump(mode="json"), {"Location": _address(entry)})

        reply = once(session, asked.model_dump(mode="json"), do)
    return respond(reply)


@router.get(
    "/banks/{bank}/entries",
    response_model=EntryPage,
    responses=documented({200: examples.shown("A page of entries", bank_examples.ENTRY_PAGE)}, 422),
)
def get_entries(
    *,
    bank: BankName,
    service: ServiceDep,
    caller: CallerDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[str | None, Query(max_length=64, description="Only entries older than this one.")] = None,
    withdrawn: Annotated[bool, Query(description="Those that left the bank instead.")] = False,
) -> EntryPage:
    """What the tenant knows, the newest first."""
    with service.database.read() as session:
        rows = banks.list_entries(
            session, caller.tenant_id, bank, most=limit + 1, before=_clean(before), withdrawn=withdrawn
        )
        items = [entry_out(row) for row in rows[:limit]]
    return EntryPage(items=items, next_before=items[-1].id if len(rows) > limit else None)


@router.get(
    "/banks/{bank}/entries/{entry_id}",
    response_model=EntryOut,
    responses=documented({200: examples.shown("The entry", bank_examples.ENTRY)}, 404, 422),
)
def get_entry(bank: BankName, entry_id: EntryId, service: ServiceDep, caller: CallerDep) -> EntryOut:
    """One entry, also one that left its bank."""
    with service.database.read() as session:
        return entry_out(_entry_of(session, caller, bank, entry_id))


@router.delete(
    "/banks/{bank}/entries/{entry_id}",
    response_model=EntryOut,
    responses=documented({200: examples.shown("The entry, withdrawn", bank_examples.WITHDRAWN)}, 404, 422),
)
def withdraw_entry(
    bank: BankName,
    entry_id: EntryId,
    service: ServiceDep,
    caller: CallerDep,
    reason: Annotated[str, Query(max_length=MAX_REASON, description="Why; kept with the entry.")] = "",
) -> EntryOut:
    """Take an entry out of its bank. What matched it before stays as it was judged. May be repeated."""
    with service.database.write() as session:
        entry = _entry_of(session, caller, bank, entry_id, lock=True)
        banks.withdraw(session, entry, actor=caller.id, reason=reason)
        return entry_out(entry)


@router.post(
    "/banks/{bank}/import",
    response_model=ImportOut,
    responses=documented({200: examples.shown("What became of it", bank_examples.IMPORTED)}, 409, 413, 422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/x-ndjson": {"schema": {"type": "string"}, "example": bank_examples.HASH_LIST},
                "text/csv": {
                    "schema": {"type": "string"},
                    "example": "hash,quality,time_s,label,source\n54a9...b677,97,1.5,case-17,hashes.example\n",
                },
            },
        }
    },
)
async def import_list(
    *,
    request: Request,
    bank: BankName,
    service: ServiceDep,
    caller: CallerDep,
    once: OnceDep,
    form: FormName = Form.JSONL,
    reason: Annotated[str, Query(max_length=MAX_REASON, description="Why; kept with every entry.")] = "",
    restricted: Annotated[bool, Query(description="What matches it always goes to people.")] = False,
) -> JSONResponse:
    """Take in a list of hashes, one frame a line; frames of one label and source are one video.

    A video that the bank has by the same label and source is replaced. Where a line is wrong, nothing of the list is
    taken in: 422 `invalid_hash_list` says which.
    """
    data = await _body(request)

    def take_in() -> JSONResponse:
        asked = {"sha256": hashlib.sha256(data).hexdigest(), "form": form, "reason": reason, "restricted": restricted}
        videos = videos_of(parse_hash_list(data, form))
        if len(videos) > MAX_LIST_VIDEOS:
            raise HashListError(f"more than {MAX_LIST_VIDEOS} videos: send the list in parts")
        with service.database.write() as session:

            def do() -> Reply:
                done = banks.take_in(
                    session,
                    videos,
                    tenant_id=caller.tenant_id,
                    bank=bank,
                    actor=caller.id,
                    reason=reason,
                    restricted=restricted,
                )
                frames = sum(map(len, videos.values()))
                shown = ImportOut(added=done.added, unchanged=done.unchanged, replaced=done.replaced, frames=frames)
                return Reply(200, shown.model_dump(mode="json"))

            return respond(once(session, asked, do))

    return await run_in_threadpool(take_in)


@router.get(
    "/banks/{bank}/export",
    response_model=None,
    response_class=StreamingResponse,
    responses=documented({200: examples.shown("The list", bank_examples.HASH_LIST, "application/x-ndjson")}, 422),
)
def export_list(
    bank: BankName, service: ServiceDep, caller: CallerDep, form: FormName = Form.JSONL
) -> StreamingResponse:
    """The bank as a list of hashes, as `import` takes it. Videos of your own go by their entries' ids."""
    named = {"Content-Disposition": f'attachment; filename="{bank}.{form}"'}
    return StreamingResponse(_listed(service, caller, bank, form), media_type=_MEDIA_TYPES[form], headers=named)


@router.get(
    "/videos/{video_id}/matches",
    response_model=MatchesOut,
    responses=documented({200: examples.shown("What it shows", bank_examples.MATCHES)}, 404, 409, 410, 422),
)
def get_matches(video_id: VideoId, service: ServiceDep, caller: CallerDep) -> MatchesOut:
    """Which known videos a video shows, where, and what was decided about them. 409 until it is prepared."""
    with service.database.read() as session:
        status = existing(session, caller, video_id)
        made = session.get(FingerprintRow, video_id)
        if made is None and status.state in OPEN:
            raise not_ready(status)
        compared = made is not None and made.bank_version is not None
        return matches_out(video_id, compared, matches.matches_of(session, video_id))


def takes_list(path: str) -> bool:
    """Whether a request to this path brings a list, which is read as it comes."""
    return path.startswith(f"{router.prefix}/banks/") and path.endswith("/import")


async def _body(request: Request) -> bytes:
    """The whole list. Raises `ProblemError` 413."""
    data = bytearray()
    chunks = request.stream()
    async for chunk in chunks:
        data += chunk
        if len(data) > MAX_LIST_BYTES:
            await drain(chunks)
            raise ProblemError(413, "too_large", f"the list is larger than {MAX_LIST_BYTES} bytes: send it in parts")
    return bytes(data)


def _listed(service: Service, caller: Caller, bank: Bank, form: Form) -> Iterator[str]:
    """A bank's list, some entries at a time, each read in a transaction of its own."""
    yield write_hash_list((), form)
    after: str | None = ""
    while after is not None:
        with service.database.read() as session:
            entries, after = banks.as_list(session, caller.tenant_id, bank, after=after, most=_EXPORTED)
        yield write_hash_list(entries, form, heading=False)


def _entry_of(session: Session, caller: Caller, bank: Bank, entry_id: str, *, lock: bool = False) -> BankEntry:
    """One of the caller's entries. Raises `ProblemError` 404."""
    row = None if "\0" in entry_id else banks.find(session, caller.tenant_id, entry_id, bank, lock=lock)
    if row is None:
        raise not_found("entry")
    return row


def _clean(before: str | None) -> str | None:
    if before is not None and "\0" in before:
        raise ProblemError(422, "invalid_request", "before: this is no entry's id")
    return before


def _address(entry: BankEntry) -> str:
    return f"/v1/banks/{entry.bank}/entries/{entry.id}"
