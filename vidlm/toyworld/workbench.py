"""Where a drawn clip becomes a file, the file is prepared as an upload is, and the product looks at it."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from vidlm.config import Settings
from vidlm.domain import Segment
from vidlm.moderation.policies import PolicySet, load_policies
from vidlm.pipeline import analyze_windows
from vidlm.preparation import Prepared, prepare
from vidlm.seeing import Eyes
from vidlm.toyworld.encode import Form, encode_again, encode_clip
from vidlm.toyworld.scene import Clip
from vidlm.toyworld.truth import KNOWN_POLICIES
from vidlm.toyworld.world import EVAL_SEEDS, sample_clip

if TYPE_CHECKING:
    from vidlm.model.engine import Engine

PASSED_ON_CRF: Final = 35
PASSED_ON_SCALE: Final = 2 / 3
PASSED_ON_LEAST: Final = 120
"""What is done to a file that is passed on; no side gets shorter than the least."""


@dataclass(frozen=True)
class Workbench:
    """Where clip `index` is written and who looks at it."""

    engine: Engine
    settings: Settings
    folder: Path
    index: int

    @property
    def eyes(self) -> Eyes:
        return Eyes(self.engine)

    def prepare(self, clip: Clip, form: Form, crf: int | None = None) -> Prepared:
        """The clip as a file of that form, then as the pipeline prepares it."""
        return self._prepared(self._write(clip, form, crf))

    def prepare_passed_on(self, clip: Clip, form: Form) -> Prepared:
        """The same of what somebody made of that file: smaller, as far as the world's sizes go, and encoded once more,
        frugally."""
        passed_on = self.folder / "passed-on.mp4"
        scale = max(PASSED_ON_SCALE, min(1.0, PASSED_ON_LEAST / min(form.height, form.width)))
        height, width = (round(side * scale / 2) * 2 for side in (form.height, form.width))
        encode_again(self._write(clip, form), passed_on, height=height, width=width, crf=PASSED_ON_CRF)
        return self._prepared(passed_on)

    def _write(self, clip: Clip, form: Form, crf: int | None = None) -> Path:
        source = self.folder / f"clip{form.suffix}"
        options = dataclasses.asdict(form)
        encode_clip(clip, source, crf=crf, **{name: options[name] for name in options if name != "suffix"})
        return source

    def _prepared(self, source: Path) -> Prepared:
        work = Path(tempfile.mkdtemp(dir=self.folder))
        geometry = self.engine.info.geometry
        return prepare(source, work, filename=source.name, geometry=geometry, settings=self.settings)

    def analyze(self, prepared: Prepared, policies: PolicySet) -> list[Segment]:
        return analyze_windows(prepared, prepared.windows, self.eyes, policies)


def drawn_at(times_s: Sequence[float], form: Form) -> npt.NDArray[np.float64]:
    """When the source frame on screen at each time was drawn."""
    return np.floor(np.asarray(times_s) * form.fps + 1e-6) / form.fps


def seconds_for_ten(engine: Engine, settings: Settings, folder: Path) -> float:
    """Seconds from file to captions and scores of a ten second clip under twelve policies, the model being loaded."""
    clip = sample_clip(np.random.default_rng(EVAL_SEEDS.start), duration_s=10.0)
    source = folder / "ten.mp4"
    encode_clip(clip, source, height=240, width=320, fps=24, audio=True)
    known = load_policies()
    twelve = (*KNOWN_POLICIES, *(policy.id for policy in known.policies if policy.id not in KNOWN_POLICIES))[:12]
    policies = PolicySet(known.version, tuple(policy for policy in known.policies if policy.id in twelve))
    began = time.perf_counter()
    work = Path(tempfile.mkdtemp(dir=folder))
    prepared = prepare(source, work, filename="ten.mp4", geometry=engine.info.geometry, settings=settings)
    analyze_windows(prepared, prepared.windows, Eyes(engine), policies)
    return time.perf_counter() - began
