"""The program that opens an untrusted file with PyAV and prints one line of JSON. Always a child process.

`python -I probe.py describe FILE` demuxes the whole file and reports what is in it: claims of headers are reported
beside what the packets say, and nothing is judged here (that is `report.py`).
`python -I probe.py damage FILE STREAM` decodes it on one thread and reports the packets that the decoder complained of.
It imports nothing of ours, and PyAV is imported by nobody else.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

FORMATS: Final = "mov,matroska,avi,mpegts,flv,ogg,mpeg,asf"
PROTOCOLS: Final = "file,pipe"
MAX_PACKETS: Final = 4_000_000  # 18 hours at 60 frames a second
_TS_DISCONT: Final = 0x0200  # AVFMT_TS_DISCONT, libavformat/avformat.h: times may jump, readers straighten them
_JUMP_S: Final = 10.0  # ffmpeg's -dts_delta_threshold


def _open(path: str) -> InputContainer:
    import av  # noqa: PLC0415 -- only ever in the child

    options = {"format_whitelist": FORMATS, "protocol_whitelist": PROTOCOLS}
    return av.open(f"file:{path}", options=options, metadata_errors="replace")


def _main_stream(container: InputContainer) -> VideoStream | None:
    """The largest video stream that is not a cover picture, the first among equals."""
    from av.stream import Disposition  # noqa: PLC0415

    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [s for s in container.streams.video if not s.disposition & pictures]
    return max(streams, key=lambda s: (s.codec_context.width or 0) * (s.codec_context.height or 0), default=None)


def describe(path: str, max_pixels: int) -> dict[str, Any]:
    """What the demuxer finds. Times are integers of microseconds on the file's own clock."""
    import av  # noqa: PLC0415

    try:
        container = _open(path)
    except av.error.FFmpegError as exc:
        return {"error": "open", "detail": type(exc).__name__}
    with container:
        report: dict[str, Any] = {
            "container": container.format.name,
            "discontinuous": bool(int(container.format.flags) & _TS_DISCONT),
            "start_us": container.start_time,
            "claimed_us": container.duration,
            "audio": len(container.streams.audio) > 0,
        }
        stream = _main_stream(container)
        if stream is None:
            return {**report, "error": "no_video_stream"}
        context = stream.codec_context
        report |= {
            "stream": stream.index,
            "codec": context.name,
            "width": context.width,
            "height": context.height,
            "sar": _ratio(stream.sample_aspect_ratio),
            "rotation": 0,
            "rate": _ratio(stream.average_rate),
            "stream_start_us": _us(stream.start_time, stream),
            "stream_claimed_us": _us(stream.duration, stream),
        }
        return report | _packets(container, stream, max_pixels)


def _packets(container: InputContainer, stream: VideoStream, max_pixels: int) -> dict[str, Any]:
    """Demux to the end: when every packet is shown, which are key frames, what is encrypted, where the stream ends."""
    import av  # noqa: PLC0415

    found: dict[str, Any] = {"times_us": [], "keys_us": [], "encrypted": False, "broken": False}
    latest = (-sys.maxsize, 0)  # the last packet shown: its time and its duration
    straight = _Straightener(bool(int(container.format.flags) & _TS_DISCONT))
    try:
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            shift = straight(packet)
            if not found["times_us"]:
                found["encrypted"] = packet.has_sidedata("encryption_info")
                found |= _first_frame(stream, packet, max_pixels)
            stamp = packet.dts if packet.pts is None else packet.pts
            time = _us(stamp, packet)
            if time is None or packet.is_discard:  # a discarded packet is decoded and not shown: edit lists
                continue
            time += shift
            found["times_us"].append(time)
            if packet.is_keyframe:
                found["keys_us"].append(time)
            latest = max(latest, (time, _us(packet.duration, packet) or 0))
            if len(found["times_us"]) > MAX_PACKETS:
                return {"error": "too_many_packets"}
    except av.error.FFmpegError:
        found["broken"] = True
    return {**found, "last_us": latest[1]}


class _Straightener:
    """Follows time stamps over the jumps that broadcast formats allow, by ffmpeg's own rule (`ts_discontinuity_detect`)."""

    def __init__(self, active: bool) -> None:
        self._active = active
        self._next_us: int | None = None
        self._shift_us = 0

    def __call__(self, packet: Packet) -> int:
        """Microseconds to add to this packet's times."""
        dts = _us(packet.dts, packet)
        if not self._active or dts is None:
            return self._shift_us
        if self._next_us is not None:
            delta = dts + self._shift_us - self._next_us
            if abs(delta) > _JUMP_S * 1e6 or delta < -100_000:
                self._shift_us -= delta
        self._next_us = dts + self._shift_us + (_us(packet.duration, packet) or 0)
        return self._shift_us


def _first_frame(stream: VideoStream, packet: Packet, max_pixels: int) -> dict[str, Any]:
    """Rotation and pixel shape as the first frame carries them; nothing if it does not decode on its own."""
    import av  # noqa: PLC0415

    context = stream.codec_context
    if not context.width or context.width * context.height > max_pixels:
        return {}
    try:
        context.options = {"max_pixels": str(max_pixels)}
        context.thread_type = "NONE"
        frames = [*context.decode(packet), *context.decode(None)]
    except (av.error.FFmpegError, RuntimeError, ValueError):
        return {}
    if not frames:
        return {}
    return {"rotation": int(frames[0].rotation), "width": frames[0].width, "height": frames[0].height}


def damage(path: str, index: int) -> dict[str, Any]:
    """Decode on one thread, so that each complaint of the decoder belongs to the packet just given to it."""
    import av  # noqa: PLC0415

    av.logging.set_level(av.logging.ERROR)
    bad: list[int] = []
    with _open(path) as container, av.logging.Capture() as complaints:
        stream = container.streams[index]
        stream.codec_context.thread_type = "NONE"
        straight = _Straightener(bool(int(container.format.flags) & _TS_DISCONT))
        try:
            for packet in container.demux(stream):
                shift = straight(packet)
                broken = bool(complaints)
                try:
                    packet.decode()
                except av.error.FFmpegError:
                    broken = True
                time = _us(packet.dts if packet.pts is None else packet.pts, packet)
                if (broken or complaints) and time is not None:
                    bad.append(time + shift)
                complaints.clear()
        except av.error.FFmpegError:
            pass  # the end of what can be read; `describe` has seen it too
    return {"bad_us": bad}


def _us(stamp: int | None, of: Packet | VideoStream) -> int | None:
    base = of.time_base
    if stamp is None or base is None:
        return None
    return stamp * 1_000_000 * base.numerator // base.denominator


def _ratio(value: Any) -> list[int] | None:
    return [value.numerator, value.denominator] if value else None


def main(arguments: list[str]) -> None:
    mode, path, number = arguments
    result = describe(path, int(number)) if mode == "describe" else damage(path, int(number))
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
