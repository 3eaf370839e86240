"""A second, denser look at a part of a source: frames at any rate and size, through the same confined child.

    proxy      |     |     |     |     |     |      what every video was sampled at
    resample               | | | | | |              more of it where a question or a flag needs it

ffmpeg is sent to the key frame before the part, and says of every frame which source frame it shows. Where those are
not the ones that were due (containers without an index, clocks that jump), the source is decoded from its beginning
instead: slower, and never wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import ffmpeg
import numpy as np
import numpy.typing as npt

from vidlm.domain import FrameBatch, Span
from vidlm.errors import MediaError, StorageError
from vidlm.video import outputs, sandbox
from vidlm.video.frames import read_frames
from vidlm.video.outputs import PROXY, SHOWN, THREADS
from vidlm.video.proxy import decode_deadline_s, input_options, read_shown
from vidlm.video.report import describe_source
from vidlm.video.scratch import scratch_folder
from vidlm.video.sniff import read_layout
from vidlm.video.source import Limits, SourceReport

_SOURCE: Final = "source"
LATE_S: Final = 1e-4
"""A frame so much after a time is taken to be on screen then: sums of frame times fall short by less."""
MAX_FRAMES: Final = 2048
"""Frames of one look at most: they are held in memory."""


def resample(source: Path, span: Span, *, fps: float, size: tuple[int, int], limits: Limits) -> FrameBatch:
    """The frames on screen at `span.start_s + n / fps` for as long as that lies in the span and in the video.

    size: (height, width) of the frames, both even.  Times are those of the source as played.
    Raises `ValueError` for a span without a sampling time in the video or with more than `MAX_FRAMES` of them,
    `MediaError` for what cannot be decoded, `ToolError` and `StorageError` for what is not the file's fault.
    """
    try:
        with source.open("rb") as file:
            layout = read_layout(file)
    except OSError as exc:
        raise StorageError(f"the source cannot be read: {exc.strerror}") from exc
    with scratch_folder("vidlm-resample-") as folder:
        (folder / _SOURCE).symlink_to(source.resolve())
        report = describe_source(folder, _SOURCE, layout, limits)
        rate = Fraction(fps).limit_denominator(1001)
        times_s = sampling_times(span, rate, report.readable_s)
        look = _Look(folder=folder, report=report, rate=rate, times_s=times_s, size=size, limits=limits)
        for start_s in (report.key_time_before(times_s[0]), None):
            if look.succeeds(start_s):
                return read_frames(folder / PROXY, size, times_s)
    raise MediaError("decode_failed", "this part of the video cannot be decoded")


def sampling_times(span: Span, rate: Fraction, readable_s: float) -> list[float]:
    """`span.start_s + n / rate` below the ends of span and video. Raises `ValueError` for none or too many."""
    end_s = min(span.end_s, readable_s)
    count = max(0, math.ceil((end_s - span.start_s) * rate - 1e-9))
    if not 0 < count <= MAX_FRAMES:
        raise ValueError(f"{count} frames in [{span.start_s}, {span.end_s}) of {readable_s:.3f} s at {rate} a second")
    return [span.start_s + float(n / rate) for n in range(count)]


@dataclass(frozen=True, kw_only=True)
class _Look:
    """One part of one source, tried from different starting points."""

    folder: Path
    report: SourceReport
    rate: Fraction
    times_s: Sequence[float]
    size: tuple[int, int]
    limits: Limits

    def succeeds(self, start_s: float | None) -> bool:
        """Decode from `start_s` (from the beginning if None); whether every frame is the one that was due."""
        for left in (PROXY, SHOWN):
            (self.folder / left).unlink(missing_ok=True)
        confinement = sandbox.Confinement(
            deadline_s=decode_deadline_s(self.report, self.limits),
            file_bytes=16 * 1024**2 + len(self.times_s) * self.size[0] * self.size[1] * 3,
            threads=THREADS,
            read=((self.folder / _SOURCE).resolve(),),
        )
        finished = sandbox.run(self._command(start_s), folder=self.folder, confinement=confinement)
        if finished.timed_out:
            raise MediaError("decode_timeout", "decoding took longer than the video's length and size allow")
        _, shown_s = read_shown(self.folder / SHOWN)
        if len(shown_s) != len(self.times_s):
            return False
        stamps_s = np.asarray([np.nan if stamp is None else stamp for stamp in shown_s])
        if start_s is None:
            return self._are_due(stamps_s)
        return not np.isnan(stamps_s).any() and self._are_due(stamps_s - self.report.origin_s)

    def _are_due(self, shown_s: npt.NDArray[np.float64]) -> bool:
        """Whether each frame is the last one due at its time; to half a frame, as clocks of containers are coarse.

        Frames without a time stamp (NaN) were counted from the first one and are taken at that.
        """
        due = self.report.times_s
        index = np.searchsorted(due, np.asarray(self.times_s) + LATE_S, side="right") - 1
        off_s = np.abs(np.maximum(shown_s, 0.0) - due[np.maximum(index, 0)])
        return not bool((off_s >= 0.5 / self.report.fps).any())

    def _command(self, start_s: float | None) -> list[str]:
        options = input_options(self.report, self.limits)
        shift_s = self.times_s[0] + LATE_S
        if start_s is not None:
            options |= {"ss": f"{start_s:.6f}", "noaccurate_seek": None, "copyts": None}
            options.pop("itsoffset", None)
            shift_s += self.report.origin_s
        early_s = self.report.times_s[0] + 1e-3
        stream = ffmpeg.input(f"file:{_SOURCE}", **options)[str(self.report.stream)]
        if start_s is None:
            stream = stream.filter("setpts", f"if(lte(T,{early_s:.6f}),0,PTS)")
        # in microseconds: some containers' clocks tick once a frame, and a shift would be rounded to that
        stream = stream.filter("settb", "AVTB").filter("setpts", f"PTS-{round(shift_s * 1e6)}")
        sampled = stream.filter("fps", self.rate, round="up", start_time=0)
        return outputs.command(outputs.proxy(sampled, self.report, self.rate, self.size, len(self.times_s)))
