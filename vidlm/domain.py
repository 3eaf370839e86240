"""The values that travel through vidlm, frozen. This module knows no library but numpy and the standard one.

Times are seconds from the start of the video as played, as floats; documents carry them with three decimals.
Intervals are half open, `[start_s, end_s)`. Scores and confidences are probabilities in [0, 1].
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

PIPELINE_VERSION: Final = "1"
"""Changes whenever the same file and model would give another analysis (sampling, segmentation, aggregation)."""


class Severity(StrEnum):
    """How bad a policy's matter is; a property of the policy, not of a score."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    SEVERE = "severe"


class Action(StrEnum):
    """What is to be done with a flag or a video, from weakest to strongest."""

    ALLOW = "allow"
    REVIEW = "review"
    BLOCK = "block"

    @property
    def strength(self) -> int:
        """0 for allow, 1 for review, 2 for block."""
        return list(Action).index(self)


class Role(StrEnum):
    """What somebody may do, from least to most; whoever may do more may do the less, too."""

    VIEWER = "viewer"  # look
    REVIEWER = "reviewer"  # decide about videos
    LEAD = "lead"  # decide about queues, policies and decisions
    ADMIN = "admin"  # all

    def covers(self, needed: Role) -> bool:
        """Whether it allows what `needed` allows."""
        return list(Role).index(self) >= list(Role).index(needed)


class JobState(StrEnum):
    """Where a video's job stands; `vidlm.jobs.states` says which may follow which."""

    UPLOADING = "uploading"  # not all bytes are here yet
    QUEUED = "queued"
    PREPARING = "preparing"
    ANALYZING = "analyzing"
    FINISHING = "finishing"
    READY = "ready"
    REJECTED = "rejected"  # the input's fault, never retried
    FAILED = "failed"  # ours, after retries
    CANCELLED = "cancelled"  # its owner called it off
    EXPIRED = "expired"  # its deadline passed
    DELETED = "deleted"


class WorkState(StrEnum):
    """Where one unit of work beside a job stands: a span to analyse, a question to answer, a webhook to deliver."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"  # nobody wants it any more: what it belongs to has ended


class Priority(StrEnum):
    """How urgent a job is, most urgent first. What waits longer never overtakes what is more urgent."""

    INTERACTIVE = "interactive"  # somebody is looking at the screen
    HIGH = "high"
    NORMAL = "normal"
    BULK = "bulk"  # whenever nothing else is to be done

    @property
    def rank(self) -> int:
        """0 for the most urgent; what rows are ordered by."""
        return list(Priority).index(self)


@dataclass(frozen=True, slots=True)
class Span:
    """The half-open interval `[start_s, end_s)` of a video."""

    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_s) and math.isfinite(self.end_s) and 0 <= self.start_s <= self.end_s):
            raise ValueError(f"not an interval: [{self.start_s}, {self.end_s})")

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s

    def iou(self, other: Span) -> float:
        """Intersection over union of two intervals, 0..1; 0 where they share nothing."""
        shared = min(self.end_s, other.end_s) - max(self.start_s, other.start_s)
        union = max(self.end_s, other.end_s) - min(self.start_s, other.start_s)
        return shared / union if shared > 0 else 0.0


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What is known of a source file. Sizes are as displayed: rotation and pixel aspect ratio applied."""

    sha256: str
    filename: str  # opaque: shown escaped, never part of a path or a prompt
    size_bytes: int
    duration_s: float
    width: int
    height: int
    fps: float  # average; a variable frame rate is flagged below
    variable_fps: bool
    codec: str
    container: str
    rotation: int  # degrees clockwise that were applied: 0, 90, 180, 270
    has_audio: bool
    hdr: bool = False  # brightness was mapped to what an ordinary screen shows


@dataclass(frozen=True, slots=True, eq=False)
class FrameBatch:
    """Frames with the times they are shown at.

    pixels: uint8 [T, H, W, 3], RGB.  times_s: float64 [T], strictly increasing, seconds of the source as played.
    """

    pixels: npt.NDArray[np.uint8]
    times_s: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4 or self.pixels.shape[3] != 3:
            raise ValueError(f"pixels must be uint8 [T, H, W, 3], not {self.pixels.dtype} {self.pixels.shape}")
        if self.times_s.shape != (len(self.pixels),):
            raise ValueError(f"{len(self.pixels)} frames but times of shape {self.times_s.shape}")
        if len(self.times_s) > 1 and not bool(np.all(np.diff(self.times_s) > 0)):
            raise ValueError("frame times must increase")

    def __len__(self) -> int:
        return len(self.pixels)

    def between(self, span: Span) -> FrameBatch:
        """The frames shown in `[span.start_s, span.end_s)` (views, nothing is copied)."""
        first, last = np.searchsorted(self.times_s, [span.start_s, span.end_s], side="left")
        return FrameBatch(self.pixels[first:last], self.times_s[first:last])


@dataclass(frozen=True, slots=True)
class Band:
    """The scores `[from_threshold, below_threshold)` that are looked at a second time; an empty one where none are."""

    from_threshold: float
    below_threshold: float

    def __contains__(self, score: float) -> bool:
        return self.from_threshold <= score < self.below_threshold


@dataclass(frozen=True, slots=True)
class Policy:
    """One rule in plain words. `blocked` says what it is about, `allowed` what looks like it and is fine."""

    id: str  # dotted, e.g. "weapons.in_hand"
    title: str
    parent: str
    blocked: str
    allowed: str
    severity: Severity
    review_threshold: float  # score >= this -> a flag, for review
    block_threshold: float  # score >= this -> block; above 1 means never by itself
    keep_threshold: float  # a flag goes on, both ways, while score >= this; at most review_threshold
    min_duration_s: float = 0.0  # a shorter flag is none, unless it would block
    labels: dict[str, str] = field(default_factory=dict)  # what other taxonomies call it, by their names
    enabled: bool = True
    second_look: Band | None = None  # None: from half of keep_threshold up to block_threshold


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one shot, what the model said of it and how it scored. Segments tile the video."""

    index: int
    start_s: float
    end_s: float
    frame_times_s: tuple[float, ...]
    caption: str
    scores: dict[str, float]  # policy id -> P(Yes), what is decided by: of a second look where one changed it


class LookOutcome(StrEnum):
    """What a second look at a score came to."""

    CONFIRMED = "confirmed"  # something speaks for it still
    REJECTED = "rejected"  # nothing does
    UNVERIFIED = "unverified"  # nobody could look: the first score stands


@dataclass(frozen=True, slots=True)
class SecondLook:
    """One policy's score of one segment, `[start_s, end_s)`, after denser and larger frames of it were seen.

    `peak_score`: of `[peak_start_s, peak_end_s)`, the part of it that scored highest; `second_score`: the mean of that
    and of the whole's. All four are None where it is `unverified`, and `reason` then says why; it is empty elsewhere.
    """

    policy_id: str
    segment: int  # its index
    start_s: float
    end_s: float
    first_score: float
    outcome: LookOutcome
    second_score: float | None = None
    peak_score: float | None = None
    peak_start_s: float | None = None
    peak_end_s: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One frame that speaks for a flag. `thumbnail` names an image of it, where one was kept."""

    time_s: float
    thumbnail: str | None = None


@dataclass(frozen=True, slots=True)
class Flag:
    """A policy that holds over `[start_s, end_s)`, the segments that were merged."""

    policy_id: str
    start_s: float
    end_s: float
    score: float  # the highest of a segment
    mean_score: float  # over time
    severity: Severity
    action: Action
    evidence: tuple[Evidence, ...]
    second_look: LookOutcome | None = None  # at its peak; None: that was not looked at again


@dataclass(frozen=True, slots=True)
class Verdict:
    """The video's outcome and, in one sentence, why."""

    action: Action
    reason: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Seconds of the video that nobody looked at, and why."""

    start_s: float
    end_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was seen. "Unseen" is never "safe": a partial analysis never ends `allow`."""

    seconds_seen: float
    seconds_total: float
    gaps: tuple[Gap, ...] = ()

    @property
    def partial(self) -> bool:
        return bool(self.gaps)


@dataclass(frozen=True, slots=True)
class Chapter:
    start_s: float
    end_s: float
    title: str


@dataclass(frozen=True, slots=True)
class Summary:
    text: str
    chapters: tuple[Chapter, ...]
    highlights: tuple[int, ...]  # segment indices


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """Small pictures of a video, for a timeline: number n shows what is on screen at `n * interval_s`."""

    interval_s: float
    width: int
    height: int
    count: int


@dataclass(frozen=True, slots=True)
class Sampling:
    """How frames were taken: `fps` a second, at `width` x `height` as the model saw them."""

    fps: float
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything that is needed to say why a result is what it is."""

    model_id: str
    model_revision: str
    toy_model: bool  # the embedded model, which knows the toy world and nothing else
    pipeline_version: str
    prompt_version: str
    policy_set_version: str
    sampling: Sampling
    libraries: dict[str, str] = field(default_factory=dict)
    second_look: Sampling | None = None  # how frames were taken where a score was looked at again; None: nowhere


class Bank(StrEnum):
    """Where a tenant keeps the videos that somebody has decided about, to know them again."""

    BAD = "known_bad"
    OK = "known_ok"


@dataclass(frozen=True, slots=True)
class Known:
    """A stretch `[start_s, end_s)` of the video that shows `[known_start_s, known_end_s)` of one in a bank."""

    entry_id: str
    bank: Bank
    exact: bool  # the very same bytes
    similarity: float  # of the frames that agree: 1 where their hashes are equal, 0 where they are as strangers'
    mirrored: bool
    start_s: float
    end_s: float
    known_start_s: float
    known_end_s: float
    share: float  # of all the video's frames, how many meet their like in the known one, unaltered
    known_share: float  # and of the known one's
    decided: bool  # a person decided about the known video here; else it comes from a list of hashes
    restricted: bool  # no machine settles it
    decision_id: str | None = None


@dataclass(frozen=True, slots=True)
class Analysis:
    """The result contract: what `analyze` returns, the API serves and the database holds."""

    video: VideoInfo
    provenance: Provenance
    coverage: Coverage
    segments: tuple[Segment, ...]
    summary: Summary
    flags: tuple[Flag, ...]
    verdict: Verdict
    second_looks: tuple[SecondLook, ...] = ()
    known: tuple[Known, ...] = ()


@dataclass(frozen=True, slots=True)
class AnswerEvidence:
    start_s: float
    end_s: float
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with the seconds it rests on; `abstained` when what was asked about was not found."""

    question: str
    text: str
    confidence: float
    abstained: bool
    evidence: tuple[AnswerEvidence, ...]
    provenance: Provenance
    conversation_id: str | None = None


def to_document(value: Any) -> Any:
    """A frozen value as plain JSON types; floats are rounded to three decimals except probabilities (six).

    Fields named `*score*`, `*confidence*` or `*threshold*` are probabilities.
    """
    return _plain(value, "")


def _plain(value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        document = {f.name: _plain(getattr(value, f.name), f.name) for f in dataclasses.fields(value)}
        if isinstance(value, Coverage):
            document["partial"] = value.partial
        return document
    if isinstance(value, dict):
        return {str(key): _plain(item, name) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item, name) for item in value]
    if isinstance(value, float):
        probability = any(word in name for word in ("score", "confidence", "threshold"))
        return round(value, 6 if probability else 3)
    if isinstance(value, StrEnum):
        return value.value
    return value
