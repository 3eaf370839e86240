"""What people look at: thumbnails of the right moments, and a preview that every browser plays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests import clips
from tests.clips import FPS, H264
from vidlm.video import sandbox
from vidlm.video.normalize import Limits, Normalized, normalize
from vidlm.video.outputs import thumbnail_name

LIMITS = Limits(max_duration_s=3600, max_bytes=10**8, max_pixels=35_389_440, max_side=8192)
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1")
TONE = ("-f", "lavfi", "-i", "sine=d=3")


def run(path: Path, work: Path) -> Normalized:
    return normalize(path, work, filename="x", sample_fps=2, fit=lambda _h, _w: (84, 112), limits=LIMITS)


@pytest.mark.parametrize("name", ["c.mp4", "c.mkv", "c.ts"])
def test_thumbnails_show_their_moments(name: str, tmp_path: Path) -> None:
    clip = clips.numbered(tmp_path / name, *H264, frames=90)
    done = run(clip.path, tmp_path / "work")
    assert (done.thumbnails.interval_s, done.thumbnails.count) == (1.0, 4)
    for number in range(4):
        picture = np.asarray(Image.open(tmp_path / "work" / thumbnail_name(number)).convert("RGB"))
        assert picture.shape == (done.thumbnails.height, done.thumbnails.width, 3)
        assert clips.read_number(picture) == clip.due(number)


def test_thumbnails_of_a_changing_resolution_go_on(tmp_path: Path) -> None:
    clip = clips.resolution_changing(tmp_path / "c.ts", tmp_path)
    done = run(clip.path, tmp_path / "work")
    pictures = [tmp_path / "work" / thumbnail_name(number) for number in range(done.thumbnails.count)]
    seen = [clips.read_number(np.asarray(Image.open(picture).convert("RGB"))) for picture in pictures]
    assert seen == [clip.due(number) for number in range(4)]


def test_long_videos_have_no_more_than_a_thousand_thumbnails(tmp_path: Path) -> None:
    path = tmp_path / "c.mp4"
    source = ("-f", "lavfi", "-i", "color=red:s=32x32:r=1:d=2500")
    clips.ffmpeg(*source, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", str(path))
    done = run(path, tmp_path / "work")
    assert (done.thumbnails.interval_s, done.thumbnails.count) == (3.0, 834)
    assert len(list((tmp_path / "work").glob("thumbnail-*.jpg"))) == 834


@pytest.mark.parametrize(
    ("name", "options", "web_type"),
    [
        ("c.mp4", H264, "video/mp4"),
        ("c.webm", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"), "video/webm"),
        ("c.mp4", (*H264, "-pix_fmt", "yuv420p10le"), None),
        ("c.mp4", HEVC, None),
        ("c.mov", H264, None),
        ("c.mkv", H264, None),
        ("c.avi", ("-c:v", "mpeg4"), None),
        ("c.ts", H264, None),
    ],
)
def test_a_preview_is_made_where_browsers_could_not_play_the_source(
    name: str, options: tuple[str, ...], web_type: str | None, tmp_path: Path
) -> None:
    done = run(clips.numbered(tmp_path / name, *options).path, tmp_path / "work")
    assert done.web_type == web_type
    assert (done.preview is None) == (web_type is not None)


def test_a_preview_plays_everywhere_with_its_sound_and_its_times(tmp_path: Path) -> None:
    clip = clips.numbered(tmp_path / "c.mkv", *HEVC, "-c:a", "flac", inputs=TONE)
    done = run(clip.path, tmp_path / "work")
    assert done.preview is not None
    data = done.preview.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(done.preview)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert sound.codec_context.name == "aac"
        assert float(sound.duration * sound.time_base) == pytest.approx(3.0, abs=0.1)
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video)]
    assert [time for time, _ in frames] == pytest.approx([n / FPS for n in range(75)], abs=0.002)
    assert [clips.read_number(pixels) for _, pixels in frames] == list(range(75))


def test_sound_that_nothing_decodes_costs_only_the_sound(tmp_path: Path) -> None:
    clip = clips.numbered(tmp_path / "a.mkv", *HEVC, "-c:a", "aac", inputs=TONE)
    data = clip.path.read_bytes()
    assert data.count(b"A_AAC") == 1
    path = tmp_path / "c.mkv"
    path.write_bytes(data.replace(b"A_AAC", b"A_XYZ"))
    done = run(path, tmp_path / "work")
    assert len(done.frame_times_s) == 6
    assert not done.coverage.partial
    assert done.preview is not None
    with av.open(str(done.preview)) as container:
        assert not container.streams.audio


def test_nothing_of_a_failed_attempt_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A preview that broke the first run must not be taken for one."""
    clip = clips.numbered(tmp_path / "c.mkv", *HEVC)
    honest = sandbox.run

    def breaking(program: Sequence[str], **how: Any) -> sandbox.Finished:
        if any("preview.mp4" in part for part in program):
            (how["folder"] / "preview.mp4").write_bytes(b"half of a preview")
            (how["folder"] / "thumbnail-0.jpg").write_bytes(b"half of a picture")
            return sandbox.Finished(code=1, timed_out=False, stdout=b"", stderr="no such encoder")
        return honest(program, **how)

    monkeypatch.setattr(sandbox, "run", breaking)
    done = run(clip.path, tmp_path / "work")
    assert len(done.frame_times_s) == 6
    assert done.preview is None
    assert not (tmp_path / "work" / "preview.mp4").exists()
    assert (tmp_path / "work" / thumbnail_name(0)).read_bytes()[:2] == b"\xff\xd8"
