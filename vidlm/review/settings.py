"""How a tenant reviews: read by everything in review, changed by its leads. Inside ONE transaction."""

from __future__ import annotations

from typing import Any, Final

from sqlmodel import Session

from vidlm.errors import InputError
from vidlm.moderation.exposure import Budget
from vidlm.store.chain import audit
from vidlm.store.engine import lock_key
from vidlm.store.keys import Caller
from vidlm.store.review import ReviewSettings

BOUNDS: Final = {
    "lock_s": (10.0, 86_400.0),
    "undo_s": (0.0, 86_400.0),
    "golden_share": (0.0, 0.5),
    "doubled_share": (0.0, 1.0),
    "weighted_minutes": (1.0, 1440.0),
    "stretch_minutes": (1.0, 1440.0),
    "severe_in_a_row": (1, 1000),
    "appeals_most": (0, 100),
}
"""The least and the most of each."""


def settings_of(session: Session, tenant_id: str) -> ReviewSettings:
    """The tenant's, or the defaults."""
    return session.get(ReviewSettings, tenant_id) or ReviewSettings(tenant_id=tenant_id)


def budget_of(settings: ReviewSettings) -> Budget:
    """How much a reviewer may look at before a break is due."""
    return Budget(settings.weighted_minutes, settings.stretch_minutes, settings.severe_in_a_row)


def change(session: Session, caller: Caller, changes: dict[str, Any]) -> ReviewSettings:
    """Other values for some of them. Raises `InputError` (`invalid_settings`) that names what is out of bounds."""
    for name, value in changes.items():
        least, most = BOUNDS[name]
        if not least <= value <= most:
            raise InputError(f"{name}: between {least:g} and {most:g}", code="invalid_settings")
    lock_key(session, f"review_settings/{caller.tenant_id}")
    row = settings_of(session, caller.tenant_id)
    before = {name: getattr(row, name) for name in changes}
    for name, value in changes.items():
        setattr(row, name, value)
    session.add(row)
    changed = {name: [before[name], value] for name, value in changes.items() if before[name] != value}
    audit(
        session,
        tenant_id=caller.tenant_id,
        actor=caller.id,
        event="review_settings.changed",
        target_id=caller.tenant_id,
        details=changed,
    )
    return row
