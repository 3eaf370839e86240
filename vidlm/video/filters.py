"""ffmpeg filters that bring a frame of any size, shape and colour to what a model or a person is to see.

ffmpeg-python nodes: each function takes a stream and returns it filtered. Pure: nothing runs here.
"""

from __future__ import annotations

from typing import Any, Final

from vidlm.video.source import Hdr, SourceReport

_HDR_WHITE: Final = 203
"""White paper in HDR, in cd/m2 (ITU-R BT.2408)."""


def for_model(stream: Any, report: SourceReport, width: int, height: int) -> Any:
    """Square pixels, 4:2:0, BT.601 of limited range: what decord turns into the right RGB."""
    if report.hdr:
        stream = _tone_mapped(stream.filter("scale", width, height, flags="bicubic"), report.hdr)
    else:
        stream = stream.filter("scale", width, height, flags="bicubic", out_color_matrix="bt601", out_range="tv")
    return stream.filter("setsar", 1).filter("format", "yuv420p")


def for_people(stream: Any, report: SourceReport, width: int, height: int) -> Any:
    """What a JPEG holds."""
    if report.hdr:
        stream = _tone_mapped(stream.filter("scale", width, height), report.hdr)
    return stream.filter("scale", width, height, out_range="pc").filter("setsar", 1).filter("format", "yuvj420p")


def for_browsers(stream: Any, report: SourceReport, width: int, height: int) -> Any:
    """4:2:0, BT.709 of limited range: what players take HD video to be."""
    if report.hdr:
        stream = _tone_mapped(stream.filter("scale", width, height), report.hdr, "709")
    else:
        stream = stream.filter("scale", width, height, out_color_matrix="bt709", out_range="tv")
    return (
        stream.filter("setsar", 1)
        .filter("format", "yuv420p")
        .filter("setparams", color_primaries="bt709", color_trc="bt709", colorspace="bt709", range="tv")
    )


def _tone_mapped(stream: Any, hdr: Hdr, matrix: str = "170m") -> Any:
    """HDR as a screen of ordinary brightness shows it, so that a model sees what people see.

    White paper lands just below the brightest value, and up to ten times of it stays distinguishable. Files name their
    colours carelessly, so what HDR always is in is said again.
    """
    return (
        stream.filter("setparams", color_primaries="bt2020", color_trc=hdr, colorspace="bt2020nc")
        .filter("zscale", t="linear", npl=_HDR_WHITE, p="bt709", m="gbr")
        .filter("format", "gbrpf32le")
        .filter("tonemap", "mobius", desat=0, peak=10)
        .filter("zscale", t="bt709", m=matrix, r="tv")
        .filter("format", "yuv420p")
    )
