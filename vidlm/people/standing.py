"""How somebody stands: when they were seen last, and with how many browsers they are signed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, func, select

from vidlm.audit import listing
from vidlm.people.signing_in import IDLE
from vidlm.store.engine import clock
from vidlm.store.people import Person, SignIn


@dataclass(frozen=True, slots=True)
class Standing:
    """`seen_at`: as long as one of their browsers is signed in. `signed_in_at`: the last time they did, as the audit
    has it (`vidlm.store.chain.time_text`)."""

    browsers: int
    seen_at: datetime | None
    signed_in_at: str | None


def standings(session: Session, people: Sequence[Person]) -> dict[str, Standing]:
    """Of each of them, by id. In a `vidlm.audit.reading.snapshot`."""
    since = clock(session) - IDLE
    query = select(SignIn.person_id, func.count(), func.max(SignIn.seen_at)).where(col(SignIn.seen_at) > since)
    rows = session.exec(query.group_by(col(SignIn.person_id))).all()
    seen = {person_id: (count, at) for person_id, count, at in rows}
    found = {}
    for person in people:
        browsers, seen_at = seen.get(person.id, (0, None))
        found[person.id] = Standing(browsers, seen_at, _signed_in_at(session, person))
    return found


def _signed_in_at(session: Session, person: Person) -> str | None:
    wanted = listing.Wanted(person.tenant_id, actors=(person.id,), event="person.signed_in")
    found = listing.page(session, wanted, 1)
    return found[0].at if found else None
