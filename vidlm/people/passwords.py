"""Passwords: made, hashed and checked. The one door to the hashing library.

Argon2id (RFC 9106) with the library's costs; a hash made with lower ones is made anew when its password comes by.
"""

from __future__ import annotations

import secrets
from functools import cache
from typing import Final

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

from vidlm.errors import InputError

LEAST: Final = 12
MOST: Final = 256
"""Characters of a password: long enough not to be guessed (NIST SP 800-63B asks for 8), short enough to be hashed."""


def make() -> str:
    """A password for a person to copy once: 90 random bits in groups of letters and digits that look like no others."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(6)) for _ in range(3))


def check(password: str) -> None:
    """Raises `InputError` (`weak_password`) for one that is too short, too long, or one letter over and over."""
    if not LEAST <= len(password) <= MOST:
        raise InputError(f"a password has {LEAST} to {MOST} characters", code="weak_password")
    if len(set(password)) < 5:
        raise InputError("a password has five different characters at least", code="weak_password")


def hashed(password: str) -> str:
    return _hasher().hash(password)


def is_right(password: str, password_hash: str | None) -> tuple[bool, str | None]:
    """Whether it is the one, and its hash at today's costs where that has to be stored.

    Without a hash the answer is no, after as long as it takes to find out.
    """
    try:
        right, renewed = _hasher().verify_and_update(password[:MOST], password_hash or _nobodys())
    except UnknownHashError:
        return False, None
    return right and password_hash is not None, renewed if right else None


@cache
def _hasher() -> PasswordHash:
    return PasswordHash((Argon2Hasher(),))


@cache
def _nobodys() -> str:
    return _hasher().hash(make())
