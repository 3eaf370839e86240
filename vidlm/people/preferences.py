"""How somebody likes the dashboard: language, theme, and how gently video is shown. Pure.

What is stored may be from an older release, or empty: whatever it does not say, or says wrongly, is the default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vidlm.errors import InputError

CHOICES: Final[dict[str, tuple[object, ...]]] = {
    "language": ("en", "zh"),
    "theme": ("system", "light", "dark"),
    "speed": (0.5, 1.0, 1.5, 2.0),
    "blur": (True, False),
    "grey": (True, False),
    "mute": (True, False),
    "shortcuts": (True, False),
}


@dataclass(frozen=True, slots=True)
class Preferences:
    """Video begins blurred, grey and mute, until its reviewer wants otherwise."""

    language: str = "en"
    theme: str = "system"
    speed: float = 1.0
    blur: bool = True
    grey: bool = True
    mute: bool = True
    shortcuts: bool = True  # single keys act


def of(stored: Mapping[str, Any]) -> Preferences:
    """What is stored, as far as it makes sense."""
    known = {name: stored[name] for name, choices in CHOICES.items() if _chosen(stored.get(name), choices)}
    return Preferences(**known)


def changed(before: Preferences, wanted: Mapping[str, Any]) -> Preferences:
    """`before` with what is wanted. Raises `InputError` (`invalid_preference`)."""
    for name, value in wanted.items():
        if name not in CHOICES or not _chosen(value, CHOICES[name]):
            raise InputError(f"{name}: this cannot be chosen", code="invalid_preference")
    return dataclasses.replace(before, **wanted)


def _chosen(value: object, choices: tuple[object, ...]) -> bool:
    """Whether it is one of the choices; `1` is not `True`."""
    return any(value == choice and isinstance(value, bool) is isinstance(choice, bool) for choice in choices)
