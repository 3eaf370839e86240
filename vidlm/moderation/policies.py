"""Policies from YAML, checked so that a mistake is explained in a sentence.

Knows the file's format and what makes a policy sensible; knows nothing of models, scores or databases.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

from vidlm.domain import Band, Policy, Severity, to_document
from vidlm.errors import PolicyError
from vidlm.moderation.labels import LABELS, Scheme

TAXONOMY: Final = Path(__file__).with_name("taxonomy.yaml")
NEVER: Final = 1.01
"""The block threshold of a policy that never blocks by itself: no probability reaches it."""

KEPT_SHARE: Final = 0.8
"""Of the review threshold: where a policy says no other, a flag goes on while the score is at least so high."""

_REQUIRED: Final = ("id", "title", "blocked", "severity", "review", "block")
_OPTIONAL: Final = ("parent", "allowed", "keep", "at_least_s", "labels", "enabled", "second_look")
_MAX_DURATION_S: Final = 3600.0
_ID: Final = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
_MAX_CHARS: Final = {"title": 80, "blocked": 300, "allowed": 300}
_MAX_FILE_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class PolicySet:
    """The policies that are scored, in the file's order. `version` changes with any of their content."""

    version: str
    policies: tuple[Policy, ...]

    def get(self, policy_id: str) -> Policy | None:
        """The policy with this id, or None."""
        return next((policy for policy in self.policies if policy.id == policy_id), None)


def load_policies(path: Path | None = None) -> PolicySet:
    """The enabled policies of a YAML file; the built-in taxonomy when `path` is None.

    Raises `PolicyError` that names the file, the policy and the field, and says what is wrong.
    """
    source = TAXONOMY if path is None else path
    try:
        if source.stat().st_size > _MAX_FILE_BYTES:
            raise PolicyError(f"{source.name}: larger than {_MAX_FILE_BYTES} bytes")
        text = source.read_text(encoding="utf-8")
    except OSError as exc:
        raise PolicyError(f"{source.name}: cannot be read ({exc.strerror})") from exc
    except UnicodeDecodeError as exc:
        raise PolicyError(f"{source.name}: is not UTF-8 text") from exc
    try:
        return parse_policies(text)
    except PolicyError as exc:
        raise PolicyError(f"{source.name}: {exc.detail}") from exc


def parse_policies(text: str) -> PolicySet:
    """The enabled policies of a YAML text. Raises `PolicyError` that explains."""
    return policy_set(parse_all(text))


def parse_all(text: str) -> tuple[Policy, ...]:
    """All policies of a YAML text, the disabled ones too. Raises `PolicyError` that explains."""
    try:
        document = yaml.load(text, Loader=_StrictLoader)
    except (yaml.YAMLError, ValueError) as exc:  # ValueError: an impossible date or number
        raise PolicyError(f"not valid YAML: {_one_line(exc)}") from exc
    except RecursionError as exc:
        raise PolicyError("not valid YAML: nested too deeply") from exc
    if not isinstance(document, dict) or set(document) != {"policies"} or not isinstance(document["policies"], list):
        raise PolicyError("expected one key, `policies`, holding a list")
    return read_policies(document["policies"])


def read_policies(rows: Sequence[Any]) -> tuple[Policy, ...]:
    """All policies of a file's list, the disabled ones too. Raises `PolicyError` that explains."""
    return tuple(_policy(row, number) for number, row in enumerate(rows, start=1))


def to_rows(policies: Iterable[Policy]) -> list[dict[str, Any]]:
    """The list that `read_policies` makes these policies of."""
    return [
        {
            "id": policy.id,
            "title": policy.title,
            "blocked": policy.blocked,
            "allowed": policy.allowed or None,
            "severity": policy.severity.value,
            "review": policy.review_threshold,
            "block": "never" if policy.block_threshold > 1 else policy.block_threshold,
            "keep": policy.keep_threshold,
            "at_least_s": policy.min_duration_s,
            "labels": policy.labels,
            "enabled": policy.enabled,
        }
        | ({} if policy.second_look is None else {"second_look": _band_row(policy.second_look)})
        for policy in policies
    ]


def policy_set(policies: tuple[Policy, ...]) -> PolicySet:
    """The set of the enabled ones among `policies`. Raises `PolicyError` for duplicate ids or none enabled."""
    seen: set[str] = set()
    for policy in policies:
        if policy.id in seen:
            raise PolicyError(f"policy {policy.id!r}: the id is used twice")
        seen.add(policy.id)
    enabled = tuple(policy for policy in policies if policy.enabled)
    if not enabled:
        raise PolicyError("no policy is enabled")
    canonical = json.dumps([_deciding(policy) for policy in enabled], sort_keys=True, ensure_ascii=False)
    return PolicySet(hashlib.sha256(canonical.encode()).hexdigest()[:12], enabled)


def _deciding(policy: Policy) -> dict[str, Any]:
    """What of a policy decides anything: not its labels. A field that it does not use is left out, so that a set from
    before there was one keeps its version."""
    document: dict[str, Any] = to_document(replace(policy, labels={}))
    if policy.second_look is None:
        del document["second_look"]
    return document


def custom_policy(words: str, taken: Container[str] = ()) -> Policy:
    """A policy in plain words alone ("a person on a roof"): for review from 0.5 on, never blocking by itself.

    Its id is made from the words and is none of the `taken` ones. Raises `PolicyError` for words no policy could have.
    """
    name = "_".join(re.findall(r"[a-z0-9]+", words.lower()))[:40].strip("_")
    stem = f"custom.{name}" if name[:1].isalpha() else f"custom.words_{name}".rstrip("_")
    ids = (stem if number == 1 else f"{stem}_{number}" for number in itertools.count(1))
    identity = next(identity for identity in ids if identity not in taken)
    title = " ".join(words.split())[: _MAX_CHARS["title"]]
    row = {"id": identity, "title": title, "blocked": words, "severity": "low", "review": 0.5, "block": "never"}
    return _policy(row, 1)


def _policy(row: Any, number: int) -> Policy:
    """One row of the file as a checked `Policy`."""
    if not isinstance(row, dict):
        raise PolicyError(f"policy number {number}: expected fields such as `id:`, not {_shown(row)}")
    name = f"policy {row['id']!r}" if isinstance(row.get("id"), str) else f"policy number {number}"
    for key in row:
        if key not in (*_REQUIRED, *_OPTIONAL):
            raise PolicyError(f"{name}: unknown field {_shown(key)}; known are {', '.join((*_REQUIRED, *_OPTIONAL))}")
    for key in _REQUIRED:
        if key not in row:
            raise PolicyError(f"{name}: field `{key}` is missing")
    identity = _text(row, "id", name)
    if not _ID.fullmatch(identity):
        raise PolicyError(f"{name}: field `id` must look like `parent.name`, in lower case, digits and `_`")
    parent = identity.partition(".")[0]
    if row.get("parent", parent) != parent:
        raise PolicyError(f"{name}: field `parent` is {_shown(row['parent'])} but the id says {parent!r}")
    enabled = row.get("enabled", True)
    if not isinstance(enabled, bool):
        raise PolicyError(f"{name}: field `enabled` must be true or false, not {_shown(enabled)}")
    review, block = _thresholds(row, name)
    return Policy(
        id=identity,
        title=_text(row, "title", name),
        parent=parent,
        blocked=_text(row, "blocked", name),
        allowed=_text(row, "allowed", name) if row.get("allowed") is not None else "",
        severity=_severity(row["severity"], name),
        review_threshold=review,
        block_threshold=block,
        keep_threshold=_keep(row, review, name),
        min_duration_s=_min_duration(row, name),
        labels=_labels(row, name),
        enabled=enabled,
        second_look=_second_look(row, name),
    )


def _text(row: Mapping[str, Any], key: str, name: str) -> str:
    value = row[key]
    if not isinstance(value, str) or not value.strip():
        raise PolicyError(f"{name}: field `{key}` must be a text, not {_shown(value)}")
    text = " ".join(value.split())
    if len(text) > _MAX_CHARS.get(key, 100):
        raise PolicyError(f"{name}: field `{key}` is longer than {_MAX_CHARS.get(key, 100)} characters")
    if "<|" in text:
        raise PolicyError(f"{name}: field `{key}` must not contain `<|`, which is the model's own markup")
    return text


def _severity(value: Any, name: str) -> Severity:
    try:
        return Severity(value)
    except ValueError as exc:
        raise PolicyError(
            f"{name}: field `severity` is {_shown(value)}; expected one of {', '.join(Severity)}"
        ) from exc


def _thresholds(row: Mapping[str, Any], name: str) -> tuple[float, float]:
    """(review, block), with 0 < review <= 1 and review <= block; `never` and anything above 1 never blocks."""
    review = _number(row["review"], "review", name)
    block = NEVER if row["block"] == "never" else _number(row["block"], "block", name, words=" or `never`")
    if not 0 < review <= 1:
        raise PolicyError(f"{name}: field `review` is {review:g}; expected more than 0 and at most 1")
    if not 0 < block <= 2:
        raise PolicyError(f"{name}: field `block` is {block:g}; expected more than 0 and at most 1, or `never`")
    if review > block:
        raise PolicyError(
            f"{name}: field `review` ({review:g}) is above `block` ({block:g}), so nothing would be reviewed"
        )
    return review, block if block <= 1 else NEVER


def _keep(row: Mapping[str, Any], review: float, name: str) -> float:
    if row.get("keep") is None:
        return KEPT_SHARE * review
    keep = _number(row["keep"], "keep", name)
    if not 0 < keep <= review:
        raise PolicyError(f"{name}: field `keep` is {keep:g}; expected more than 0 and at most `review` ({review:g})")
    return keep


def _min_duration(row: Mapping[str, Any], name: str) -> float:
    seconds = _number(row.get("at_least_s", 0), "at_least_s", name)
    if not 0 <= seconds <= _MAX_DURATION_S:
        raise PolicyError(
            f"{name}: field `at_least_s` is {seconds:g}; expected between 0 and {_MAX_DURATION_S:g} seconds"
        )
    return seconds


def _labels(row: Mapping[str, Any], name: str) -> dict[str, str]:
    """What other taxonomies call it, each label one that the taxonomy has."""
    given = row.get("labels") or {}
    if not isinstance(given, dict):
        raise PolicyError(f"{name}: field `labels` must be a mapping such as `{{llama_guard: S1}}`")
    for scheme, label in given.items():
        if scheme not in list(Scheme):
            raise PolicyError(f"{name}: field `labels`: no taxonomy {_shown(scheme)}; known are {', '.join(Scheme)}")
        if not isinstance(label, str) or label not in LABELS[Scheme(scheme)]:
            raise PolicyError(f"{name}: field `labels`: {scheme} has no label {_shown(label)}")
    return {str(scheme): str(label) for scheme, label in given.items()}


def _second_look(row: Mapping[str, Any], name: str) -> Band | None:
    """The band of scores that are looked at again; None where the policy leaves that to its thresholds."""
    given = row.get("second_look")
    if given is None:
        return None
    if given == "never":
        return Band(0.0, 0.0)
    if not isinstance(given, list) or len(given) != 2:
        raise PolicyError(f"{name}: field `second_look` must be two scores such as `[0.2, 0.9]`, or `never`")
    low, high = (_number(value, "second_look", name, words="s, or `never`") for value in given)
    if not 0 < low < high <= NEVER:
        raise PolicyError(
            f"{name}: field `second_look` is [{low:g}, {high:g}]; expected more than 0, and the second number higher"
        )
    return Band(low, high)


def _band_row(band: Band) -> list[float] | str:
    """A band as a policies' file says it."""
    return [band.from_threshold, band.below_threshold] if band.below_threshold > 0 else "never"


def _number(value: Any, key: str, name: str, *, words: str = "") -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise PolicyError(f"{name}: field `{key}` must be a number{words}, not {_shown(value)}")
    try:
        return float(value)
    except OverflowError as exc:
        raise PolicyError(f"{name}: field `{key}` is out of range") from exc


def _shown(value: object) -> str:
    """A foreign value as it may stand in a message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _one_line(exc: Exception) -> str:
    return " ".join(str(exc).replace('in "<unicode string>", ', "").split())


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses a key written twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys: set[Any] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is not None and key in keys:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is written twice", key_node.start_mark
                )
            keys.add(key)
        return super().construct_mapping(node, deep)
