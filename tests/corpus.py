"""Bad and odd video files, by category, each with the outcomes that are right for it.

Everything is made when it is asked for, by the bundled ffmpeg and by changing bytes, the same every time and small: the
film is `FILM_S` seconds of ffmpeg's moving test picture at 160 x 120. `attempt` sends one file through the untrusted
side and says what came of it, and what should never be.
"""

from __future__ import annotations

import math
import os
import shutil
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from tests import clips
from tests.clips import ffmpeg
from vidlm.errors import MEDIA_CODES, MediaError
from vidlm.video.frames import read_frames
from vidlm.video.normalize import Limits, Normalized, normalize

LIMITS: Final = Limits(max_duration_s=3600, max_bytes=10**8, max_pixels=35_389_440, max_side=8192)
FILM_S: Final = 3.0
SLOWEST_S: Final = 20.0
"""No file may take longer, whatever it is."""

FRAMES: Final = "frames"
PARTIAL: Final = "partial"
ANYTHING: Final = frozenset({FRAMES, PARTIAL, *MEDIA_CODES})
_PUZZLING: Final = frozenset(
    {FRAMES, PARTIAL, "invalid_metadata", "too_long", "truncated", "no_frames", "decode_failed"}
)
"""What a file may give whose tables contradict its frames, when more cannot be asked of a reader."""
_UNREADABLE: Final = _PUZZLING - {FRAMES, "too_long"}

_STILL: Final = ("-frames:v", "1")
_EXACT: Final = ("-fflags", "+bitexact", "-threads", "1")
_H264: Final = ("-c:v", "libx264", "-preset", "veryfast", "-g", "25", "-pix_fmt", "yuv420p")
_QUICK: Final = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
_X265: Final = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1:keyint=25")
_HEVC: Final = (*_X265, "-pix_fmt", "yuv420p")
_VP9: Final = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "25", "-pix_fmt", "yuv420p")
_AV1: Final = ("-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-pix_fmt", "yuv420p")
_MPEG4: Final = ("-c:v", "mpeg4", "-q:v", "5", "-g", "25", "-pix_fmt", "yuv420p")
_AAC: Final = ("-c:a", "aac", "-b:a", "32k")
KINDS: Final[dict[str, tuple[str, ...]]] = {
    "mp4": (*_H264, "-f", "mp4"),  # the index stands at the end
    "faststart": (*_H264, "-movflags", "faststart", "-f", "mp4"),
    "fragmented": (*_H264, "-movflags", "frag_keyframe+empty_moov+default_base_moof", "-f", "mp4"),
    "mov": (*_H264, "-f", "mov"),
    "hevc": (*_HEVC, "-movflags", "faststart", "-f", "mp4"),
    "mkv": (*_H264, "-f", "matroska"),
    "webm": (*_VP9, "-f", "webm"),
    "ts": (*_H264, "-f", "mpegts"),
    "avi": (*_MPEG4, "-f", "avi"),
    "flv": (*_H264, "-f", "flv"),
    "ogv": ("-c:v", "libtheora", "-q:v", "6", "-g", "25", "-pix_fmt", "yuv420p", "-f", "ogg"),
    "mpg": ("-c:v", "mpeg2video", "-q:v", "5", "-g", "25", "-pix_fmt", "yuv420p", "-f", "mpeg"),
    "asf": ("-c:v", "wmv2", "-q:v", "5", "-g", "25", "-pix_fmt", "yuv420p", "-f", "asf"),
}
"""Containers, each with a codec that is at home in it."""


@dataclass(frozen=True, slots=True)
class Case:
    """A file and what is right for it: media error codes, `FRAMES`, or `PARTIAL` for frames with gaps declared.

    Where frames come out, the film has to last `duration_s`, if that is given.
    """

    name: str
    path: Path
    allowed: frozenset[str]
    limits: Limits = LIMITS
    duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of one file. `faults` are things that are wrong whatever the file was."""

    outcome: str
    seconds: float
    duration_s: float | None
    faults: tuple[str, ...]


# ---- sending a file through ----


def fit(height: int, width: int) -> tuple[int, int]:
    """A model's size: 84 x 112 one way or the other."""
    return (112, 84) if height > width else (84, 112)


def attempt(path: Path, work: Path, limits: Limits) -> Attempt:
    """Normalize `path` in the folder `work`, which is gone afterwards."""
    faults: list[str] = []
    before = _children()
    started = time.monotonic()
    duration_s: float | None = None
    left: set[str] = set()
    try:
        done = normalize(path, work, filename=path.name, sample_fps=2.0, fit=fit, limits=limits)
    except MediaError as exc:
        outcome = exc.code
        faults += [f"the detail tells a path: {exc.detail}"] if str(path.parent) in exc.detail else []
    except Exception as exc:  # noqa: BLE001  whatever it is, it should not have been
        outcome = "exception"
        faults.append(f"{type(exc).__name__}: {exc}")
    else:
        outcome = PARTIAL if done.coverage.partial else FRAMES
        duration_s = done.info.duration_s
        left = _results(done)
    seconds = time.monotonic() - started
    if outcome == "decode_timeout":
        faults.append("so small a file ran into a deadline")
    if seconds > SLOWEST_S:
        faults.append(f"took {seconds:.1f} s")
    if orphans := _children() - before:
        faults.append(f"{len(orphans)} child processes are left")
    found = {p.name for p in work.iterdir()} if work.exists() else set()
    if found != left:
        faults.append(f"the work folder holds {sorted(found)} instead of {sorted(left)}")
    elif left:
        faults += _faults_of(done)
        if not 0 <= done.coverage.seconds_seen <= done.coverage.seconds_total == duration_s:
            faults.append(f"the coverage contradicts itself: {done.coverage}")
    shutil.rmtree(work, ignore_errors=True)
    return Attempt(outcome, seconds, duration_s, tuple(faults))


def violations(case: Case, work: Path) -> list[str]:
    """Everything wrong with what becomes of a case, a line each."""
    done = attempt(case.path, work, case.limits)
    wrong = list(done.faults)
    if done.outcome not in case.allowed and done.outcome != "exception":
        wrong.append(f"gave {done.outcome}, right would be {' or '.join(sorted(case.allowed))}")
    if None not in (done.duration_s, case.duration_s) and not math.isclose(
        done.duration_s or 0, case.duration_s or 0, rel_tol=0, abs_tol=0.2
    ):
        wrong.append(f"lasts {done.duration_s} s instead of {case.duration_s} s")
    return [f"{case.name}: {line}" for line in wrong]


def _results(done: Normalized) -> set[str]:
    """The files that it says it made."""
    pictures = {f"thumbnail-{number}.jpg" for number in range(done.thumbnails.count)}
    return {"poster.jpg", "proxy.mp4", *pictures, *({done.preview.name} if done.preview else ())}


def _faults_of(done: Normalized) -> list[str]:
    try:
        pixels = read_frames(done.proxy, (done.height, done.width), done.frame_times_s).pixels
    except Exception as exc:  # noqa: BLE001  a proxy that cannot be read, for whatever reason
        return [f"the proxy: {type(exc).__name__}: {exc}"]
    return ["frames of another file came out"] if _is_canary(pixels) else []


def _is_canary(pixels: npt.NDArray[np.uint8]) -> bool:
    """Whether a frame is magenta, as every frame of `canary` is."""
    red, green, blue = (pixels[..., channel] for channel in range(3))
    return bool(((red > 180) & (green < 80) & (blue > 180)).mean(axis=(1, 2)).max() > 0.5)


def _children() -> frozenset[int]:
    """Processes of ours that are running or not reaped; none are seen where there is no /proc."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        if parent == os.getpid():
            found.add(int(stat.parent.name))
    return frozenset(found)


# ---- making files ----


def base(folder: Path, kind: str) -> Path:
    """The film as one of `KINDS`, made when it is first asked for."""
    path = folder / f"base.{kind}"
    if not path.exists():
        film(path, *KINDS[kind])
    return path


def film(
    path: Path,
    *output: str,
    size: str = "160x120",
    rate: str = "25",
    seconds: float = FILM_S,
    sound: bool = False,
    before: Sequence[str] = (),
) -> Path:
    """The moving test picture, with a tone if asked for."""
    picture = ("-f", "lavfi", *before, "-i", f"testsrc2=s={size}:r={rate}:d={seconds}")
    tone = ("-f", "lavfi", "-i", f"sine=d={seconds}") if sound else ()
    ffmpeg(*picture, *tone, *_EXACT, *output, str(path))
    return path


def plain(path: Path, size: str, *output: str) -> Path:
    """One grey frame of any size, which even huge ones are quickly made of."""
    ffmpeg("-f", "lavfi", "-i", f"color=gray:s={size}:d=1:r=25", *_STILL, *_EXACT, *output, str(path))
    return path


def canary(path: Path, *output: str) -> Path:
    """Frames that must never come out of any other file."""
    ffmpeg("-f", "lavfi", "-i", "color=magenta:s=160x120:r=25:d=3", *_EXACT, *_H264, *output, str(path))
    return path


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """The type of every box of an ISO base media file, at all depths, with the bounds of what is in it."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        length, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        inside, after = start + 8, start + length
        if length < 8 or after > end:
            return
        yield kind, inside, after
        if kind in _NESTING:
            yield from boxes(data, inside + _NESTING[kind], after)
        start = after


_NESTING: Final = {  # boxes that hold boxes, and how far inside those begin
    **dict.fromkeys(b"moov trak mdia minf stbl dinf edts mvex moof traf".split(), 0),
    b"stsd": 8,
    **dict.fromkeys(b"avc1 hvc1 hev1".split(), 78),
}


def _written(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def _head(source: Path, path: Path, length: float) -> Path:
    """The first bytes of a file: their number, or the share of the whole where it is below 1."""
    data = source.read_bytes()
    return _written(path, data[: int(length if length >= 1 else len(data) * length)])


def _find(data: bytes, kind: bytes) -> int:
    """Where the content of the first box of that type begins."""
    return next(inside for found, inside, _ in boxes(data) if found == kind)


def _patched(source: Path, path: Path, at: int, form: str, *values: float) -> Path:
    data = bytearray(source.read_bytes())
    struct.pack_into(form, data, at, *values)
    return _written(path, bytes(data))


def _with_box(data: bytes, way: Sequence[bytes], box: bytes) -> bytes:
    """The boxes `data` with the first one at the end of `way` replaced and the lengths around it put right."""
    at = 0
    while data[at + 4 : at + 8] != way[0]:
        at += int.from_bytes(data[at : at + 4], "big")
    after = at + int.from_bytes(data[at : at + 4], "big")
    if len(way) > 1:
        inside = _with_box(data[at + 8 : after], way[1:], box)
        box = struct.pack(">I4s", len(inside) + 8, way[0]) + inside
    return data[:at] + box + data[after:]


# ---- categories ----


def not_a_video(folder: Path) -> Iterator[Case]:
    """Bytes that are something else."""
    words = "The quick brown fox jumps over the lazy dog.\n" * 200
    page = f"<!doctype html>\n<html><body><video src='canary.mp4'></video><p>{words}</p></body></html>"
    filler = np.random.default_rng(0).bytes(20_000)
    files: dict[str, bytes | str] = {
        "empty": b"",
        "one byte": b"\0",
        "zeros, 7": bytes(7),
        "zeros, 100 kB": bytes(100_000),
        "random, 64": np.random.default_rng(1).bytes(64),
        "random, 5 kB": np.random.default_rng(2).bytes(5_000),
        "random, 500 kB": np.random.default_rng(3).bytes(500_000),
        "text": words,
        "text in utf-16": words.encode("utf-16"),
        "html": page,
        "json": '{"video": "canary.mp4", "frames": [1, 2, 3]}' * 100,
        "xml": f'<?xml version="1.0"?>\n<notes><note>{words}</note></notes>',
        "python": "#!/usr/bin/env python3\nimport os\nprint(os.listdir())\n" * 50,
        "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x10\x08\x02\0\0\0" + filler,
        "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0" + filler,
        "gif": b"GIF89a\x10\0\x10\0\x80\0\0\0\0\0\xff\xff\xff" + filler,
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n" + filler,
        "zip": b"PK\x03\x04\x14\0\0\0\x08\0" + filler,
        "program": b"\x7fELF\x02\x01\x01\0" + bytes(8) + filler,
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + filler,
    }
    for number, (name, data) in enumerate(files.items()):
        yield Case(name, _written(folder / f"{number}.mp4", data), frozenset({"not_a_video"}))


def truncated(folder: Path) -> Iterator[Case]:
    """Files that end too early: what is there comes out and the rest is a gap; without anything there, `truncated`."""
    cut, partial = frozenset({"truncated"}), frozenset({PARTIAL})
    untold = frozenset({FRAMES, PARTIAL})  # where the format has no sign for it
    late, fast = (base(folder, kind).read_bytes() for kind in ("mp4", "faststart"))
    pieces = base(folder, "fragmented").read_bytes()
    index, data = late.index(b"moov"), fast.index(b"mdat")
    edge = pieces.index(b"moof", pieces.index(b"moof") + 4) - 4  # the second fragment
    packet = base(folder, "ts").stat().st_size // 188 // 2 * 188
    cuts: list[tuple[str, float, frozenset[str], float | None]] = [
        ("mp4", 40, cut, None),
        ("mp4", 0.1, cut, None),
        ("mp4", 0.6, cut, None),
        ("mp4", index - 4, cut, None),  # all of the film, and nothing of the index
        ("mp4", index + 4, cut, None),
        ("mp4", (index + len(late)) // 2, cut, None),
        ("faststart", data // 2, cut, None),
        ("faststart", data + 4, cut, None),
        ("faststart", 0.5, partial, FILM_S),
        ("faststart", len(fast) - 100, partial, FILM_S),
        ("fragmented", 300, cut, None),
        ("fragmented", 0.6, partial, None),
        ("fragmented", edge, untold, None),
        ("mkv", 300, cut, None),
        ("mkv", 0.5, partial, FILM_S),
        ("mkv", 0.97, partial, FILM_S),
        ("webm", 0.5, partial, FILM_S),
        ("ts", packet + 100, partial, None),
        ("ts", packet, untold, None),
        ("avi", 0.5, partial, None),
        ("flv", 0.5, partial, None),
        ("flv", _last_tag(base(folder, "flv").read_bytes()), partial, FILM_S),
        ("asf", 0.5, partial, None),
        ("ogv", 0.5, untold, None),
        ("mpg", 0.5, untold, None),
    ]
    for number, (kind, length, allowed, duration_s) in enumerate(cuts):
        path = _head(base(folder, kind), folder / f"{number}.cut", length)
        yield Case(f"{kind} cut at {length}", path, allowed, duration_s=duration_s)


def _last_tag(data: bytes) -> int:
    """Where the last tag in the first half of an FLV ends: a cut that only the length in its metadata betrays."""
    at = 13
    while (after := at + 15 + int.from_bytes(data[at + 1 : at + 4], "big")) < len(data) // 2:
        at = after
    return at


def no_video_stream(folder: Path) -> Iterator[Case]:
    """Sound, cover pictures and subtitles."""
    right = frozenset({"no_video_stream"})
    sounds = {
        "m4a": _AAC,
        "mp3": ("-c:a", "libmp3lame"),
        "wav": (),
        "flac": (),
        "ogg": ("-c:a", "libvorbis"),
        "opus": ("-c:a", "libopus"),
        "mka": _AAC,
        "webm": ("-c:a", "libopus"),
        "wma": ("-c:a", "wmav2"),
        "aac": _AAC,
        "ts": _AAC,
        "flv": _AAC,
    }
    for suffix, options in sounds.items():
        path = folder / f"sound.{suffix}"
        ffmpeg("-f", "lavfi", "-i", "sine=d=2", *_EXACT, *options, str(path))
        yield Case(f"sound in {suffix}", path, right)
    cover = plain(folder / "cover.jpg", "64x64", "-pix_fmt", "yuvj420p", "-update", "1")
    both = ("-map", "0", "-map", "1", "-c", "copy", "-disposition:v", "attached_pic")
    for suffix in ("mp3", "m4a", "flac"):
        path = folder / f"cover.{suffix}"
        ffmpeg("-i", str(folder / f"sound.{suffix}"), "-i", str(cover), *both, str(path))
        yield Case(f"sound and a cover in {suffix}", path, right)
    srt = _written(folder / "words.srt", "1\n00:00:00,000 --> 00:00:02,000\nhello\n\n")
    yield Case("subtitles in srt", srt, right)
    for suffix in ("vtt", "ass", "mkv", "mp4"):
        path = folder / f"words.{suffix}"
        ffmpeg("-i", str(srt), *_EXACT, *(("-c:s", "mov_text") if suffix == "mp4" else ()), str(path))
        yield Case(f"subtitles in {suffix}", path, right)


def no_frames(folder: Path) -> Iterator[Case]:
    """Whole files that describe a film and hold none of it."""
    right = frozenset({"no_frames"})
    for kind in ("fragmented", "flv", "avi", "asf", "ogv"):
        path = folder / f"none.{kind}"
        copy = ("-c", "copy", "-frames:v", "0", *KINDS[kind][-2:])
        extra = ("-movflags", "empty_moov") if kind == "fragmented" else ()
        ffmpeg("-i", str(base(folder, kind)), *_EXACT, *extra, *copy, str(path))
        # nothing in Ogg tells where a stream ends but its last frame
        vague = {"no_video_stream", "truncated"} if kind == "ogv" else set()
        yield Case(f"{kind} without frames", path, right | vague)
    for kind in ("mkv", "webm"):
        path = _without_clusters(base(folder, kind), folder / f"none.{kind}")
        yield Case(f"{kind} without clusters", path, right)
    pieces = base(folder, "fragmented")
    first = pieces.read_bytes().index(b"moof") - 4
    yield Case("init segment", _head(pieces, folder / "init.mp4", first), right)
    stream = base(folder, "ts").read_bytes()
    tables = b"".join(stream[at : at + 188] for at in range(0, 4 * 188, 188) if stream[at + 1] & 0x1F != 1)
    yield Case("ts of tables only", _written(folder / "tables.ts", tables * 4), right | {"no_video_stream"})
    tags = base(folder, "flv").read_bytes()
    yield Case("flv of its header only", _written(folder / "header.flv", tags[:13]), _PUZZLING - {FRAMES, PARTIAL})
    cluster = base(folder, "mkv").read_bytes().index(_CLUSTER)
    cut = frozenset({"truncated"})  # the segment says how long it is, and is not
    yield Case("mkv cut before its first cluster", _head(base(folder, "mkv"), folder / "cluster.mkv", cluster), cut)
    frames = base(folder, "avi").read_bytes().index(b"movi") + 4
    yield Case("avi cut before its first frame", _head(base(folder, "avi"), folder / "movi.avi", frames), cut)
    yield Case("mp4 with an empty sample table", _emptied(base(folder, "faststart"), folder / "empty.mp4"), right)
    yield Case("mov with an empty sample table", _emptied(base(folder, "mov"), folder / "empty.mov"), right)


_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"


def _without_clusters(source: Path, path: Path) -> Path:
    """Matroska up to its first cluster, as a whole file: its segment ends there."""
    data = source.read_bytes()
    data = data[: data.index(_CLUSTER)]
    inside = data.index(_SEGMENT) + 12
    return _written(path, data[: inside - 8] + struct.pack(">Q", (len(data) - inside) | 1 << 56) + data[inside:])


def _emptied(source: Path, path: Path) -> Path:
    """No entry in any table that says where samples are."""
    data = bytearray(source.read_bytes())
    for kind, inside, _ in boxes(bytes(data)):
        if kind in {b"stts", b"ctts", b"stsc", b"stco", b"stss"}:
            struct.pack_into(">I", data, inside + 4, 0)
        elif kind == b"stsz":
            struct.pack_into(">II", data, inside + 4, 0, 0)
    return _written(path, bytes(data))


def playlists(folder: Path) -> Iterator[Case]:
    """Text and tables that make a reader open other files: whatever comes out, nothing of `canary.mp4` does."""
    away = canary(folder / "canary.mp4")
    own, web = f"file://{away}", "http://127.0.0.1:9/canary.mp4"
    hls = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:3\n#EXTINF:3.0,\n{}\n#EXT-X-ENDLIST\n"
    mpd = (
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT3S" '
        'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="video/mp4">'
        '<Representation id="0" bandwidth="1"><BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>'
    )
    xml = '<?xml version="1.0" encoding="utf-8"?>\n'
    master = f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=160x120\n{away}\n"
    keyed = hls.replace("#EXTINF", f'#EXT-X-MAP:URI="{own}"\n#EXT-X-KEY:METHOD=AES-128,URI="{own}"\n#EXTINF')
    smooth = '<SmoothStreamingMedia MajorVersion="2" Duration="30000000"><StreamIndex Url="{}"/></SmoothStreamingMedia>'
    asx = '<ASX version="3.0"><Entry><Ref href="{}"/></Entry></ASX>'
    refused, either = frozenset({"container_not_allowed"}), frozenset({"container_not_allowed", "not_a_video"})
    texts: list[tuple[str, str, frozenset[str]]] = [
        ("hls relative.mp4", hls.format("canary.mp4"), refused),
        ("hls absolute.mkv", hls.format(away), refused),
        ("hls file.ts", hls.format(own), refused),
        ("hls http.jpg", hls.format(web), refused),
        ("hls master.mp4", master, refused),
        ("hls key and map.mp4", keyed.format(own), refused),
        ("hls behind a mark.mp4", "\ufeff" + hls.format(away), refused),
        ("hls behind blanks.ts", " \r\n\t\n" + hls.format(away), refused),
        ("hls behind a comment.mp4", "# hand made\n" + hls.format(away), either),
        ("ffconcat relative.mp4", "ffconcat version 1.0\nfile canary.mp4\n", refused),
        ("ffconcat absolute.mkv", f"ffconcat version 1.0\nfile '{away}'\nduration 3\n", refused),
        ("ffconcat behind a comment.mp4", f"# hand made\nffconcat version 1.0\nfile '{away}'\n", either),
        ("dash.mp4", xml + mpd.format(own), refused),
        ("dash http behind a comment.mkv", xml + "<!-- hand made -->\n" + mpd.format(web), refused),
        ("dash behind a mark.mp4", "\ufeff" + xml + mpd.format("canary.mp4"), refused),
        ("sdp.mp4", "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 9 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n", refused),
        ("smooth streaming.mp4", xml + smooth.format(own), refused),
        ("asx.mp4", asx.format(own), refused),
        ("pls.ts", f"[playlist]\nFile1={own}\nLength1=3\nNumberOfEntries=1\n", refused),
        ("avisynth.mp4", f'FFmpegSource2("{away}")\n', either),
        ("vobsub.mp4", "# VobSub index file, v7 (do not modify)\nsize: 160x120\n", either | {"no_video_stream"}),
    ]
    for name, text, allowed in texts:
        yield Case(name, _written(folder / name, text), allowed)
    inner = canary(folder / "inner.mov", "-f", "mov").read_bytes()
    for how, target in (("relative", "canary.mp4"), ("absolute", str(away)), ("file", own), ("http", web)):
        for kind, link in (("url", _url_reference(target)), ("alias", _alias_reference(target))):
            path = _written(folder / f"{how} {kind}.mov", _referring(inner, link))
            yield Case(f"mov that refers to a file by {how} {kind}", path, ANYTHING)


def _url_reference(target: str) -> bytes:
    text = target.encode() + b"\0"
    return struct.pack(">I4sI", 12 + len(text), b"url ", 0) + text


def _alias_reference(target: str) -> bytes:
    """What QuickTime wrote for a file elsewhere: names of fixed length, then the path as entry number 2."""
    path = target.encode()
    path += b"\0" * (len(path) % 2)
    fixed = bytes(10) + b"\4disk".ljust(28, b"\0") + bytes(12) + b"\x0acanary.mp4".ljust(64, b"\0") + bytes(16)
    body = fixed + struct.pack(">HH", 1, 1) + bytes(16) + struct.pack(">HH", 2, len(path)) + path + b"\xff\xff\0\0"
    return struct.pack(">I4sI", 12 + len(body), b"alis", 0) + body


def _referring(data: bytes, link: bytes) -> bytes:
    """A film with every sample blanked, whose table says that the samples are to be found elsewhere."""
    begin = data.index(b"mdat") + 4
    blank = data[:begin] + bytes(data.index(b"moov") - 4 - begin) + data[data.index(b"moov") - 4 :]
    references = struct.pack(">I4sII", 16 + len(link), b"dref", 0, 1) + link
    return _with_box(blank, (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"), references)


def too_large_dimensions(folder: Path) -> Iterator[Case]:
    """Frames of a side over 8192, or of more pixels than one of 8192 x 4320 has."""
    right = frozenset({"too_large_dimensions"})
    quick_vp8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-pix_fmt", "yuv420p")
    shapes: list[tuple[str, str, tuple[str, ...]]] = [
        ("wide.mp4", "8208x16", _QUICK),
        ("high.mp4", "16x8208", _QUICK),
        ("wide.mov", "16000x16", _QUICK),
        ("wide.mkv", "8208x64", _HEVC),
        ("high.webm", "64x8208", _VP9),
        ("wide.webm", "8208x64", quick_vp8),
        ("wide av1.mkv", "8208x64", _AV1),
        ("wide.ts", "8208x16", _QUICK),
        ("wide.flv", "8208x16", _QUICK),
        ("wide.avi", "8208x16", ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p")),
        ("wide png.mkv", "20000x16", ("-c:v", "png", "-pix_fmt", "rgb24")),
        ("wide ffv1.mkv", "8208x16", ("-c:v", "ffv1", "-pix_fmt", "gray")),
        ("many pixels.mp4", "8192x4322", _QUICK),
        ("square.mp4", "8192x8192", _QUICK),
        ("square.avi", "8000x8000", ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p")),
    ]
    for name, size, options in shapes:
        yield Case(f"{size} in {name}", plain(folder / name, size, *options), right)
    wide = folder / "wide.mp4"
    entry = _find(wide.read_bytes(), b"avc1")
    yield Case("a header that says 160x120", _patched(wide, folder / "small.mp4", entry + 24, ">HH", 160, 120), right)
    small = film(folder / "small.ts", *_QUICK, seconds=1)
    film(folder / "large.ts", *_QUICK, "-output_ts_offset", "1", size="8192x8192", rate="1", seconds=2)
    grown = _written(folder / "grown.ts", small.read_bytes() + (folder / "large.ts").read_bytes())
    yield Case("160x120, then 8192x8192", grown, right | {PARTIAL})
    yield Case("just small enough", plain(folder / "edge.mp4", "8192x4320", *_QUICK), frozenset({FRAMES}))


def too_long(folder: Path) -> Iterator[Case]:
    """Films that last longer than is accepted, and one that lasts exactly as long."""
    right = frozenset({"too_long"})
    short = Limits(2.5, LIMITS.max_bytes, LIMITS.max_pixels, LIMITS.max_side)
    for kind in KINDS:
        yield Case(f"{kind} of 3 s, where 2.5 s are accepted", base(folder, kind), right, limits=short)
    exact = Limits(FILM_S, LIMITS.max_bytes, LIMITS.max_pixels, LIMITS.max_side)
    yield Case("just short enough", base(folder, "mp4"), frozenset({FRAMES}), limits=exact, duration_s=FILM_S)
    for suffix in ("mp4", "mkv"):
        slow = film(folder / f"slow.{suffix}", *_QUICK, rate="1/60", seconds=4200)
        yield Case(f"{suffix} of 70 minutes at a frame a minute", slow, right)
    unedited = film(folder / "unedited.mp4", *_QUICK, "-use_editlist", "0")
    table = _find(unedited.read_bytes(), b"stts")
    stretched = _patched(unedited, folder / "stretched.mp4", table + 12, ">I", 2**20)  # 82 s each
    yield Case("mp4 whose frames last a minute each", stretched, right | {"invalid_metadata"})


def too_large(folder: Path) -> Iterator[Case]:
    """Files of more bytes than are accepted, whatever is in them."""
    right = frozenset({"too_large"})

    def bytes_of(size: int) -> Limits:
        return Limits(LIMITS.max_duration_s, size, LIMITS.max_pixels, LIMITS.max_side)

    for kind in KINDS:
        path = base(folder, kind)
        yield Case(f"{kind}, a byte too large", path, right, limits=bytes_of(path.stat().st_size - 1))
    path = base(folder, "mp4")
    yield Case("just small enough", path, frozenset({FRAMES}), limits=bytes_of(path.stat().st_size))
    noise = _written(folder / "noise", np.random.default_rng(0).bytes(2_000))
    yield Case("noise", noise, right, limits=bytes_of(1_000))
    hollow = folder / "hollow"
    with hollow.open("wb") as file:
        file.truncate(LIMITS.max_bytes + 1)
    yield Case("a hole", hollow, right)


def invalid_metadata_mp4(folder: Path) -> Iterator[Case]:
    """MP4 with nonsense in one of its tables, the frames as they were."""
    source = base(folder, "faststart")
    data = source.read_bytes()
    any_length = _PUZZLING - {"too_long"}
    claims = frozenset({FRAMES, "invalid_metadata"})  # a header that only claims changes nothing of the film
    endless = frozenset({"too_long", "invalid_metadata"})
    huge = 2**31 - 1
    patches: list[tuple[str, bytes, int, tuple[int, ...], frozenset[str], float | None]] = [
        # what is done, the box, where in it, what is written there, what is right, how long the film is
        ("movie scale 0", b"mvhd", 12, (0,), _PUZZLING, FILM_S),
        ("movie scale 1", b"mvhd", 12, (1,), _PUZZLING, FILM_S),
        ("movie scale huge", b"mvhd", 12, (huge,), _PUZZLING, None),
        ("movie duration 0", b"mvhd", 16, (0,), claims, FILM_S),
        ("movie duration huge", b"mvhd", 16, (2**32 - 1,), claims, FILM_S),
        ("media scale 0", b"mdhd", 12, (0,), _PUZZLING, None),
        ("media scale 1", b"mdhd", 12, (1,), _PUZZLING, None),
        ("media scale huge", b"mdhd", 12, (huge,), any_length, None),
        ("media duration 0", b"mdhd", 16, (0,), claims, FILM_S),
        ("media duration huge", b"mdhd", 16, (2**32 - 1,), claims, FILM_S),
        ("track duration 0", b"tkhd", 20, (0,), claims, FILM_S),
        ("track duration huge", b"tkhd", 20, (2**32 - 1,), claims, FILM_S),
        ("time table claims more samples", b"stts", 8, (10**6,), any_length, FILM_S),
        ("time table claims billions of samples", b"stts", 8, (huge,), any_length, FILM_S),
        ("time table without entries", b"stts", 4, (0,), any_length, None),
        ("frames that last nothing", b"stts", 12, (0,), any_length, None),
        ("frames that last for ever", b"stts", 12, (huge,), endless, None),
        ("a sample of 2 GB", b"stsz", 12 + 4 * 10, (huge,), _UNREADABLE, None),
        ("samples of 1 byte", b"stsz", 4, (1,), _UNREADABLE, None),
        ("billions of samples", b"stsz", 8, (huge,), any_length, FILM_S),
        ("chunks behind the end", b"stco", 8, (0x7F000000,), _UNREADABLE, None),
        ("frames shown for ever later", b"ctts", 12, (huge,), _PUZZLING, None),
        ("chunks without samples", b"stsc", 12, (0,), _PUZZLING - {"too_long"}, FILM_S),
        ("chunks of billions of samples", b"stsc", 12, (huge,), _PUZZLING - {"too_long"}, FILM_S),
        ("chunk 0", b"stsc", 8, (0,), any_length, FILM_S),
        ("an edit behind the end", b"elst", 12, (huge - 1,), any_length, None),
        ("an edit of nothing", b"elst", 8, (0,), any_length, None),
        ("an edit that waits for weeks", b"elst", 8, (huge, 2**32 - 1), _PUZZLING - {FRAMES}, None),
        ("billions of edits", b"elst", 4, (huge,), any_length, FILM_S),
    ]
    for number, (name, box, at, values, allowed, duration_s) in enumerate(patches):
        path = _patched(source, folder / f"{number}.mp4", _find(data, box) + at, f">{len(values)}I", *values)
        yield Case(name, path, allowed, duration_s=duration_s)


def invalid_metadata_others(folder: Path) -> Iterator[Case]:
    """AVI, Matroska and FLV whose headers talk nonsense of how many frames there are and how long they last."""
    claims = frozenset({FRAMES, "invalid_metadata"})
    no_clock = _PUZZLING - {"truncated"}
    avi, mkv, flv = (base(folder, kind).read_bytes() for kind in ("avi", "mkv", "flv"))
    main, header = avi.index(b"avih") + 8, avi.index(b"strh") + 8
    scale, length = mkv.index(b"\x2a\xd7\xb1\x83") + 4, mkv.index(b"\x44\x89\x88") + 3
    said = flv.index(b"duration") + 9
    patches: list[tuple[str, str, int, str, float, frozenset[str], float | None]] = [
        ("main header of no frames", "avi", main + 16, "<I", 0, claims, FILM_S),
        ("main header of billions of frames", "avi", main + 16, "<I", 2**32 - 1, claims, FILM_S),
        ("frames of no time in the main header", "avi", main, "<I", 0, claims, FILM_S),
        ("stream of no frames", "avi", header + 32, "<I", 0, claims, FILM_S),
        ("stream of billions of frames", "avi", header + 32, "<I", 2**32 - 1, claims, FILM_S),
        ("stream that starts late", "avi", header + 28, "<I", 2**31 - 1, _PUZZLING, None),
        ("rate 0", "avi", header + 24, "<I", 0, no_clock, None),
        ("scale 0", "avi", header + 20, "<I", 0, no_clock, None),
        ("scale huge", "avi", header + 20, "<I", 2**31 - 1, no_clock - {FRAMES, PARTIAL}, None),
        ("duration not a number", "mkv", length, ">d", math.nan, claims, FILM_S),
        ("duration negative", "mkv", length, ">d", -3000.0, claims, FILM_S),
        ("duration huge", "mkv", length, ">d", 1e300, claims, FILM_S),
        ("duration infinite", "mkv", length, ">d", math.inf, claims, FILM_S),
        ("clock of no time", "mkv", scale - 1, ">I", 0x83000000, no_clock, None),
        ("clock of nanoseconds", "mkv", scale - 1, ">I", 0x83000001, no_clock, None),
        ("clock of 16 ms", "mkv", scale - 1, ">I", 0x83FFFFFF, _PUZZLING, None),
        ("duration 0", "flv", said, ">d", 0.0, claims, FILM_S),
        ("duration huge", "flv", said, ">d", 1e12, claims, FILM_S),
        ("duration negative", "flv", said, ">d", -1.0, claims, FILM_S),
        ("duration not a number", "flv", said, ">d", math.nan, claims, FILM_S),
    ]
    for number, (name, kind, at, form, value, allowed, duration_s) in enumerate(patches):
        number_of = int(value) if form[1] == "I" else value
        path = _patched(base(folder, kind), folder / f"{number}.{kind}", at, form, number_of)
        yield Case(f"{kind}: {name}", path, allowed, duration_s=duration_s)


def encrypted(folder: Path) -> Iterator[Case]:
    """Common encryption, as shops write it."""
    key = ("-encryption_key", "76a6c65c5ea762046bd749a2e632ccbb", "-encryption_kid", "a7e61c373e219033c21091fa607bf3b8")
    for codec, options in (("h264", _H264), ("hevc", (*_HEVC, "-tag:v", "hvc1"))):
        for sound in (False, True):
            for kind in ("mp4", "mov", "fragmented"):
                name = f"{codec} in {kind}{' with sound' if sound else ''}"
                shape = ("-movflags", "frag_keyframe+empty_moov") if kind == "fragmented" else ()
                muxer = ("-f", "mov" if kind == "mov" else "mp4")
                scheme = ("-encryption_scheme", "cenc-aes-ctr", *key)
                path = film(folder / name, *options, *_AAC, *shape, *scheme, *muxer, sound=sound)
                yield Case(name, path, frozenset({"encrypted"}))


def odd_but_good(folder: Path) -> Iterator[Case]:
    """Everything that cameras, phones and editors write: frames come out, and the film is as long as it is."""
    h264, flat = ("-c:v", "libx264", "-preset", "veryfast"), ("-pix_fmt", "yuv420p")
    ways: list[tuple[str, tuple[str, ...]]] = [
        ("hevc.mp4", _HEVC),
        ("vp9.webm", _VP9),
        ("vp8.webm", ("-c:v", "libvpx", "-deadline", "realtime", *flat)),
        ("av1.mp4", _AV1),
        ("mpeg4.avi", (*_MPEG4, "-bf", "2")),
        ("mpeg2.mpg", KINDS["mpg"][:-2]),
        ("mpeg2 fields.ts", ("-c:v", "mpeg2video", "-flags", "+ildct+ilme", *flat)),
        ("theora.ogv", KINDS["ogv"][:-2]),
        ("wmv.asf", KINDS["asf"][:-2]),
        ("prores.mov", ("-c:v", "prores", "-pix_fmt", "yuv422p10le")),
        ("mjpeg.mov", ("-c:v", "mjpeg", "-pix_fmt", "yuvj422p")),
        ("10 bit.mp4", (*h264, "-pix_fmt", "yuv420p10le")),
        ("4:2:2.mp4", (*h264, "-pix_fmt", "yuv422p")),
        ("4:4:4.mkv", (*h264, "-pix_fmt", "yuv444p")),
        ("grey.mp4", (*h264, "-pix_fmt", "gray")),
        ("lossless.mp4", (*h264, "-qp", "0", "-pix_fmt", "yuv444p")),
        ("oblong.mp4", (*h264, "-vf", "setsar=16/11", *flat)),
        ("one frame.mp4", (*h264, "-frames:v", "1", *flat)),
        ("with sound.flv", (*h264, *_AAC, *flat)),
        ("no edit list.mp4", (*h264, "-use_editlist", "0", *flat)),
        ("negative start.mp4", (*h264, "-movflags", "negative_cts_offsets", *flat)),
        ("late start.mkv", (*h264, "-output_ts_offset", "5", *flat)),
        ("clock that wraps.ts", (*h264, "-output_ts_offset", "95441", *flat)),
    ]
    for name, options in ways:
        path = film(folder / name, *options, sound=name == "with sound.flv")
        seconds = 0.04 if name == "one frame.mp4" else FILM_S
        yield Case(name, path, frozenset({FRAMES}), duration_s=seconds)
    yield from _odd_shapes(folder)


def _odd_shapes(folder: Path) -> Iterator[Case]:
    """Sizes, frame rates, turned pictures, films within films."""
    right = frozenset({FRAMES})
    for size in ("2x2", "161x119", "2x200", "1280x16"):
        options = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv444p")
        path = film(folder / f"{size}.mp4", *options, size=size, seconds=1)
        yield Case(f"{size} pixels", path, right, duration_s=1)
    for rate in ("24000/1001", "30000/1001", "50", "60000/1001"):
        path = film(folder / f"{rate.replace('/', ' ')}.mp4", *_H264, rate=rate, seconds=1.001)
        yield Case(f"{rate} frames a second", path, right, duration_s=1.0)
    whole = clips.Clip(base(folder, "mp4"), (), FILM_S)
    for turn in (90, 180, 270):
        turned = clips.rewrapped(whole, folder / f"turned {turn}.mp4", before=("-display_rotation", str(turn)))
        yield Case(f"turned by {turn} degrees", turned.path, right, duration_s=FILM_S)
    yield Case("edit list", clips.edit_listed(whole, folder / "edited.mp4", 1.0).path, right, duration_s=2)
    changing = clips.resolution_changing(folder / "changing.ts", folder)
    yield Case("another size half way", changing.path, right, duration_s=4)


def names(folder: Path) -> Iterator[Case]:
    """A good film whose name is trouble."""
    film_bytes = base(folder, "mp4").read_bytes()
    troubles = [
        "-i",
        "-i pipe:0 -y ..mp4",
        "%d.mp4",
        "%05d%n%s.mkv",
        "a'b\"c`d.mp4",
        "two\nlines\r.mp4",
        "\t tab and blanks .mp4 ",
        "$(reboot); rm -rf * & | > .mp4",
        "<script>alert(1)</script>.mp4".replace("/", "\u2215"),
        "\u202egpj.mp4",
        "concat:a|b.mp4",
        "http:example.mp4",
        "#EXTM3U.m3u8",
        "[0-9]*?.mp4",
        "\U0001f3ac" * 50,  # 200 bytes
        "\u0065\u0301\u00e9\ufeff.mp4",
        "back\\slash\\..\\x.mp4",
        *([os.fsdecode(b"\xff\xfe\x80.mp4")] if sys.platform == "linux" else []),  # no text in any encoding
    ]
    for name in troubles:
        yield Case(ascii(name), _written(folder / name, film_bytes), frozenset({FRAMES}), duration_s=FILM_S)


CATEGORIES: Final[dict[str, Callable[[Path], Iterator[Case]]]] = {
    make.__name__: make
    for make in (
        not_a_video,
        truncated,
        no_video_stream,
        no_frames,
        playlists,
        too_large_dimensions,
        too_long,
        too_large,
        invalid_metadata_mp4,
        invalid_metadata_others,
        encrypted,
        odd_but_good,
        names,
    )
}
