"""Who may sign in: passwords, browsers, too many wrong tries, and who is left to manage the others."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pwdlib import PasswordHash
from sqlmodel import Session, col, select, update

from vidlm.domain import Role
from vidlm.errors import ConflictError, InputError
from vidlm.people import accounts, passwords, preferences, signing_in, views
from vidlm.people.preferences import CHOICES, Preferences
from vidlm.people.signing_in import ThrottledError
from vidlm.store.engine import Database
from vidlm.store.ledger import Audit
from vidlm.store.people import Person, SignIn, SignInFailure

PASSWORD = "correct horse battery"


def person(session: Session, name: str = "ann", role: Role = Role.REVIEWER) -> Person:
    return accounts.create(session, name, PASSWORD, role=role)


def signed(database: Database, name: str = "ann", password: str = PASSWORD, address: str = "::1") -> str | None:
    with database.write() as session:
        return signing_in.sign_in(session, name, password, address)


def who(database: Database, secret: str | None) -> str | None:
    with database.read() as session:
        found = None if secret is None else signing_in.find(session, secret)
        return None if found is None else found.name


def test_a_password_opens_and_another_does_not(database: Database) -> None:
    with database.write() as session:
        made = person(session)
        assert PASSWORD not in made.password_hash
        assert made.password_hash.startswith("$argon2id$")
    secret = signed(database)
    assert who(database, secret) == "ann"
    assert signed(database, password=PASSWORD + "!") is None
    assert signed(database, name="nobody") is None
    assert who(database, "made up") is None
    with database.read() as session:
        assert session.exec(select(SignIn.secret_sha256)).one() != secret  # only its digest is kept
        events = session.exec(select(Audit.event).order_by(col(Audit.number))).all()
    assert events == ["person.made", "person.signed_in", "person.refused"]


def test_a_name_is_taken_once_and_a_password_is_no_word(database: Database) -> None:
    with database.write() as session:
        person(session)
    for name, password, code in (
        ("ann", PASSWORD, "name_taken"),
        ("", PASSWORD, "invalid_name"),
        ("a b", PASSWORD, "invalid_name"),
        ("bob", "short", "weak_password"),
        ("bob", "aaaaaaaaaaaaaaaa", "weak_password"),
        ("bob", "x" * 300, "weak_password"),
    ):
        with pytest.raises((InputError, ConflictError)) as caught, database.write() as session:
            accounts.create(session, name, password, role=Role.VIEWER)
        assert caught.value.code == code


def test_after_many_wrong_tries_nobody_is_let_in_for_a_while(database: Database) -> None:
    with database.write() as session:
        person(session)
        person(session, "bob")
    for _ in range(signing_in.NAME_MOST):
        assert signed(database, password="wrong password") is None
    with pytest.raises(ThrottledError) as caught:
        signed(database)
    assert 0 < caught.value.retry_after_s <= signing_in.WINDOW.total_seconds()
    assert signed(database, name="bob") is not None  # others are
    with database.write() as session:
        past = select(SignInFailure).order_by(col(SignInFailure.at))
        for row in session.exec(past).all():
            row.at -= signing_in.WINDOW
    assert signed(database) is not None


def test_one_address_cannot_try_all_names(database: Database) -> None:
    with database.write() as session:
        person(session)
        session.add_all(
            SignInFailure(name_sha256=f"{number}", address="10.0.0.1", at=signing_in.clock(session))
            for number in range(signing_in.ADDRESS_MOST)
        )
    with pytest.raises(ThrottledError):
        signed(database, address="10.0.0.1")
    assert signed(database, address="10.0.0.2") is not None


@pytest.mark.parametrize(
    ("idle", "old", "there"),
    [(timedelta(hours=11), timedelta(hours=11), True), (timedelta(hours=13), timedelta(hours=13), False),
     (timedelta(minutes=1), timedelta(days=8), False)],
    ids=["a long break", "over night", "for ever"],
)  # fmt: skip
def test_a_browser_is_forgotten_in_time(database: Database, idle: timedelta, old: timedelta, there: bool) -> None:
    with database.write() as session:
        person(session)
    secret = signed(database)
    with database.write() as session:
        now = signing_in.clock(session)
        session.exec(update(SignIn).values(seen_at=now - idle, created_at=now - old))
    assert (who(database, secret) == "ann") is there


def test_a_browser_that_is_heard_of_stays(database: Database) -> None:
    with database.write() as session:
        person(session)
    secret = signed(database)
    assert secret is not None
    with database.write() as session:
        session.exec(update(SignIn).values(seen_at=signing_in.clock(session) - timedelta(hours=11)))
    with database.write() as session:
        found = signing_in.find(session, secret)
        assert found is not None
        assert signing_in.is_stale(session, found)
        signing_in.heard(session, found)
    with database.read() as session:
        found = signing_in.find(session, secret)
        assert found is not None
        assert not signing_in.is_stale(session, found)


def test_whoever_is_switched_off_is_out_at_once(database: Database) -> None:
    with database.write() as session:
        made = person(session)
    secret = signed(database)
    with database.write() as session:
        accounts.change(session, session.get_one(Person, made.id), actor="cli", disabled=True)
    assert who(database, secret) is None
    assert signed(database) is None
    with database.write() as session:
        accounts.change(session, session.get_one(Person, made.id), actor="cli", disabled=False, role=Role.LEAD)
    assert who(database, signed(database)) == "ann"


def test_another_password_signs_the_other_browsers_out(database: Database) -> None:
    with database.write() as session:
        made = person(session)
    first, second = signed(database), signed(database)
    assert first is not None
    with database.write() as session:
        found = signing_in.find(session, first)
        assert found is not None
        row = session.get_one(Person, made.id)
        accounts.set_password(session, row, "another horse battery", actor=made.id, keep=found.secret_sha256)
    assert (who(database, first), who(database, second)) == ("ann", None)
    assert signed(database) is None
    assert signed(database, password="another horse battery") is not None


def test_somebody_stays_admin(database: Database) -> None:
    with database.write() as session:
        root = person(session, "root", Role.ADMIN)
    for change in ({"role": Role.LEAD}, {"disabled": True}):
        with pytest.raises(ConflictError) as caught, database.write() as session:
            accounts.change(session, session.get_one(Person, root.id), actor="cli", **change)
        assert caught.value.code == "last_admin"
    with database.write() as session:
        person(session, "other", Role.ADMIN)
        accounts.change(session, session.get_one(Person, root.id), actor="cli", role=Role.LEAD)


def test_views_are_ones_own(database: Database) -> None:
    with database.write() as session:
        ann, bob = person(session), person(session, "bob")
        views.save(session, ann.id, "queue", " hard  ones ", "severity=high")
        kept = views.save(session, ann.id, "queue", "hard ones", "severity=severe")
        with pytest.raises(InputError):
            views.save(session, ann.id, "queue", "  ", "")
        session.flush()
        assert [(one.name, one.query) for one in views.of(session, ann.id, "queue")] == [
            ("hard ones", "severity=severe")
        ]
        views.remove(session, bob.id, kept.id)
        assert len(views.of(session, ann.id, "queue")) == 1
        views.remove(session, ann.id, kept.id)
        session.flush()
        assert not views.of(session, ann.id, "queue")
        assert not views.of(session, bob.id, "queue")


def test_a_hash_costs_whoever_guesses(real_hasher: Callable[[], PasswordHash]) -> None:
    """At least what OWASP asks of Argon2id: 19 MiB and two passes (Password Storage Cheat Sheet)."""
    found = re.match(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=\d+\$", real_hasher().hash("a-Long-enough-one-7"))
    assert found is not None
    memory_kib, passes = map(int, found.groups())
    assert memory_kib >= 19 * 1024
    assert passes >= 2


def test_made_passwords_are_strong_and_differ() -> None:
    made = {passwords.make() for _ in range(200)}
    assert len(made) == 200
    for one in made:
        passwords.check(one)


STORED = st.sampled_from([True, False, 0, 1, 2, 0.5, None, "", "en", "dark", [], {}])


@given(st.dictionaries(st.sampled_from([*CHOICES, "else"]), STORED))
def test_whatever_is_stored_gives_preferences_that_can_be_chosen(stored: dict[str, object]) -> None:
    found = preferences.of(stored)
    for name, choices in CHOICES.items():
        assert getattr(found, name) in choices
        assert isinstance(getattr(found, name), bool) is isinstance(choices[0], bool)


def test_what_cannot_be_chosen_is_refused() -> None:
    assert preferences.changed(Preferences(), {"theme": "dark", "blur": False}) == Preferences(theme="dark", blur=False)
    for wanted in ({"theme": "pink"}, {"blur": 1}, {"password": "x"}, {"speed": True}):
        with pytest.raises(InputError):
            preferences.changed(Preferences(), wanted)
