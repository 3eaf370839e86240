"""What is kept of a video for recognising it, and what a query carries besides.

    a video to be found again      bars cut off -> one hash a frame
    a video that is looked for     the same, and more looks of each frame: guesses at its original, mirror images

Knows frames with times; not how two sequences are compared (`voting.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vidlm.domain import FrameBatch
from vidlm.likeness import pdq
from vidlm.likeness.looks import Bars, guesses
from vidlm.likeness.pdq import BYTES, Floats, Hashes

USUAL_STEP_S: Final = 0.5
"""How long a frame stands where there is no other to tell."""

MOST_FRAMES: Final = 7200
"""Of a fingerprint: an hour at two frames a second."""

_LEAST_STEP_S: Final = 0.4
_AT_ONCE: Final = 512  # frames hashed together: four minutes, by whose first ones bars are judged


def _no_views() -> npt.NDArray[np.uint8]:
    return np.empty((0, 0, BYTES), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """The hashes of a video's sampled frames.

    times_s: float64 [T], strictly increasing, seconds from 0.  hashes: uint8 [T, 32], PDQ.  quality: uint8 [T], 0..100.
    views, mirrored: uint8 [V, T, 32], other looks of the same frames that only a query needs: `views` beside `hashes`,
    `mirrored` all of them in a mirror. Both may be empty, as in what is kept. Raises `ValueError` for other shapes.
    """

    times_s: npt.NDArray[np.float64]
    hashes: Hashes
    quality: npt.NDArray[np.uint8]
    views: npt.NDArray[np.uint8] = field(default_factory=_no_views)
    mirrored: npt.NDArray[np.uint8] = field(default_factory=_no_views)

    def __post_init__(self) -> None:
        frames = len(self.times_s)
        if self.times_s.dtype != np.float64 or self.times_s.ndim != 1:
            raise ValueError(f"times must be float64 [T], not {self.times_s.dtype} {self.times_s.shape}")
        if not (np.isfinite(self.times_s) & (self.times_s >= 0)).all():
            raise ValueError("times must be finite and not negative")
        if frames > 1 and not bool(np.all(np.diff(self.times_s) > 0)):
            raise ValueError("times must increase")
        if self.hashes.dtype != np.uint8 or self.hashes.shape != (frames, BYTES):
            raise ValueError(f"hashes must be uint8 [{frames}, {BYTES}], not {self.hashes.dtype} {self.hashes.shape}")
        if self.quality.dtype != np.uint8 or self.quality.shape != (frames,):
            raise ValueError(f"quality must be uint8 [{frames}], not {self.quality.dtype} {self.quality.shape}")
        for views in (self.views, self.mirrored):
            if views.dtype != np.uint8 or (len(views) and views.shape[1:] != (frames, BYTES)):
                raise ValueError(f"views must be uint8 [V, {frames}, {BYTES}], not {views.dtype} {views.shape}")

    def __len__(self) -> int:
        return len(self.times_s)

    @property
    def step_s(self) -> float:
        """The usual time between two frames, seconds."""
        return float(np.median(np.diff(self.times_s))) if len(self) > 1 else USUAL_STEP_S

    def looks(self, mirror: bool) -> npt.NDArray[np.uint8]:
        """All looks of the frames, uint8 [1 + V, T, 32], and behind them with `mirror` those in a mirror."""
        looks = [self.hashes[None], *([self.views] if len(self.views) else [])]
        return np.concatenate([*looks, *([self.mirrored] if mirror and len(self.mirrored) else [])])

    @property
    def kept(self) -> Fingerprint:
        """The same without the views: what is stored."""
        return Fingerprint(self.times_s, self.hashes, self.quality)


class Fingerprinter:
    """Frames as they come -> a fingerprint. Keeps no pixels, only PDQ's small luminance until it is hashed.

    Of more than two frames a second some are passed over. Bars are judged by the first minutes and left out of
    everything. `views=False` makes only what is kept.
    """

    def __init__(self, *, views: bool = True) -> None:
        self._views = views
        self._bars = Bars()
        self._times_s: list[float] = []
        self._grids: list[Floats] = []  # not hashed yet
        self._parts: list[_Part] = []

    def add(self, frames: FrameBatch) -> None:
        """The next frames, all of one size: uint8 [T, H, W, 3], RGB, at later times than those before."""
        rows = [row for row, time_s in enumerate(frames.times_s) if self._wants(float(time_s))]
        if not rows:
            return
        pixels = frames.pixels[rows]
        if not self._parts:
            self._bars.see(pixels)
        self._grids.append(pdq.shrink(pixels))
        if sum(map(len, self._grids)) >= _AT_ONCE:
            self._hash()

    def finish(self) -> Fingerprint:
        """Of all that came; every second frame of it, or every fourth, where it is more than `MOST_FRAMES`."""
        if self._grids or not self._parts:
            self._hash()
        step = 1
        while len(self._times_s) > MOST_FRAMES * step:
            step *= 2
        return Fingerprint(
            np.array(self._times_s, np.float64)[::step],
            np.concatenate([part.hashes for part in self._parts])[::step],
            np.concatenate([part.quality for part in self._parts])[::step],
            np.concatenate([part.plain for part in self._parts], axis=1)[:, ::step],
            np.concatenate([part.turned for part in self._parts], axis=1)[:, ::step],
        )

    def _wants(self, time_s: float) -> bool:
        """Whether to take the frame at `time_s`, which then counts as taken."""
        if self._times_s and time_s - self._times_s[-1] < _LEAST_STEP_S:
            return False
        self._times_s.append(time_s)
        return True

    def _hash(self) -> None:
        nothing = np.empty((0, 64, 64), np.float32)
        grids = self._bars.without(np.concatenate([nothing, *self._grids]))
        self._parts.append(_hashed(grids, views=self._views))
        self._grids = []


class _Part(NamedTuple):
    """Hashes uint8 [T, 32], quality uint8 [T], and other looks as `Fingerprint` holds them, uint8 [V, T, 32]."""

    hashes: Hashes
    quality: npt.NDArray[np.uint8]
    plain: npt.NDArray[np.uint8]
    turned: npt.NDArray[np.uint8]


def fingerprint(frames: FrameBatch, *, views: bool = True) -> Fingerprint:
    """The fingerprint of a video's frames, uint8 [T, H, W, 3] RGB with their times, black bars left out."""
    maker = Fingerprinter(views=views)
    maker.add(frames)
    return maker.finish()


def _hashed(grids: Floats, *, views: bool) -> _Part:
    """What becomes of PDQ's luminance of some frames, [T, 64, 64]."""
    whole = pdq.transform(grids)
    hashes, quality = pdq.bits(whole), pdq.quality(grids)
    if not views:
        none = np.empty((0, len(grids), BYTES), np.uint8)
        return _Part(hashes, quality, none, none)
    others = list(guesses(grids))
    plain = [pdq.bits(look) for look in others]
    turned = [pdq.bits(pdq.mirror(look)) for look in (whole, *others)]
    return _Part(hashes, quality, np.stack(plain), np.stack(turned))
