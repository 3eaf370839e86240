"""The program that opens an untrusted file with PyAV and prints one line of JSON. Always a child process.

`python -I probe.py describe FILE MAX_PIXELS MAX_FRAMES MAX_STREAMS` demuxes the whole file and reports what is in it:
what headers claim stands beside what the packets say, and nothing is judged here (that is `report.py`).
`python -I probe.py damage FILE STREAM` decodes it on one thread and reports the packets that the decoder complained of.
Times are integers of microseconds on the file's own clock. This module imports nothing of ours, and nobody else imports
PyAV.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

FORMATS: Final = "mov,matroska,avi,mpegts,flv,ogg,mpeg,asf"
PROTOCOLS: Final = "file,pipe"
_TS_DISCONT: Final = 0x0200  # AVFMT_TS_DISCONT, libavformat/avformat.h: times may jump, readers straighten them
_UNSPECIFIED: Final = 2  # AVCOL_TRC_UNSPECIFIED
_IDR: Final = 5
_SLICES: Final = frozenset(range(1, 6))  # of a picture, IDR and data partitions included
_EXTENDED: Final = frozenset((14, 15, 20, 21))
_MOST_ORDERED: Final = 1_000_000  # packets whose order is reported; of a longer film everything is decoded
_JUMP_US: Final = 10_000_000  # ffmpeg's -dts_delta_threshold


def describe(path: str, max_pixels: int, max_frames: int, max_streams: int) -> dict[str, Any]:
    """What the demuxer finds: the container, its main video stream, and every packet of that."""
    import av  # noqa: PLC0415 -- only ever in the child

    try:
        container = _open(path)
    except av.error.FFmpegError as exc:
        return {"error": "open", "detail": type(exc).__name__}
    with container:
        report: dict[str, Any] = {
            "container": container.format.name,
            "discontinuous": _discontinuous(container),
            "start_us": container.start_time,
            "claimed_us": container.duration,
            "audio": len(container.streams.audio) > 0,
            **_sound(container),
        }
        if len(container.streams) == 0:
            return {"error": "open", "detail": "no streams"}
        if len(container.streams) > max_streams:
            return {**report, "error": "too_many_streams"}
        stream = _main_stream(container)
        if stream is None:
            return {**report, "error": "no_video_stream"}
        context = stream.codec_context
        report |= {
            "stream": stream.index,
            "codec": context.codec.canonical_name,
            "width": context.width,
            "height": context.height,
            "sar": _ratio(stream.sample_aspect_ratio),
            "pixels": context.pix_fmt,
            "rotation": 0,  # degrees counterclockwise
            "transfer": _number(context.color_trc),
            "rate": _ratio(stream.average_rate),
            "stream_start_us": _us(stream.start_time, stream),
            "stream_claimed_us": _us(stream.duration, stream),
        }
        report |= _packets(container, stream, max_pixels, max_frames)
        if "error" not in report and report["packets"] < stream.frames:
            report["broken"] = report["broken"] or _lost_packets(path, stream.index, stream.frames)
        return report


def _lost_packets(path: str, index: int, declared: int) -> bool:
    """Whether a sample table declares more frames than can be read; edit lists are left aside, for they skip frames."""
    with _open(path, ignore_editlist="1") as container:
        stream = next(stream for stream in container.streams.video if stream.index == index)
        return sum(packet.size > 0 for packet in container.demux(stream)) < declared


def damage(path: str, index: int) -> dict[str, Any]:
    """Decode on one thread, so that each complaint of the decoder belongs to the packet just given to it."""
    import av  # noqa: PLC0415

    bad: list[int] = []
    with _open(path) as container, av.logging.Capture() as complaints:
        stream = container.streams.video[[s.index for s in container.streams.video].index(index)]
        stream.codec_context.thread_type = "NONE"
        try:
            for packet, time_us in _stamped(container, stream):
                broken = bool(complaints)  # the demuxer's, of the bytes that lead to this packet
                try:
                    packet.decode()
                except av.error.FFmpegError:
                    broken = True
                if (broken or complaints) and time_us is not None:
                    bad.append(time_us)
                complaints.clear()
        except av.error.FFmpegError:
            pass  # the end of what can be read; `describe` has met it too
    return {"bad_us": bad}


def _open(path: str, **more: str) -> InputContainer:
    import av  # noqa: PLC0415

    av.logging.set_level(av.logging.ERROR)
    options = {"format_whitelist": FORMATS, "protocol_whitelist": PROTOCOLS, **more}
    return av.open(f"file:{path}", options=options, metadata_errors="replace")


def _sound(container: InputContainer) -> dict[str, Any]:
    """The first audio stream's codec and start, on the file's clock."""
    for stream in container.streams.audio[:1]:
        context = stream.codec_context
        return {"sound": context.name if context else None, "sound_start_us": _us(stream.start_time, stream)}
    return {"sound": None, "sound_start_us": None}


def _discontinuous(container: InputContainer) -> bool:
    return bool(int(container.format.flags) & _TS_DISCONT)


def _main_stream(container: InputContainer) -> VideoStream | None:
    """The largest video stream that can be decoded and is not a cover picture, the first among equals."""
    from av.stream import Disposition  # noqa: PLC0415

    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [s for s in container.streams.video if not s.disposition & pictures and s.codec_context is not None]
    return max(streams, key=lambda s: (s.codec_context.width or 0) * (s.codec_context.height or 0), default=None)


def _packets(container: InputContainer, stream: VideoStream, max_pixels: int, max_frames: int) -> dict[str, Any]:
    """Demux to the end: when every packet is shown, which are key frames, what is encrypted or incomplete."""
    import av  # noqa: PLC0415

    times: list[int] = []
    keys: list[int] = []
    corrupt: list[int] = []
    order: list[tuple[float | None, int]] = []
    importance: list[str] = []
    length_bytes = _length_bytes(stream)
    first: dict[str, Any] = {}
    last, reached, broken, count = (-sys.maxsize, 0), 0, False, 0
    with av.logging.Capture() as complaints:
        try:
            for packet, time_us in _stamped(container, stream):
                first = first or _first_packet(stream, packet, max_pixels)
                count += 1
                reached = max(reached, (packet.pos or 0) + packet.size)
                hidden = time_us is None or packet.is_discard  # decoded and not shown: outside the edit list
                if length_bytes and count <= _MOST_ORDERED and packet.pos is not None:
                    order.append((None if hidden else _seconds(packet), packet.pos))
                    importance.append(_importance(memoryview(packet), length_bytes))
                if time_us is None or packet.is_discard:
                    continue
                times.append(time_us)
                last = max(last, (time_us, _us(packet.duration, packet) or 0))
                if packet.is_keyframe:
                    keys.append(time_us)
                if packet.is_corrupt:
                    corrupt.append(time_us)
                if len(times) > max_frames:
                    return {"error": "too_many_frames"}
        except av.error.FFmpegError:
            broken = True
        broken = broken or bool(complaints)
    return {
        **first,
        "times_us": times,
        "keys_us": keys,
        "corrupt_us": corrupt,
        "order": order,  # in decoding order: when a packet is shown (in seconds, exactly) or None, and where it begins
        "importance": "".join(importance) if all(importance) and len(importance) == count else "",
        "last_us": last[1],  # the duration of the packet that is shown last
        "reached_bytes": reached,
        "packets": count,
        "broken": broken,
    }


def _length_bytes(stream: VideoStream) -> int:
    """How many bytes the lengths of H.264's units have, by `avcC` (ISO/IEC 14496-15, 5.3.3); 0 for anything else."""
    setup = stream.codec_context.extradata
    if stream.codec_context.name != "h264" or not setup or len(setup) < 7 or setup[0] != 1:
        return 0
    return (setup[4] & 3) + 1


def _importance(data: memoryview, length_bytes: int) -> str:
    """What an H.264 picture is to others: "I"DR, "r"eferred to, or "s"pare (`nal_ref_idc` is 0 in all its slices).

    Empty if anything about the packet is odd: a broken length, or units of scalable or stereo video (H.264, table 7-1).
    """
    at, kinds, important = 0, set(), 0
    while at + length_bytes < len(data):
        length = int.from_bytes(data[at : at + length_bytes], "big")
        at += length_bytes
        if length == 0 or at + length > len(data):
            return ""
        kind = data[at] & 31
        kinds.add(kind)
        important |= data[at] & 0x60 if kind in _SLICES else 0
        at += length
    if at != len(data) or kinds & _EXTENDED or not kinds & _SLICES:
        return ""
    return "I" if _IDR in kinds else "r" if important else "s"


def _stamped(container: InputContainer, stream: VideoStream) -> Iterator[tuple[Packet[Any], int | None]]:
    """Packets of the stream in file order with the time each is shown at, None where the file does not say.

    Broadcast formats may jump in time; jumps are straightened by the rule that ffmpeg uses when it decodes
    (`ts_discontinuity_detect` in fftools/ffmpeg_demux.c), so that both clocks agree.
    """
    straighten = _discontinuous(container)
    shift, expected = 0, None
    for packet in container.demux(stream):
        if packet.size == 0:
            continue
        dts = _us(packet.dts, packet)
        if straighten and dts is not None:
            delta = 0 if expected is None else dts + shift - expected
            if abs(delta) > _JUMP_US or delta < -100_000:
                shift -= delta
            expected = dts + shift + (_us(packet.duration, packet) or 0)
        time_us = dts if packet.pts is None else _us(packet.pts, packet)
        yield packet, None if time_us is None else time_us + shift


def _first_packet(stream: VideoStream, packet: Packet[Any], max_pixels: int) -> dict[str, Any]:
    """What only a packet can tell: encryption, and rotation and size as its frame carries them, if it decodes alone."""
    import av  # noqa: PLC0415

    found: dict[str, Any] = {"encrypted": packet.has_sidedata("encryption_info")}
    context = stream.codec_context
    if found["encrypted"] or not context.width or context.width * context.height > max_pixels:
        return found
    try:
        context.options = {"max_pixels": str(max_pixels)}
        context.thread_type = "NONE"
        frames = [*context.decode(packet), *context.decode(None)]
    except (av.error.FFmpegError, RuntimeError, ValueError):
        return found
    for frame in frames[:1]:
        found |= {"rotation": int(frame.rotation), "width": frame.width, "height": frame.height}
        if _number(frame.color_trc) != _UNSPECIFIED:
            found["transfer"] = _number(frame.color_trc)
    return found


def _us(stamp: int | None, of: Packet[Any] | VideoStream | AudioStream) -> int | None:
    base = of.time_base
    return None if stamp is None or base is None else stamp * 1_000_000 * base.numerator // base.denominator


def _seconds(packet: Packet[Any]) -> float | None:
    """When it is shown, on the file's clock; not rounded to microseconds."""
    stamp = packet.dts if packet.pts is None else packet.pts
    return None if stamp is None else stamp * packet.time_base.numerator / packet.time_base.denominator


def _number(value: Any) -> int:
    return _UNSPECIFIED if value is None else int(value)


def _ratio(value: Any) -> list[int] | None:
    return [value.numerator, value.denominator] if value else None


def main(arguments: list[str]) -> None:
    """Answer one question about one file on stdout."""
    mode, path, first, *others = arguments
    if mode == "describe":
        max_frames, max_streams = map(int, others)
        result = describe(path, int(first), max_frames, max_streams)
    else:
        result = damage(path, int(first))
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
