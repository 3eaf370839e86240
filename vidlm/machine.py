"""The doctor's look at this machine: folder, sandbox, ffmpeg, model, GPU, libraries. Each check is one function.

Knows files and child processes; opens neither database nor broker (`vidlm.doctor` does). Loads the model only where it
is asked to.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Final

from vidlm.config import Settings
from vidlm.errors import CheckpointError, ServiceError, SettingsError
from vidlm.model.folder import HUB_ID, TEXT_FILES, WEIGHT_FILES, read_json
from vidlm.operate import LEAST_FREE_BYTES
from vidlm.running import load_engine
from vidlm.video import sandbox

_WORKERS_NEED: Final = ("torch", "transformers", "decord2", "av", "imageio-ffmpeg")
_ALL_NEED: Final = ("vidlm", "numpy", "fastapi", "sqlalchemy", "celery", "redis")
_FFMPEG_S: Final = 20.0
_CONTAINERS: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))


class Verdict(StrEnum):
    """What a check came to. Only `FAILED` makes the doctor's exit status 1."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: a sentence, and what to do about it where it is not well."""

    check: str
    verdict: Verdict
    says: str
    do: str = ""


def data_folder(settings: Settings) -> Finding:
    """There, writable, with room, and one file system: an upload becomes visible by a rename."""
    folder = settings.data.resolve()
    if not folder.exists():
        says = f"{folder} does not exist yet"
        return Finding("data", Verdict.WARNING, says, "`vidlm serve` makes it, or set VIDLM_DATA")
    try:
        _try_rename(folder)
        free_bytes = shutil.disk_usage(folder).free
    except OSError as exc:
        do = "files must be writable by this user, and incoming/ and blobs/ lie on one file system"
        return Finding("data", Verdict.FAILED, f"{folder}: {exc.strerror}", do)
    room = f"{free_bytes / 1024**3:.1f} GiB free"
    if free_bytes < LEAST_FREE_BYTES:
        return Finding("data", Verdict.FAILED, f"{folder} is full: {room}", "make room; uploads are refused with 507")
    if free_bytes < 2 * settings.max_upload_bytes:
        do = "make room, or lower VIDLM_MAX_UPLOAD_BYTES; VIDLM_KEEP_ORIGINALS_S limits what stays"
        return Finding("data", Verdict.WARNING, f"{folder}: {room}, less than two of the largest uploads", do)
    return Finding("data", Verdict.OK, f"{folder} is writable, {room}")


def _try_rename(folder: Path) -> None:
    """The way of an upload: written, synced, renamed. Leaves nothing behind."""
    name = f".doctor-{secrets.token_hex(8)}"
    come, go = (place if place.is_dir() else folder for place in (folder / "incoming", folder / "blobs"))
    written, renamed = come / name, go / f"{name}.done"
    try:
        with written.open("xb") as file:
            file.write(b"vidlm")
            os.fsync(file.fileno())
        written.rename(renamed)
    finally:
        written.unlink(missing_ok=True)
        renamed.unlink(missing_ok=True)


def confinement(settings: Settings) -> Finding:
    """What decoders of strangers' files are confined by here."""
    have, missing = sandbox.layers(), sandbox.missing()
    if settings.sandbox == "require":
        try:
            sandbox.require()
        except SettingsError as exc:
            return Finding("sandbox", Verdict.FAILED, exc.detail, _how_to_confine())
    if not missing:
        return Finding("sandbox", Verdict.OK, f"decoders are confined by {', '.join(have)}")
    says = f"decoders are confined by {', '.join(have) or 'limits alone'}; missing: {'; '.join(missing)}"
    return Finding("sandbox", Verdict.WARNING, says, _how_to_confine())


def _how_to_confine() -> str:
    if any(mark.exists() for mark in _CONTAINERS):
        return (
            "containers rarely have user namespaces, and Landlock with seccomp does without them: it needs Linux 6.2, "
            "and an engine whose own profile allows Landlock (Docker 23); docs/operations.md says more"
        )
    return "allow user namespaces (sysctl), or run Linux 6.2 or newer for Landlock; docs/design/sandbox.md says more"


def ffmpeg() -> Finding:
    """The ffmpeg that prepares videos runs and can encode proxies."""
    try:
        import imageio_ffmpeg  # noqa: PLC0415  not where no worker runs
    except ModuleNotFoundError:
        return Finding("ffmpeg", Verdict.WARNING, "imageio-ffmpeg is not installed", _NO_WORKER)
    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
        command = [program, "-hide_banner", "-encoders"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_FFMPEG_S)
    except (OSError, RuntimeError, subprocess.SubprocessError) as exc:
        return Finding("ffmpeg", Verdict.FAILED, f"ffmpeg does not run: {type(exc).__name__}", "install imageio-ffmpeg")
    if "libx264" not in done.stdout:
        do = "use the one of imageio-ffmpeg: unset IMAGEIO_FFMPEG_EXE"
        return Finding("ffmpeg", Verdict.FAILED, "this ffmpeg cannot encode H.264 (libx264)", do)
    return Finding("ffmpeg", Verdict.OK, f"ffmpeg {imageio_ffmpeg.get_ffmpeg_version()} runs")


def model(settings: Settings, *, deep: bool = False) -> Finding:
    """The checkpoint is there and whole; with `deep`, it is loaded."""
    name = settings.model or "the embedded toy model"
    try:
        folder = _local_folder(settings.model_path)
        if folder is None:
            do = "the first worker fetches it; `vidlm doctor --deep` does so now"
            found = Finding("model", Verdict.WARNING, f"{name} has not been fetched from the hub yet", do)
        else:
            weights = _check_files(folder)
            found = Finding("model", Verdict.OK, f"{name} is whole: {weights / 1024**2:.0f} MiB of weights")
        return _load(settings, name) if deep else found
    except CheckpointError as exc:
        return Finding("model", Verdict.FAILED, exc.detail, "VIDLM_MODEL names a checkpoint folder or a hub id")
    except ModuleNotFoundError as exc:
        return Finding("model", Verdict.WARNING, f"{name} cannot be looked at: {exc.name} is not installed", _NO_WORKER)


def _local_folder(name: str) -> Path | None:
    """Where the checkpoint lies on this machine; None for a hub's that was not fetched. Raises `CheckpointError`."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if not HUB_ID.fullmatch(name):
        raise CheckpointError(f"there is no checkpoint folder {folder.name!r}")
    from huggingface_hub import snapshot_download  # noqa: PLC0415  not where no worker runs
    from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(snapshot_download(name, allow_patterns=TEXT_FILES + WEIGHT_FILES, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def _check_files(folder: Path) -> int:
    """How many bytes of weights there are. Raises `CheckpointError` for a file that is missing, broken or cut."""
    read_json(folder / "config.json")
    for file in sorted(folder.glob("*.json")):
        read_json(file)
    if not (folder / "tokenizer.json").exists() and not (folder / "vocab.json").exists():
        raise CheckpointError(f"the checkpoint {folder.name!r} has no tokenizer.json")
    index = folder / "model.safetensors.index.json"
    names = set(read_json(index).get("weight_map", {}).values()) if index.exists() else {"model.safetensors"}
    return sum(_check_weights(folder / name) for name in sorted(names))


def _check_weights(file: Path) -> int:
    """The size of a safetensors file whose header says so, too. Raises `CheckpointError`."""
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            header_bytes = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(header_bytes)) if header_bytes < size else {}
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except FileNotFoundError as exc:
        raise CheckpointError(f"the checkpoint {file.parent.name!r} has no {file.name}") from exc
    except (OSError, ValueError, TypeError, KeyError, IndexError) as exc:
        raise CheckpointError(f"{file.name} of the checkpoint {file.parent.name!r} cannot be read") from exc
    if not ends or 8 + header_bytes + max(ends) != size:
        raise CheckpointError(f"{file.name} of the checkpoint {file.parent.name!r} is cut off or damaged")
    return size


def _load(settings: Settings, name: str) -> Finding:
    try:
        engine = load_engine(None, settings)
    except ServiceError as exc:
        return Finding("model", Verdict.FAILED, f"{name} cannot be loaded: {exc.detail}", "see VIDLM_MODEL")
    try:
        return Finding("model", Verdict.OK, f"{name} was loaded on {engine.info.device}")
    finally:
        engine.close()


def gpu(settings: Settings) -> Finding:
    """The device that VIDLM_DEVICE asks for is there."""
    try:
        import torch  # noqa: PLC0415  slow to import, and not where no worker runs
    except ModuleNotFoundError:
        return Finding("gpu", Verdict.WARNING, "torch is not installed", _NO_WORKER)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    devices = [torch.cuda.get_device_properties(number) for number in range(count)]
    named = "; ".join(f"{one.name}, {one.total_memory / 1024**3:.0f} GiB" for one in devices)
    wanted = settings.device
    usable = {"auto", "cpu", *(["cuda"] if count else []), *(f"cuda:{number}" for number in range(count))}
    if wanted not in usable:
        says = f"VIDLM_DEVICE is {wanted}, and this machine has {named or 'no CUDA device'}"
        return Finding("gpu", Verdict.FAILED, says, "check the driver (nvidia-smi), and that torch is its CUDA build")
    if wanted == "cpu" or not devices:
        return Finding("gpu", Verdict.OK, f"the model runs on the CPU{f', beside {named}' if named else ''}")
    return Finding("gpu", Verdict.OK, named)


def libraries() -> Finding:
    """What is installed, and whether a worker could run on it."""
    found = {name: _version(name) for name in (*_ALL_NEED, *_WORKERS_NEED)}
    python = f"Python {platform.python_version()}"
    there = ", ".join([python, *(f"{name} {version}" for name, version in found.items() if version)])
    missing = [name for name, version in found.items() if version is None]
    if set(missing) & set(_ALL_NEED):
        return Finding("libraries", Verdict.FAILED, f"not installed: {', '.join(missing)}", "`./run setup`, or pip")
    if missing:
        return Finding("libraries", Verdict.WARNING, f"{there}; not installed: {', '.join(missing)}", _NO_WORKER)
    return Finding("libraries", Verdict.OK, there)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


_NO_WORKER: Final = "the API and the relay do without; a worker does not"
