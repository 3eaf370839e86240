"""What is kept of a video for recognising it, and what a query carries besides.

    a video to be found again      bars cut off -> one hash a frame
    a video that is looked for     the same, and more looks of each frame: guesses at its original, mirror images

Knows frames with times; not how two sequences are compared (`voting.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.domain import FrameBatch
from vidlm.likeness import pdq
from vidlm.likeness.looks import content_box, guesses
from vidlm.likeness.pdq import BYTES, Hashes

USUAL_STEP_S: Final = 0.5
"""How long a frame stands where there is no other to tell."""


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


def fingerprint(frames: FrameBatch, *, views: bool = True) -> Fingerprint:
    """The fingerprint of a video's frames, black bars left out. `views=False` makes only what is kept.

    Take a frame or two of every second; `FrameBatch` holds uint8 [T, H, W, 3] RGB and its times.
    """
    top, bottom, left, right = content_box(frames.pixels)
    grids = pdq.shrink(frames.pixels[:, top:bottom, left:right])
    whole = pdq.transform(grids)
    found = Fingerprint(frames.times_s, pdq.bits(whole), pdq.quality(grids))
    if not views:
        return found
    others = list(guesses(grids))
    plain = [pdq.bits(look) for look in others]
    turned = [pdq.bits(pdq.mirror(look)) for look in (whole, *others)]
    return Fingerprint(found.times_s, found.hashes, found.quality, np.stack(plain), np.stack(turned))
