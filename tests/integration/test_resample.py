"""The second look: frames of a part of a source, each the one that was on screen at its time, from any container."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests import clips
from tests.clips import H264, Clip
from vidlm.domain import Span
from vidlm.errors import MediaError
from vidlm.video import resample as module
from vidlm.video.resample import resample
from vidlm.video.source import Limits

LIMITS = Limits(max_duration_s=3600, max_bytes=10**8, max_pixels=35_389_440, max_side=8192)
SIZE = (84, 112)
Make = Callable[[Path], Clip]

SOURCES: dict[str, Make] = {
    "mp4": lambda d: clips.numbered(d / "c.mp4"),
    "matroska": lambda d: clips.numbered(d / "c.mkv"),
    "mpeg-ts with an offset": lambda d: clips.numbered(d / "c.ts", *H264, "-output_ts_offset", "7"),
    "mp4 with an offset": lambda d: clips.numbered(d / "c.mp4", *H264, "-output_ts_offset", "7"),
    "avi": lambda d: clips.numbered(d / "c.avi", "-c:v", "mpeg4", "-q:v", "3", "-bf", "2"),
    "fragments": lambda d: clips.numbered(d / "c.mp4", *H264, "-movflags", "frag_keyframe+empty_moov"),
    "one key frame": lambda d: clips.numbered(d / "c.mp4", "-c:v", "libx264", "-g", "1000"),
    "vfr mp4": lambda d: clips.variable_rate(d / "c.mp4"),
    "edit list": lambda d: clips.edit_listed(clips.numbered(d / "a.mp4"), d / "c.mp4", 1.3),
    "late video": lambda d: clips.late_video(d / "c.ts", d, 1.2),
    "joined mpeg-ts": lambda d: clips.joined(d / "c.ts", d),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("span", [Span(0.0, 0.5), Span(0.9, 1.6), Span(1.23, 99.0)])
def test_every_frame_is_the_one_on_screen(name: str, span: Span, tmp_path: Path) -> None:
    clip = SOURCES[name](tmp_path)
    frames = resample(clip.path, span, fps=12.5, size=SIZE, limits=LIMITS)
    assert frames.pixels.shape[1:] == (*SIZE, 3)
    end_s = min(span.end_s, clip.duration_s)
    wanted = np.arange(span.start_s, end_s - 1e-9, 0.08)
    assert frames.times_s == pytest.approx(wanted[: len(frames)], abs=1e-9)
    assert len(frames) in (len(wanted), len(wanted) - 1)  # how long the last frame lasts is read from the file
    tolerance = 1 if name in ("edit list", "late video") else 0
    for time_s, pixels in zip(frames.times_s, frames.pixels, strict=True):
        assert abs(clips.read_number(pixels) - clip.due(float(time_s))) <= tolerance, time_s


@pytest.mark.parametrize("early_s", [3e-7, 5e-6, 5e-5])
@pytest.mark.parametrize("rate", [12, 15, 24, 30])
def test_a_time_just_before_a_frame_is_that_frames(rate: int, early_s: float, tmp_path: Path) -> None:
    """Times come through documents and sums: what is meant is the frame, not the one before it."""
    clip = clips.numbered(tmp_path / "c.mp4", *H264, frames=4 * rate, fps=rate)
    first = 8 * rate // 3  # at 2.6666.. s
    span = Span(first / rate - early_s, first / rate + 1)
    frames = resample(clip.path, span, fps=rate / 3, size=SIZE, limits=LIMITS)
    assert [clips.read_number(pixels) for pixels in frames.pixels[:4]] == [first, first + 3, first + 6, first + 9]


def test_a_look_that_lands_wrong_is_done_again_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = clips.numbered(tmp_path / "c.mp4", *H264, "-sc_threshold", "0")  # a key frame a second
    starts: list[float | None] = []
    honest = module._Look.succeeds

    def watched(look: module._Look, start_s: float | None) -> bool:
        starts.append(start_s)
        return honest(look, start_s if start_s is None else 2.0)  # behind what was asked for

    monkeypatch.setattr(module._Look, "succeeds", watched)
    frames = resample(clip.path, Span(1.2, 1.8), fps=10, size=SIZE, limits=LIMITS)
    assert starts == [1.0, None]
    assert [clips.read_number(pixels) for pixels in frames.pixels] == [clip.due(1.2 + n / 10) for n in range(6)]


@pytest.mark.parametrize(("span", "fps"), [(Span(5.0, 6.0), 10.0), (Span(1.0, 1.0), 10.0), (Span(0.0, 3.0), 1000.0)])
def test_looks_at_nothing_or_too_much_are_refused(span: Span, fps: float, tmp_path: Path) -> None:
    clip = clips.numbered(tmp_path / "c.mp4")
    with pytest.raises(ValueError, match="frames in"):
        resample(clip.path, span, fps=fps, size=SIZE, limits=LIMITS)


def test_what_is_not_there_any_more_cannot_be_looked_at(tmp_path: Path) -> None:
    whole = clips.rewrapped(clips.numbered(tmp_path / "a.mp4"), tmp_path / "b.mp4", "-movflags", "faststart")
    clip = clips.cut(whole, tmp_path / "c.mp4", 0.6)
    with pytest.raises((MediaError, ValueError)):
        resample(clip.path, Span(2.5, 3.0), fps=10, size=SIZE, limits=LIMITS)
    assert len(resample(clip.path, Span(0.2, 0.8), fps=10, size=SIZE, limits=LIMITS)) == 6
