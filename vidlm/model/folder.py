"""Where a checkpoint lies and who it is: a local folder or a hub id -> a folder, its name and its revision.

Knows file names and the hub's download client. Knows no torch: a process that only prepares video asks for a
checkpoint's frame geometry through here.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vidlm.errors import CheckpointError

HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
TEXT_FILES: Final = ["*.json", "*.txt", "*.jinja"]
WEIGHT_FILES: Final = ["*.safetensors"]
_WHOLE_BYTES: Final = 64 * 1024**2  # larger files enter a revision by their header and samples spread evenly over them
_SAMPLES: Final = 256
_SAMPLE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Identity:
    """Which model this is. `revision` changes when configuration or weights do; `toy` marks the embedded model.

    `answer_confidence`: how sure an answer of it should be to be given, 0..1.
    """

    model_id: str
    revision: str
    toy: bool
    answer_confidence: float = 0.0


def locate(model: str, *, weights: bool = True) -> Path:
    """The folder of a checkpoint: `model` itself where that is a folder, else the hub repository of that id, fetched.

    With `weights=False` only the small text files are fetched. Code in a repository is neither fetched nor run.
    Raises `CheckpointError` where there is neither.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if not HUB_ID.fullmatch(model):
        raise CheckpointError(f"there is no checkpoint folder {folder.name!r}")
    from huggingface_hub import snapshot_download  # noqa: PLC0415  (slow to import, needed for hub ids alone)

    wanted = TEXT_FILES + (WEIGHT_FILES if weights else [])
    try:
        return Path(snapshot_download(model, allow_patterns=wanted))
    except (OSError, ValueError, RuntimeError) as exc:
        raise CheckpointError(f"{model!r} is neither a folder here nor a repository the hub would give us") from exc


def identify(model: str, folder: Path) -> Identity:
    """Name and revision of the checkpoint in `folder`, which `model` was resolved to.

    A toy checkpoint carries a `vidlm.json` that names it, says so, and may name its `answer_confidence`. A hub
    snapshot's revision is its commit; any other folder's, unless its `vidlm.json` says otherwise, a digest of its
    configuration and weights (of large files, their headers and samples). Raises `CheckpointError` for a `vidlm.json`
    that makes no sense.
    """
    card = folder / "vidlm.json"
    if card.is_file():
        ours = read_json(card)
        sure = ours.get("answer_confidence", 0.0)
        if isinstance(sure, bool) or not isinstance(sure, int | float) or not 0 <= sure < 1:
            raise CheckpointError(f"vidlm.json of the checkpoint {folder.name!r}: answer_confidence of {sure!r}")
        name, revision = str(ours.get("name", folder.name)), str(ours.get("revision") or _digest(folder))
        return Identity(name, revision, ours.get("toy") is True, float(sure))
    if folder.parent.name == "snapshots":
        return Identity(model, folder.name, toy=False)
    return Identity(folder.name, _digest(folder), toy=False)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a checkpoint's file. Raises `CheckpointError` where it is missing, broken or no object."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise CheckpointError(f"the checkpoint {file.parent.name!r} has no {file.name}") from exc
    except (OSError, ValueError) as exc:
        raise CheckpointError(f"{file.name} of the checkpoint {file.parent.name!r} cannot be read: {exc}") from exc
    if not isinstance(content, dict):
        raise CheckpointError(f"{file.name} of the checkpoint {file.parent.name!r} is not an object")
    return content


def _digest(folder: Path) -> str:
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for file in sorted(folder.glob("*.safetensors")):
        size = file.stat().st_size
        with file.open("rb") as stream:
            if size <= _WHOLE_BYTES:
                digest.update(stream.read())
                continue
            start = 8 + int.from_bytes(stream.read(8), "little")  # the header tells shapes and names
            digest.update(stream.read(start - 8))
            for sample in range(_SAMPLES):
                stream.seek(start + (size - start) * sample // _SAMPLES)
                digest.update(stream.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:16]
