"""What a file's first bytes and outermost boxes say it is. PURE but for reading: no decoder, nothing is trusted.

Decides nothing alone: the demuxer's own allow-list keeps formats out. This module gives refused files the right code
(a playlist in disguise is not "not a video") and tells a cut file from a whole one by the size it declares.
"""

from __future__ import annotations

import math
import os
import re
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Final


class Kind(StrEnum):
    """What the beginning of a file looks like."""

    VIDEO = "video"  # a container on the allow-list
    PLAYLIST = "playlist"  # text that makes a demuxer open other files: HLS, ffconcat, DASH, SDP, smooth streaming
    AUDIO = "audio"
    SUBTITLES = "subtitles"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Layout:
    """`declared_bytes`: the size the file's own structure claims, None where the format does not say.

    `has_index` is False for an MP4/MOV without any `moov` box, which nothing can play.  `web`: "mp4" or "webm" by the
    file's own word, None for what browsers do not know.  `claimed_s`: how long the file says that it plays, where its
    demuxer would not repeat that.
    """

    kind: Kind
    size_bytes: int
    declared_bytes: int | None = None
    has_index: bool = True
    web: str | None = None
    claimed_s: float | None = None

    @property
    def cut(self) -> bool:
        return self.declared_bytes is not None and self.declared_bytes > self.size_bytes


_PLAYLIST: Final = re.compile(
    rb"\s*(#EXTM3U|ffconcat\s+version|\[playlist\]|v=0\r?\no=|m=video|RTSP/|(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(MPD|SmoothStreamingMedia|smil|asx)\b)",
    re.IGNORECASE | re.DOTALL,
)
_SUBTITLES: Final = re.compile(
    rb"\s*(WEBVTT|\[Script Info\]|\d+\s*\r?\n\d\d:\d\d:\d\d[,.]\d+\s+-->|\{\d+\}\{\d+\})", re.IGNORECASE
)
_BOX_TYPES: Final = frozenset(
    b"ftyp styp moov moof mdat free skip wide pnot udta uuid meta mfra sidx ssix emsg prft pdin PICT".split()
)
_IMAGE_BRANDS: Final = frozenset(b"heic heix hevc hevx heim heis mif1 msf1 avif avis jxl ".split())
_QUICKTIME: Final = b"qt  "
_DOC_TYPE_WEBM: Final = b"\x42\x82\x84webm"
_FLV: Final = b"FLV\x01"
_TS_PACKET: Final = 188
_EBML: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT: Final = b"\x18\x53\x80\x67"
_ASF: Final = bytes.fromhex("3026b2758e66cf11")
_MAX_BOXES: Final = 100_000  # a fragmented file of four hours has some tens of thousands


def read_layout(file: BinaryIO) -> Layout:
    """Read a seekable binary file's outermost structure: at most 4 kB and the headers of its boxes."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(4096)
    kind = sniff(head)
    if head[4:8] in _BOX_TYPES:
        return _box_layout(file, size, kind)
    if head.startswith(_EBML):
        return Layout(kind, size, _segment_end(head), web="webm" if _DOC_TYPE_WEBM in head[:64] else None)
    if head.startswith(b"RIFF"):
        return Layout(kind, size, int.from_bytes(head[4:8], "little") + 8)
    if head.startswith(_FLV):
        return _flv_layout(head, size)
    if _is_transport_stream(head):
        return Layout(kind, size, -(-size // _TS_PACKET) * _TS_PACKET)
    return Layout(kind, size)


def sniff(head: bytes) -> Kind:
    """The kind of file that begins with `head` (4 kB are plenty)."""
    text = head.removeprefix(b"\xef\xbb\xbf")
    if _PLAYLIST.match(text):
        return Kind.PLAYLIST
    if _SUBTITLES.match(text):
        return Kind.SUBTITLES
    if _is_video(head):
        return Kind.VIDEO
    if _is_audio(head):
        return Kind.AUDIO
    return Kind.UNKNOWN


def _is_video(head: bytes) -> bool:
    if head[4:8] in _BOX_TYPES:
        return not (head[4:8] == b"ftyp" and head[8:12] in _IMAGE_BRANDS)
    return (
        _is_transport_stream(head)
        or head.startswith((_EBML, _FLV, b"OggS", _ASF, b"\x00\x00\x01\xba"))
        or (head.startswith(b"RIFF") and head[8:12] in {b"AVI ", b"AVIX"})
    )


def _is_transport_stream(head: bytes) -> bool:
    """Three sync bytes, a packet apart (ISO/IEC 13818-1, 2.4.3)."""
    return len(head) > 2 * _TS_PACKET and head[0] == head[_TS_PACKET] == head[2 * _TS_PACKET] == 0x47


def _flv_layout(head: bytes, size: int) -> Layout:
    """Size and length by the file's `onMetaData`, where it says them (Adobe Flash Video File Format, E.5)."""
    declared = _amf_number(head, b"filesize")
    claimed_s = _amf_number(head, b"duration")
    return Layout(
        Kind.VIDEO,
        size,
        int(declared) if declared is not None and size <= declared <= size * 1e6 else None,
        claimed_s=claimed_s if claimed_s is not None and claimed_s > 0 else None,
    )


def _amf_number(head: bytes, name: bytes) -> float | None:
    """A finite number under that key: the key's length in two bytes, the key, the type 0, a double (AMF 0, 2.2)."""
    at = head.find(len(name).to_bytes(2, "big") + name + b"\0")
    if at < 0 or at + len(name) + 11 > len(head):
        return None
    (value,) = struct.unpack_from(">d", head, at + len(name) + 3)
    return float(value) if math.isfinite(value) else None


def _is_audio(head: bytes) -> bool:
    if head.startswith((b"ID3", b"fLaC", b"#!AMR", b"FORM", b"caff", b"MAC ", b"wvpk", b".snd")):
        return True
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return True
    # MPEG audio and ADTS: a sync word, and the same header again and again (noise repeats two bytes rarely)
    return len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head.count(head[:2]) >= 3


def _box_layout(file: BinaryIO, size: int, kind: Kind) -> Layout:
    """Walk the outermost boxes of an ISO base media file (ISO/IEC 14496-12, 4.2): size32 type [size64] payload."""
    position, has_index = 0, False
    file.seek(4)
    web = "mp4" if file.read(4) == b"ftyp" and file.read(4) != _QUICKTIME else None
    for _ in range(_MAX_BOXES):
        file.seek(position)
        header = file.read(16)
        if len(header) < 8 or header[4:8] not in _BOX_TYPES:
            break
        has_index |= header[4:8] == b"moov"
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:  # to the end of the file
            length = size - position
        if length < 8:
            break
        position += length
        if position >= size:
            break
    return Layout(kind, size, position or None, has_index, web)


def _segment_end(head: bytes) -> int | None:
    """Where a Matroska segment ends by its own account (RFC 8794: element id, then a variable-length size)."""
    header_length, body = _vint(head, 4)
    if header_length is None or head[(start := body + header_length) : start + 4] != _SEGMENT:
        return None
    length, body = _vint(head, start + 4)
    return None if length is None else body + length


def _vint(data: bytes, at: int) -> tuple[int | None, int]:
    """The EBML variable-length integer at `at` and the offset behind it; None for "unknown" or nothing there."""
    if at >= len(data) or data[at] == 0:
        return None, at
    width = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), at + width
