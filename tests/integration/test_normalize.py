"""Real files through the untrusted side: frames come out at their true times, or the right code does."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import clips
from tests.clips import H264, WIDTH, Clip
from vidlm.domain import FrameBatch, Thumbnails
from vidlm.errors import MediaError, ToolError
from vidlm.video import sandbox
from vidlm.video.frames import read_frames
from vidlm.video.normalize import Limits, Normalized, normalize
from vidlm.video.proxy import ProxyPlan, proxy_command
from vidlm.video.report import describe_source
from vidlm.video.sniff import read_layout

LIMITS = Limits(max_duration_s=3600, max_bytes=10**8, max_pixels=35_389_440, max_side=8192)
Make = Callable[[Path], Clip]


def fit(height: int, width: int) -> tuple[int, int]:
    """A model's size: 84 x 112 one way or the other."""
    return (112, 84) if height > width else (84, 112)


def run(path: Path, work: Path, *, fps: float = 2.0, limits: Limits = LIMITS) -> tuple[Normalized, FrameBatch]:
    done = normalize(path, work, filename="clip <b>.mp4", sample_fps=fps, fit=fit, limits=limits)
    frames = read_frames(done.proxy, (done.height, done.width), done.frame_times_s)
    assert frames.pixels.shape == (len(done.frame_times_s), done.height, done.width, 3)
    pictures = {f"thumbnail-{n}.jpg" for n in range(done.thumbnails.count)}
    preview = {"preview.mp4"} if done.web_type is None else set()
    assert {p.name for p in work.iterdir()} == {"poster.jpg", "proxy.mp4"} | pictures | preview
    assert (done.preview is None) == (done.web_type is not None)
    return done, frames


def numbers(frames: FrameBatch, rotation: int = 0) -> list[int]:
    return [clips.read_number(frame, rotation) for frame in frames.pixels]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """3 s of H.264 with B-frames and a key frame a second."""
    return clips.numbered(tmp_path_factory.mktemp("base") / "base.mp4")


X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1")


def hdr(transfer: str) -> tuple[str, ...]:
    """Options for ten bits of that transfer in wide colours, as phones and cameras write it."""
    colours = f"colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    return (*X265[:-1], f"{X265[-1]}:{colours}", "-pix_fmt", "yuv420p10le")


CODECS: dict[str, tuple[str, tuple[str, ...]]] = {
    "h264": ("mp4", H264),
    "hevc": ("mp4", X265),
    "vp9": ("webm", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")),
    "av1": ("mkv", ("-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime")),
    "mpeg4": ("avi", ("-c:v", "mpeg4", "-q:v", "3", "-bf", "2")),
    "theora": ("ogv", ("-c:v", "libtheora", "-q:v", "8")),
    "mpeg2video": ("mpg", ("-c:v", "mpeg2video", "-q:v", "3")),
}


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_gives_the_frame_on_screen_at_each_sampling_time(codec: str, tmp_path: Path) -> None:
    suffix, options = CODECS[codec]
    clip = clips.numbered(tmp_path / f"clip.{suffix}", *options)
    done, frames = run(clip.path, tmp_path / "work")
    assert numbers(frames) == [clip.due(t) for t in done.frame_times_s]
    assert done.frame_times_s == (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
    assert (done.info.codec, done.info.width, done.info.height) == (codec, 160, 120)
    assert done.info.duration_s == pytest.approx(clip.duration_s, abs=0.001)
    assert done.info.fps == pytest.approx(25, rel=0.02)
    assert not done.info.variable_fps
    assert not done.coverage.partial
    assert done.coverage.seconds_seen == done.coverage.seconds_total == done.info.duration_s


@pytest.mark.parametrize("fps", [0.4, 3.0, 7.3, 29.97])
def test_every_rate_gives_the_frame_on_screen(fps: float, base: Clip, tmp_path: Path) -> None:
    done, frames = run(base.path, tmp_path, fps=fps)
    assert numbers(frames) == [base.due(t) for t in done.frame_times_s]
    assert len(done.frame_times_s) == len([n for n in range(100) if n / done.fps < 3.0 - 1e-9])


RATES = (Fraction(24000, 1001), Fraction(30000, 1001), Fraction(50), Fraction(60000, 1001))


def at_rate(rate: Fraction) -> Make:
    return lambda folder: clips.numbered(folder / "c.mp4", frames=int(4 * rate), fps=rate)


ODD: dict[str, tuple[Make, float]] = {  # how it is made, and how far a frame may be off, in frames
    "vfr mp4": (lambda d: clips.variable_rate(d / "c.mp4"), 0),
    "vfr matroska": (lambda d: clips.variable_rate(d / "c.mkv"), 0),
    "10 bit": (lambda d: clips.numbered(d / "c.mp4", *H264, "-pix_fmt", "yuv420p10le"), 0),
    "4:4:4": (lambda d: clips.numbered(d / "c.mp4", *H264, "-pix_fmt", "yuv444p"), 0),
    "hdr": (lambda d: clips.numbered(d / "c.mp4", *hdr("smpte2084")), 0),
    "hdr of broadcasting": (lambda d: clips.numbered(d / "c.mkv", *hdr("arib-std-b67")), 0),
    "odd size": (lambda d: clips.numbered(d / "c.mp4", *H264, "-pix_fmt", "yuv444p", "-vf", "scale=161:119"), 0),
    "mpeg-ts with an offset": (lambda d: clips.numbered(d / "c.ts", *H264, "-output_ts_offset", "7"), 0),
    "matroska with an offset": (lambda d: clips.numbered(d / "c.mkv", *H264, "-output_ts_offset", "7"), 0),
    "mp4 with an offset": (lambda d: clips.numbered(d / "c.mp4", *H264, "-output_ts_offset", "7"), 0),
    "edit list": (lambda d: clips.edit_listed(clips.numbered(d / "a.mp4"), d / "c.mp4", 1.3), 1),
    "negative start": (lambda d: clips.starting_early(clips.numbered(d / "a.mp4"), d / "c.mp4", 1.0), 1),
    **{f"{float(rate):.2f} a second": (at_rate(rate), 0) for rate in RATES},
    "change of resolution": (lambda d: clips.resolution_changing(d / "c.ts", d), 0),
    "joined mpeg-ts": (lambda d: clips.joined(d / "c.ts", d), 0),
    "fragments": (lambda d: clips.numbered(d / "c.mp4", *H264, "-movflags", "frag_keyframe+empty_moov"), 0),
    "duration claimed": (lambda d: clips.with_duration_claim(clips.numbered(d / "a.mp4"), d / "c.mp4", 90_000), 0),
    "late video mp4": (lambda d: clips.late_video(d / "c.mp4", d, 1.2), 1),
    "late video mpeg-ts": (lambda d: clips.late_video(d / "c.ts", d, 1.2), 1),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files_keep_their_times(name: str, tmp_path: Path) -> None:
    make, tolerance = ODD[name]
    clip = make(tmp_path)
    done, frames = run(clip.path, tmp_path / "work")
    for time_s, number in zip(done.frame_times_s, numbers(frames), strict=True):
        assert abs(number - clip.due(time_s)) <= tolerance, f"frame {number} at {time_s} s"
    assert done.info.duration_s == pytest.approx(clip.duration_s, abs=0.05)
    assert done.info.variable_fps == name.startswith("vfr")
    assert done.info.hdr == name.startswith("hdr")
    assert not done.coverage.partial
    assert len(done.frame_times_s) == int(np.ceil(done.info.duration_s * 2 - 1e-6))


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotation_is_applied(turn: int, base: Clip, tmp_path: Path) -> None:
    clip = clips.rewrapped(base, tmp_path / "c.mp4", before=("-display_rotation", str(turn)))
    done, frames = run(clip.path, tmp_path / "work")
    assert done.info.rotation == 360 - turn  # ffmpeg's option counts the other way round
    assert (done.info.width, done.info.height) == ((160, 120) if turn == 180 else (120, 160))
    assert numbers(frames, done.info.rotation) == [clip.due(t) for t in done.frame_times_s]


def test_oblong_pixels_count_in_the_displayed_size(tmp_path: Path) -> None:
    clip = clips.numbered(tmp_path / "c.mp4", *H264, "-vf", "setsar=2")
    asked: list[tuple[int, int]] = []
    normalize(
        clip.path,
        tmp_path / "w",
        filename="",
        sample_fps=2,
        fit=lambda h, w: asked.append((h, w)) or (84, 112),
        limits=LIMITS,
    )  # type: ignore[func-returns-value]
    assert asked == [(120, 320)]


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m"])
def test_colours_survive(matrix: str, tmp_path: Path) -> None:
    path = tmp_path / "c.mp4"
    colour = f"color=red:s=160x120:r=10:d=1,scale=out_color_matrix={matrix},format=yuv420p"
    clips.ffmpeg("-f", "lavfi", "-i", colour, "-colorspace", matrix, "-color_range", "tv", *H264, str(path))
    _, frames = run(path, tmp_path / "work")
    assert np.abs(frames.pixels[0].mean(axis=(0, 1)) - [255, 0, 0]).max() < 8


def test_hdr_looks_as_on_an_ordinary_screen(tmp_path: Path) -> None:
    """Patches of known brightness (cd/m2, as ITU-R BT.2100 codes it): paper white is nearly white, grey card grey."""
    patches = {0.1: (0, 20), 26: (95, 120), 203: (205, 230), 1000: (240, 255)}
    rows = []
    for brightness in patches:
        power = (brightness / 10_000) ** 0.1593017578125
        code = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
        rows.append(np.full((30, WIDTH), round(64 + 876 * code), "<u2"))
    luma = np.concatenate(rows)
    raw = (luma.tobytes() + np.full(luma.size // 2, 512, "<u2").tobytes()) * 10
    shape = ("-f", "rawvideo", "-pix_fmt", "yuv420p10le", "-s", f"{WIDTH}x{len(luma)}", "-r", "10", "-i", "-")
    clips.ffmpeg(*shape, *hdr("smpte2084"), "-crf", "4", str(tmp_path / "c.mp4"), data=raw)
    done, frames = run(tmp_path / "c.mp4", tmp_path / "work")
    assert done.info.hdr
    picture = np.asarray(Image.open(done.poster).convert("RGB"))
    for pixels in (frames.pixels[0], picture):
        middles = pixels[[(2 * n + 1) * len(pixels) // 8 for n in range(4)], pixels.shape[1] // 2]
        for (low, high), colour in zip(patches.values(), middles, strict=True):
            assert low <= colour.min() <= colour.max() <= high, middles


@pytest.mark.parametrize("frames", [1, 3])
def test_a_video_shorter_than_a_sampling_step_gives_its_first_frame(frames: int, tmp_path: Path) -> None:
    clip = clips.numbered(tmp_path / "c.mp4", frames=frames)
    done, got = run(clip.path, tmp_path / "work", fps=0.5)
    assert (done.frame_times_s, numbers(got)) == ((0.0,), [0])
    assert not done.coverage.partial


def test_sound_and_a_cover_picture_do_not_matter(base: Clip, tmp_path: Path) -> None:
    clip = clips.with_cover_and_sound(base, tmp_path / "c.mp4")
    done, frames = run(clip.path, tmp_path / "work")
    assert done.info.has_audio
    assert numbers(frames) == [clip.due(t) for t in done.frame_times_s]


def test_the_proxy_is_the_same_every_time_and_frames_can_be_read_in_parts(base: Clip, tmp_path: Path) -> None:
    done, frames = run(base.path, tmp_path / "a", fps=10)
    again, _ = run(base.path, tmp_path / "b", fps=10)
    assert done.proxy.read_bytes() == again.proxy.read_bytes()
    for first, last in ((0, 1), *((n, n + 1) for n in range(30)), (7, 9), (13, 30)):
        part = read_frames(done.proxy, (done.height, done.width), done.frame_times_s, first=first, last=last)
        assert np.array_equal(part.pixels, frames.pixels[first:last])
        assert np.array_equal(part.times_s, frames.times_s[first:last])
    with pytest.raises(ToolError, match="30 frames instead of 29"):
        read_frames(done.proxy, (done.height, done.width), done.frame_times_s[:-1])
    with pytest.raises(ToolError):
        read_frames(done.poster.with_name("nothing.mp4"), (84, 112), done.frame_times_s)


LOSSES: dict[str, tuple[Callable[[Clip, Path], Clip], bool]] = {  # how it is made; whether the whole length is known
    "cut mp4": (lambda c, d: clips.cut(clips.rewrapped(c, d / "a.mp4", "-movflags", "faststart"), d / "c", 0.6), True),
    "cut matroska": (lambda c, d: clips.cut(clips.rewrapped(c, d / "a.mkv"), d / "c", 0.6), True),
    "cut fragments": (
        lambda c, d: clips.cut(clips.rewrapped(c, d / "a.mp4", "-movflags", "frag_keyframe+empty_moov"), d / "c", 0.6),
        False,
    ),
    "damaged mp4": (lambda c, d: clips.damaged(c, d / "c", 0.4, 0.5), True),
    "damaged matroska": (lambda c, d: clips.damaged(clips.rewrapped(c, d / "a.mkv"), d / "c", 0.4, 0.5), True),
    "damaged mpeg-ts": (lambda c, d: clips.damaged(clips.rewrapped(c, d / "a.ts"), d / "c", 0.4, 0.5), True),
}


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_lost_is_a_gap_and_what_is_seen_is_right(name: str, base: Clip, tmp_path: Path) -> None:
    make, length_known = LOSSES[name]
    clip = make(base, tmp_path)
    done, frames = run(clip.path, tmp_path / "work")
    gaps = done.coverage.gaps
    assert gaps
    assert 0.5 < done.coverage.seconds_seen < 2.9
    assert done.coverage.seconds_total == done.info.duration_s
    if length_known:
        assert done.info.duration_s == pytest.approx(3.0, abs=0.05)
    assert done.coverage.seconds_seen == pytest.approx(done.info.duration_s - sum(g.end_s - g.start_s for g in gaps))
    for time_s, frame in zip(done.frame_times_s, frames.pixels, strict=True):
        if not any(g.start_s <= time_s < g.end_s for g in gaps):
            assert clips.read_number(frame) == clip.due(time_s)


def test_decoding_ends_every_time(base: Clip, tmp_path: Path) -> None:
    """Outputs of different rates that wait for each other at the end of a damaged file: no run may wait for ever."""
    clip = clips.damaged(clips.rewrapped(base, tmp_path / "a.mkv"), tmp_path / "source", 0.4, 0.5)
    with clip.path.open("rb") as file:
        report = describe_source(tmp_path, "source", read_layout(file), LIMITS)
    plan = ProxyPlan(Fraction(2), 112, 84, Thumbnails(1.0, 160, 120, 3), preview=True)
    command = proxy_command("source", report, plan, LIMITS, first_only=False)
    for _ in range(30):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=30)


def test_progress_is_told_and_may_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "WATCH_S", 0.02)
    path = tmp_path / "c.mp4"
    clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=s=1280x720:r=25:d=20", *H264, str(path))
    told: list[float] = []
    normalize(path, tmp_path / "a", filename="x", sample_fps=2, fit=fit, limits=LIMITS, on_progress=told.append)
    assert told == sorted(told)
    assert 0 <= told[0] < 0.5 < told[-1] <= 1
    assert len(set(told)) > 3

    def stop(done: float) -> None:
        if done > 0:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        normalize(path, tmp_path / "b", filename="x", sample_fps=2, fit=fit, limits=LIMITS, on_progress=stop)
    assert not list((tmp_path / "b").iterdir())


def _tone(path: Path, *options: str) -> Path:
    clips.ffmpeg("-f", "lavfi", "-i", "sine=d=1", *options, str(path))
    return path


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


SRT = b"1\n00:00:00,000 --> 00:00:02,000\nhello\n"
MPD = b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>secret.mp4</BaseURL></MPD>'
BAD: dict[str, tuple[str, Callable[[Clip, Path], Path]]] = {
    "empty": ("not_a_video", lambda _, d: _written(d / "c", b"")),
    "zeros": ("not_a_video", lambda _, d: _written(d / "c", bytes(50_000))),
    "random": ("not_a_video", lambda _, d: _written(d / "c", np.random.default_rng(1).bytes(50_000))),
    "text": ("not_a_video", lambda _, d: _written(d / "c.txt", b"hello world\n" * 1000)),
    "png": ("not_a_video", lambda _, d: _written(d / "c.mp4", b"\x89PNG\r\n\x1a\n" + bytes(100))),
    "index missing": ("truncated", lambda c, d: clips.cut(c, d / "c", 0.5).path),
    "header only": ("truncated", lambda c, d: clips.cut(clips.rewrapped(c, d / "a.mkv"), d / "c", 0.01).path),
    "audio in mp4": ("no_video_stream", lambda _, d: _tone(d / "c.mp4", "-c:a", "aac")),
    "audio in wave": ("no_video_stream", lambda _, d: _tone(d / "c.wav")),
    "audio in mpeg": ("no_video_stream", lambda _, d: _tone(d / "c.mp3")),
    "cover art": ("no_video_stream", lambda _, d: clips.song_with_cover(d / "c.m4a")),
    "subtitles": ("no_video_stream", lambda _, d: _written(d / "c.mp4", SRT)),
    "init segment": ("no_frames", lambda c, d: clips.init_segment(c, d / "c.mp4")),
    "hls": ("container_not_allowed", lambda _, d: _written(d / "c.mp4", b"#EXTM3U\n#EXTINF:4,\nsecret.ts\n")),
    "ffconcat": (
        "container_not_allowed",
        lambda _, d: _written(d / "c.mp4", b"ffconcat version 1.0\nfile secret.mp4\n"),
    ),
    "dash": ("container_not_allowed", lambda _, d: _written(d / "c.mp4", MPD)),
    "sdp": ("container_not_allowed", lambda _, d: _written(d / "c.mp4", b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n")),
    "encrypted": ("encrypted", lambda c, d: clips.encrypted(c, d / "c.mp4")),
    "too wide": ("too_large_dimensions", lambda _, d: clips.numbered(d / "c.mp4", frames=1, size=(8208, 16)).path),
    "broken index": ("invalid_metadata", lambda c, d: clips.with_broken_index(c, d / "c.mp4")),
    "stretched": ("too_long", lambda c, d: clips.with_long_frames(c, d / "c.mp4", 100_000)),
    "one endless frame": (
        "invalid_metadata",
        lambda _, d: clips.with_long_frames(clips.numbered(d / "a.mp4", frames=1), d / "c.mp4", 100_000),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_get_their_code_quickly_and_leave_nothing(name: str, base: Clip, tmp_path: Path) -> None:
    code, make = BAD[name]
    path = make(base, tmp_path)
    (tmp_path / "secret.ts").write_bytes(base.path.read_bytes())
    started = time.monotonic()
    with pytest.raises(MediaError) as caught:
        normalize(path, tmp_path / "work", filename="x", sample_fps=2, fit=fit, limits=LIMITS)
    assert caught.value.code == code, caught.value.detail
    assert time.monotonic() - started < 10
    assert str(tmp_path) not in caught.value.detail
    assert not (tmp_path / "work").exists() or not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize(
    ("code", "limits"),
    [
        ("too_long", Limits(2.5, 10**8, 10**6, 8192)),
        ("too_large", Limits(3600, 1000, 10**6, 8192)),
        ("too_large_dimensions", Limits(3600, 10**8, 160 * 120 - 1, 8192)),
        ("too_large_dimensions", Limits(3600, 10**8, 10**6, 159)),
        ("decode_timeout", Limits(3600, 10**8, 10**6, 8192, deadline_scale=1e-4)),
        ("too_long", Limits(3600, 10**8, 10**6, 8192, max_frames=74)),
        ("invalid_metadata", Limits(3600, 10**8, 10**6, 8192, max_streams=0)),
    ],
)
def test_limits(code: str, limits: Limits, base: Clip, tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        normalize(base.path, tmp_path, filename="x", sample_fps=2, fit=fit, limits=limits)
    assert caught.value.code == code


def test_every_frame_of_a_proxy_of_many_key_frames_can_be_reached(tmp_path: Path) -> None:
    clip = clips.numbered(tmp_path / "c.mp4", *H264, frames=250)
    done, frames = run(clip.path, tmp_path / "work", fps=5)
    assert numbers(frames) == [clip.due(t) for t in done.frame_times_s]
    for first in range(0, 50, 3):
        part = read_frames(done.proxy, (done.height, done.width), done.frame_times_s, first=first, last=first + 2)
        assert np.array_equal(part.pixels, frames.pixels[first : first + 2])


def test_a_size_the_model_refuses_is_the_files_fault(base: Clip, tmp_path: Path) -> None:
    def refuse(height: int, width: int) -> tuple[int, int]:
        raise ValueError(f"{height}x{width}")

    with pytest.raises(MediaError) as caught:
        normalize(base.path, tmp_path, filename="x", sample_fps=2, fit=refuse, limits=LIMITS)
    assert caught.value.code == "too_large_dimensions"


def test_a_file_of_any_name_is_only_read(base: Clip, tmp_path: Path) -> None:
    odd = tmp_path / "-i pipe:0 %d ; \u202egpj.mp4"
    odd.write_bytes(base.path.read_bytes())
    odd.chmod(0o400)
    done, _ = run(odd, tmp_path / "work")
    assert odd.read_bytes() == base.path.read_bytes()
    assert done.info.filename == "clip <b>.mp4"


def test_nothing_but_the_child_imports_pyav() -> None:
    code = "import sys, vidlm.video.normalize; sys.exit(bool({'av', 'torch', 'decord'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
