"""What a file's first bytes and outermost boxes say it is. PURE but for reading: no decoder, nothing is trusted.

Decides nothing alone: the demuxer's own allow-list keeps formats out. This module gives refused files the right code
(a playlist in disguise is not "not a video") and tells a cut file from a whole one by the size it declares.
"""

from __future__ import annotations

import os
import re
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

    `has_index` is False for an MP4/MOV without any `moov` box, which nothing can play.
    """

    kind: Kind
    size_bytes: int
    declared_bytes: int | None = None
    has_index: bool = True

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
        return Layout(kind, size, _segment_end(head))
    if head.startswith(b"RIFF"):
        return Layout(kind, size, int.from_bytes(head[4:8], "little") + 8)
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
    transport = len(head) > 376 and head[0] == head[188] == head[376] == 0x47  # three MPEG-TS sync bytes
    return (
        transport
        or head.startswith((_EBML, b"FLV\x01", b"OggS", _ASF, b"\x00\x00\x01\xba"))
        or (head.startswith(b"RIFF") and head[8:12] in {b"AVI ", b"AVIX"})
    )


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
    return Layout(kind, size, position or None, has_index)


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
