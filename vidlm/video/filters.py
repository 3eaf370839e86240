"""ffmpeg filters that bring a frame of any size, shape and colour to what a model or a person is to see. Pure text."""

from __future__ import annotations

from typing import Final

from vidlm.video.report import Hdr, SourceReport

_HDR_WHITE: Final = 203
"""White paper in HDR, in cd/m2 (ITU-R BT.2408)."""


def for_model(report: SourceReport, width: int, height: int) -> str:
    """Square pixels, 4:2:0, BT.601 of limited range: what decord turns into the right RGB."""
    scale = f"scale={width}:{height}:flags=bicubic"
    colours = f",{_tone_mapped(report.hdr)}" if report.hdr else ":out_color_matrix=bt601:out_range=tv"
    return f"{scale}{colours},setsar=1,format=yuv420p"


def for_people(report: SourceReport, width: int, height: int) -> str:
    """What a JPEG holds."""
    scale = f"scale={width}:{height}"
    if report.hdr:
        scale += f",{_tone_mapped(report.hdr)},scale={width}:{height}"
    return f"{scale}:out_range=pc,setsar=1,format=yuvj420p"


def for_browsers(report: SourceReport, width: int, height: int) -> str:
    """4:2:0, BT.709 of limited range: what players take HD video to be."""
    scale = f"scale={width}:{height}"
    colours = f",{_tone_mapped(report.hdr, '709')}" if report.hdr else ":out_color_matrix=bt709:out_range=tv"
    said = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
    return f"{scale}{colours},setsar=1,format=yuv420p,{said}"


def _tone_mapped(hdr: Hdr, matrix: str = "170m") -> str:
    """HDR as a screen of ordinary brightness shows it, so that a model sees what people see.

    White paper lands just below the brightest value, and up to ten times of it stays distinguishable. Files name their
    colours carelessly, so what HDR always is in is said again.
    """
    source = f"setparams=color_primaries=bt2020:color_trc={hdr}:colorspace=bt2020nc"
    linear = f"zscale=t=linear:npl={_HDR_WHITE}:p=bt709:m=gbr,format=gbrpf32le"
    return f"{source},{linear},tonemap=mobius:desat=0:peak=10,zscale=t=bt709:m={matrix}:r=tv,format=yuv420p"
