"""What is not decoded because nothing needs it makes no difference: every output is the same to the byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from tests import clips
from tests.clips import H264, Clip
from vidlm.video import proxy, spare
from vidlm.video.normalize import Limits, Normalized, normalize

LIMITS = Limits(max_duration_s=3600, max_bytes=10**8, max_pixels=35_389_440, max_side=8192)


def x264(*options: str) -> tuple[str, ...]:
    return ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", *options)


def params(text: str) -> Callable[[Path], Clip]:
    return lambda folder: clips.numbered(folder / "c.mp4", *x264("-x264-params", text))


def damaged_inside(clip: Clip, path: Path) -> Clip:
    """Noise in all but the first bytes of one picture; its units stay as long as they say."""
    data = bytearray(clip.path.read_bytes())
    with av.open(str(clip.path)) as container:
        hit = max([packet for packet in container.demux(video=0) if packet.size][10:], key=lambda packet: packet.size)
    assert hit.pos is not None
    data[hit.pos + 6 : hit.pos + hit.size] = np.random.default_rng(1).bytes(hit.size - 6)
    path.write_bytes(data)
    return Clip(path, clip.times_s, clip.duration_s)


SOURCES: dict[str, tuple[Callable[[Path], Clip], bool]] = {  # how it is made; whether anything can be dropped
    "as x264 likes it": (lambda d: clips.numbered(d / "c.mp4", *x264()), True),
    "no b-frames": (params("bframes=0"), True),
    "b-frames that nothing refers to": (params("bframes=3:b-pyramid=none:b-adapt=0"), True),
    "strict pyramid": (params("bframes=5:b-pyramid=strict:b-adapt=0"), True),
    "deep pyramid": (params("bframes=8:b-pyramid=normal:b-adapt=0:ref=5"), True),
    "open groups": (params("bframes=3:open-gop=1:keyint=12:min-keyint=1"), True),
    "several slices": (params("bframes=3:slices=4"), True),
    "interlaced": (params("bframes=3:tff=1"), True),
    "variable rate": (lambda d: clips.variable_rate(d / "c.mp4"), True),
    "fragments": (lambda d: clips.numbered(d / "c.mp4", *x264("-movflags", "frag_keyframe+empty_moov")), True),
    "edit list": (lambda d: clips.edit_listed(clips.numbered(d / "a.mp4", *x264()), d / "c.mp4", 1.3), True),
    "an offset": (lambda d: clips.numbered(d / "c.mp4", *x264("-output_ts_offset", "7")), True),
    "damaged": (lambda d: clips.damaged(clips.numbered(d / "a.mp4", *x264()), d / "c.mp4", 0.4, 0.5), False),
    "damaged inside": (lambda d: damaged_inside(clips.numbered(d / "a.mp4", *x264()), d / "c.mp4"), True),
    "mpeg-4 part 2": (lambda d: clips.numbered(d / "c.mp4", "-c:v", "mpeg4", "-bf", "2"), False),
}


def run(clip: Clip, work: Path, fps: float) -> Normalized:
    return normalize(clip.path, work, filename="x", sample_fps=fps, fit=lambda _h, _w: (84, 112), limits=LIMITS)


@pytest.mark.parametrize("fps", [2.0, 7.3])
@pytest.mark.parametrize("name", SOURCES)
def test_nothing_that_is_shown_is_dropped(
    name: str, fps: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, drops = SOURCES[name]
    clip = make(tmp_path)
    shares: list[float] = []
    unneeded = spare.unneeded

    def measured(*arguments: Any) -> npt.NDArray[np.bool_]:
        dropped = unneeded(*arguments)
        shares.append(float(dropped.mean()))
        return dropped

    monkeypatch.setattr(spare, "unneeded", measured)
    lean = run(clip, tmp_path / "lean", fps)
    monkeypatch.setattr(spare, "drop_filter", lambda *_: None)
    whole = run(clip, tmp_path / "whole", fps)
    assert bool(sum(shares)) == drops
    assert lean.frame_times_s == whole.frame_times_s
    assert lean.coverage == whole.coverage
    assert lean.coverage.partial == name.startswith("damaged")
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "lean" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_preview_shows_every_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare, "unneeded", lambda *_: pytest.fail("frames of a preview were dropped"))
    clip = clips.rewrapped(clips.numbered(tmp_path / "a.mp4", *H264), tmp_path / "c.mkv")
    done = run(clip, tmp_path / "work", 2.0)
    assert done.preview is not None
    assert done.preview.name == proxy.PREVIEW
