"""From what `probe.py` states of a source to what is known of it, and the gate it has to pass."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vidlm.errors import MediaError, ToolError
from vidlm.video import probe, sandbox
from vidlm.video.sniff import Kind, Layout
from vidlm.video.source import Hdr, Importance, Limits, Packets, SourceReport

_PROBE: Final = str(Path(probe.__file__).resolve())
_PATIENCE: Final = 3.0
_DEFAULT_FRAME_S: Final = 1 / 25  # for a file of one frame that does not say how long it is shown
_MAX_STILL_S: Final = 3600.0  # one picture on screen for longer than this is a broken table, not a film
_HDR: Final = {16: Hdr.PQ, 18: Hdr.HLG}  # transfer characteristics of ITU-T H.273, table 3
_IMPORTANCE: Final = {"s": Importance.SPARE, "r": Importance.REFERENCE, "I": Importance.IDR}  # as the probe has it


def describe_source(folder: Path, name: str, layout: Layout, limits: Limits) -> SourceReport:
    """Probe `name` in `folder` in a child process. Raises `MediaError` with the code that fits, or `ToolError`."""
    if layout.kind is Kind.PLAYLIST:
        raise MediaError("container_not_allowed", "playlists and manifests are not accepted, only video files")
    numbers = (limits.max_pixels, limits.max_frames, limits.max_streams)
    answer = _ask(folder, "describe", name, *numbers, deadline_s=_probe_deadline_s(layout, limits))
    _refuse(answer, layout, limits)
    return _to_report(answer, layout, limits)


def find_damage(folder: Path, name: str, report: SourceReport, deadline_s: float) -> tuple[float, ...] | None:
    """Times of the packets that do not decode cleanly, in seconds as played; None if that could not be found out."""
    try:
        answer = _ask(folder, "damage", name, report.stream, deadline_s=deadline_s)
    except MediaError:
        return None
    return tuple(sorted(us / 1e6 - report.origin_s for us in answer["bad_us"]))


def _ask(folder: Path, mode: str, name: str, *numbers: int, deadline_s: float) -> dict[str, Any]:
    """One question to `probe.py`. What kills the child is the file's fault; what keeps it from starting is ours."""
    # what a file may cost is processor time; on a busy machine that takes longer, and is no fault of the file
    confinement = sandbox.Confinement(
        deadline_s=_PATIENCE * deadline_s, cpu_s=deadline_s, read=((folder / name).resolve(),)
    )
    finished = sandbox.run(
        [sys.executable, "-I", _PROBE, mode, name, *map(str, numbers)], folder=folder, confinement=confinement
    )
    if finished.timed_out:
        raise MediaError("decode_timeout", "reading the file took longer than its size allows")
    if "ImportError" in finished.stderr or "ModuleNotFoundError" in finished.stderr:
        raise ToolError("the probe cannot import PyAV")
    if finished.code != 0:
        raise MediaError("decode_failed", "the file breaks the reader of its format")
    try:
        answer: dict[str, Any] = json.loads(finished.stdout)
    except ValueError as exc:
        raise ToolError("the probe's answer cannot be read") from exc
    return answer


def _probe_deadline_s(layout: Layout, limits: Limits) -> float:
    """10 s, and time to read the file at 50 MB/s."""
    return (10.0 + layout.size_bytes / 50e6) * limits.deadline_scale


def _refuse(answer: dict[str, Any], layout: Layout, limits: Limits) -> None:
    """Raise for everything that is already known to be useless. The order matters: the most telling reason first."""
    error = answer.get("error")
    if error == "open":
        raise _cannot_open(layout, answer["detail"])
    if error == "no_video_stream" and layout.cut and not answer["audio"]:
        raise MediaError("truncated", "the file is cut: the part that describes its video is missing")
    if error == "no_video_stream":
        raise MediaError("no_video_stream", "the file holds no video, only other streams")
    if error == "too_many_streams":
        raise MediaError("invalid_metadata", f"the file has more than {limits.max_streams} streams")
    if error == "too_many_frames":
        raise MediaError("too_long", f"the video has more than {limits.max_frames} frames")
    if answer.get("encrypted"):
        raise MediaError("encrypted", "the video is encrypted")
    width, height = answer["width"], answer["height"]
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise MediaError(
            "too_large_dimensions",
            f"{width}x{height} is more than {limits.max_pixels} pixels or {limits.max_side} a side",
        )
    if not answer["times_us"]:
        if layout.cut or answer["broken"]:
            raise MediaError("truncated", "the file ends before its first frame")
        raise MediaError("no_frames", "the video stream holds no frame")
    if not (width and height):
        raise MediaError("invalid_metadata", "the video stream has no size")


def _cannot_open(layout: Layout, reason: str) -> MediaError:
    """Why a demuxer took one look and refused, from what the first bytes looked like."""
    if layout.kind is Kind.AUDIO:
        return MediaError("no_video_stream", "the file is audio only")
    if layout.kind is Kind.SUBTITLES:
        return MediaError("no_video_stream", "the file is subtitles only")
    if layout.kind is not Kind.VIDEO:
        return MediaError("not_a_video", "the file is not a video in a format that is accepted")
    if not layout.has_index or layout.cut:
        return MediaError("truncated", "the file is cut: the part that describes its frames is missing")
    if reason == "EOFError":
        return MediaError("no_frames", "the file describes a video and holds no frame of it")
    return MediaError("invalid_metadata", "the file's tables cannot be read")


def _to_report(answer: dict[str, Any], layout: Layout, limits: Limits) -> SourceReport:
    origin_s, shift_s, shift_with_sound_s = _origin(answer)
    times = _played(answer["times_us"], origin_s)
    steps = np.diff(times)
    typical_s = float(np.median(steps)) if len(steps) else _frame_s(answer["rate"])
    if len(steps) and steps.max() > max(_MAX_STILL_S, limits.max_duration_s / 2):
        raise MediaError("invalid_metadata", "the file's time stamps jump by hours")
    last_s = answer["last_us"] / 1e6
    if last_s > _MAX_STILL_S:
        raise MediaError("invalid_metadata", "the file claims that its last frame lasts for hours")
    readable_s = float(times[-1]) + (last_s if last_s > 0 else typical_s)
    doubtful = layout.cut or answer["broken"]
    duration_s = max(readable_s, _claimed_s(answer, layout, readable_s)) if doubtful else readable_s
    if duration_s > limits.max_duration_s:
        raise MediaError("too_long", f"the video lasts {duration_s:.0f} s, more than {limits.max_duration_s:.0f} s")
    width, height, rotation = _displayed(answer)
    return SourceReport(
        container=answer["container"],
        codec=answer["codec"],
        stream=answer["stream"],
        width=width,
        height=height,
        rotation=rotation,
        hdr=_HDR.get(answer["transfer"]),
        has_audio=answer["audio"],
        sound=answer["sound"],
        web_type=_web_type(answer, layout),
        fps=len(steps) / float(times[-1] - times[0]) if len(steps) else 1 / readable_s,
        variable_fps=_varies(steps, typical_s),
        times_s=times,
        key_times_s=_played(answer["keys_us"], origin_s),
        packets=_packets(answer, origin_s),
        readable_s=readable_s,
        duration_s=duration_s,
        lossy_s=_lossy(answer, times, origin_s, typical_s, cut=layout.cut),
        origin_s=origin_s,
        shift_s=shift_s,
        shift_with_sound_s=shift_with_sound_s,
    )


def _origin(answer: dict[str, Any]) -> tuple[float, float, float]:
    """The file's clock at time 0, in seconds, and how far ffmpeg's choice of it differs, without and with sound.

    Time 0 is where the earliest stream starts, as a player has it. AVI has no time stamps: there it is the first frame,
    though readers count it a frame late when frames are stored out of order. ffmpeg takes the earliest stream as
    well, but in formats whose clock may jump the earliest of those it decodes.
    """
    first_us = min(answer["times_us"])
    start_us = first_us if answer["start_us"] is None else answer["start_us"]
    if answer["container"] == "avi":
        shift_s = (start_us - first_us) / 1e6
        return first_us / 1e6, shift_s, shift_s
    if not answer["discontinuous"]:
        return start_us / 1e6, 0.0, 0.0
    sound_us = first_us if answer["sound_start_us"] is None else min(first_us, answer["sound_start_us"])
    return start_us / 1e6, max(0, first_us - start_us) / 1e6, max(0, sound_us - start_us) / 1e6


def _lossy(
    answer: dict[str, Any],
    times_s: npt.NDArray[np.float64],
    origin_s: float,
    typical_s: float,
    *,
    cut: bool,
) -> tuple[float, ...]:
    """Where something is missing from the file: the frame before each hole in it, and an incomplete last one.

    In a file without signs of damage a hole is a variable frame rate, but for broadcast formats, which lose packets
    without a trace. Incomplete packets alone prove no loss: they also mark the seams of files that were joined.
    """
    corrupt = _played(answer["corrupt_us"], origin_s)
    if cut or answer["broken"] or len(corrupt):
        longest_s = 1.5 * typical_s
    elif answer["discontinuous"]:
        longest_s = max(4 * typical_s, 0.25)
    else:
        return ()
    before_holes = times_s[:-1][np.diff(times_s) > longest_s]
    incomplete = [times_s[-1]] if cut else corrupt[corrupt >= times_s[-1]].tolist()
    return (*before_holes.tolist(), *incomplete)


def _played(times_us: list[int], origin_s: float) -> npt.NDArray[np.float64]:
    """Sorted seconds from the origin; what lies before it is shown at 0, if at all."""
    return np.unique(np.maximum(np.asarray(times_us, np.float64) / 1e6 - origin_s, 0.0))


def _packets(answer: dict[str, Any], origin_s: float) -> Packets | None:
    if not answer["importance"]:
        return None
    times_s, positions = zip(*answer["order"], strict=True)
    return Packets(
        times_s=np.maximum(np.asarray(times_s, np.float64) - origin_s, 0.0),
        positions=np.asarray(positions, np.int64),
        importance=np.asarray([_IMPORTANCE[letter] for letter in answer["importance"]], np.uint8),
        unsure_s=2e-6 if origin_s else 0.0,  # an origin is known to a microsecond
    )


def _claimed_s(answer: dict[str, Any], layout: Layout, readable_s: float) -> float:
    """How long a cut or broken file was, by its header, if the bytes that were not reached can explain it."""
    if layout.claimed_s is not None:
        claimed_s = layout.claimed_s
    elif answer["stream_claimed_us"]:
        claimed_s = (answer["stream_claimed_us"] + (answer["stream_start_us"] or 0) - (answer["start_us"] or 0)) / 1e6
    else:
        claimed_s = (answer["claimed_us"] or 0) / 1e6
    whole = max(layout.declared_bytes or 0, layout.size_bytes) / max(min(answer["reached_bytes"], layout.size_bytes), 1)
    return claimed_s if claimed_s <= readable_s * whole * 8 + 10 else readable_s  # 8: bit rates vary that much


def _displayed(answer: dict[str, Any]) -> tuple[int, int, int]:
    """Width and height as shown, and the clockwise rotation applied. Oblong pixels change the width, as in a player."""
    rotation = round(-answer["rotation"] / 90) % 4 * 90
    width, height = answer["width"], answer["height"]
    across, down = answer["sar"] or (1, 1)
    if 0.1 <= across / down <= 10:  # others are noise in a header
        width = max(1, round(width * across / down))
    return (height, width, rotation) if rotation % 180 else (width, height, rotation)


def _web_type(answer: dict[str, Any], layout: Layout) -> str | None:
    """MP4 with H.264, or WebM; 4:2:0 of eight bits; sound that is played everywhere."""
    codec, sound = answer["codec"], answer["sound"]
    if answer["pixels"] not in ("yuv420p", "yuvj420p") or layout.cut or answer["broken"]:
        return None
    if layout.web == "mp4" and codec == "h264" and sound in (None, "aac", "mp3", "mp3float"):
        return "video/mp4"
    if layout.web == "webm" and codec in ("vp8", "vp9") and sound in (None, "opus", "libopus", "vorbis"):
        return "video/webm"
    return None


def _frame_s(rate: list[int] | None) -> float:
    return rate[1] / rate[0] if rate and 1 <= rate[0] / rate[1] <= 1000 else _DEFAULT_FRAME_S


def _varies(steps_s: npt.NDArray[np.float64], typical_s: float) -> bool:
    """Whether over one step in fifty is off by over a tenth of a frame and more than a millisecond's rounding."""
    off = np.abs(steps_s - typical_s) > max(0.1 * typical_s, 0.0015)
    return bool(np.mean(off) > 0.02) if len(steps_s) else False
