"""How good a model is on unseen toy clips, through real files and the product's own pipeline: `vidlm eval`.

Every clip is written by ffmpeg, normalised, decoded, segmented, scored and asked exactly as an upload is; then what
came out is held against the truth. One row a figure, with a 95% interval that resamples whole clips, and its bar.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from vidlm.answer import answer_question
from vidlm.config import Settings
from vidlm.domain import Answer, Segment, Span
from vidlm.evaluation import metrics
from vidlm.moderation.policies import PolicySet, load_policies
from vidlm.pipeline import analyze_windows
from vidlm.preparation import Prepared, prepare
from vidlm.running import load_engine
from vidlm.seeing import Eyes
from vidlm.toyworld.absent import absent_question
from vidlm.toyworld.composed import HELD_OUT, composed_policy, sample_composed
from vidlm.toyworld.encode import Form, encode_clip
from vidlm.toyworld.files import sample_form
from vidlm.toyworld.observations import ATTRIBUTES, Observations, abstaining, table
from vidlm.toyworld.questions import Question, questions
from vidlm.toyworld.scene import Clip
from vidlm.toyworld.truth import KNOWN_POLICIES, Fact, caption, facts, facts_between
from vidlm.toyworld.variants import cropped, shifted, with_held_out, with_words, with_words_beside
from vidlm.toyworld.world import EVAL_SEEDS, Rng, sample_clip

if TYPE_CHECKING:
    from vidlm.model.engine import Engine

VARIANT_EVERY: Final = 3
"""Every third clip is also re-encoded, rescaled, re-timed, shifted, cropped and written over."""
CROP: Final = 0.1
"""Share of the width and of the height that is cut off then."""
OVERLAY: Final = "NO WEAPONS"

DESCRIBED: Final = 6
"""Policies about places, movements, numbers, alternatives and exceptions that every clip is scored for."""
ABSENT: Final = 2
"""Questions about what is not there that are asked of every clip."""
HELD_OUT_POLICIES: Final = {
    f"{colour} {kind}": composed_policy(f"a {colour} {kind}") for colour, kind in sorted(HELD_OUT)
}


def evaluate(
    seed: int,
    count: int,
    settings: Settings,
    on_progress: Callable[[int], None] | None = None,
    *,
    variants: bool = True,
) -> dict[str, Any]:
    """The table for `count` clips: `{"seed", "count", "model", "rows": [{name, value, low, high, bar, at_least, n}],
    "abstaining": [{answer_confidence, absent_abstains, wrong_abstentions}]}`.

    `at_least` says which side of the bar is good. Without `variants` no clip is re-encoded or written over. Values
    that cannot be known from so few clips are None. Raises
    `CheckpointError` for a model that cannot be loaded, `ToolError` where ffmpeg fails.
    """
    seen = Observations()
    with load_engine(None, settings) as engine, tempfile.TemporaryDirectory(prefix="vidlm-eval-") as folder:
        for index in range(count):
            bench = _Bench(engine, settings, Path(folder), index)
            clip, form = _observe(seen, bench, np.random.default_rng([EVAL_SEEDS.start + 1, seed, index]))
            if variants and index % VARIANT_EVERY == 0:
                _observe_variants(seen, bench, clip, form)
            if on_progress is not None:
                on_progress(index + 1)
        seconds = [_seconds_for_ten(engine, settings, Path(folder)) for _ in range(3)]
    return {
        "seed": seed,
        "count": count,
        "model": {"id": engine.info.model_id, "revision": engine.info.revision, "toy": engine.info.toy},
        "rows": table(seen, seconds),
        "abstaining": abstaining(seen),
    }


# ---- one clip


@dataclass(frozen=True)
class _Bench:
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
        source = self.folder / f"clip{form.suffix}"
        options = dataclasses.asdict(form)
        encode_clip(clip, source, crf=crf, **{name: options[name] for name in options if name != "suffix"})
        work = Path(tempfile.mkdtemp(dir=self.folder))
        geometry = self.engine.info.geometry
        return prepare(source, work, filename=source.name, geometry=geometry, settings=self.settings)

    def analyze(self, prepared: Prepared, policies: PolicySet) -> list[Segment]:
        return analyze_windows(prepared, prepared.windows, self.eyes, policies)


def _observe(seen: Observations, bench: _Bench, rng: Rng) -> tuple[Clip, Form]:
    """Make a clip, see what comes out of it, and give it back."""
    clip = with_held_out(rng, sample_clip(rng, duration_s=float(rng.integers(8, 25)) / 2))
    form = sample_form(rng)
    prepared = bench.prepare(clip, form)
    there = facts_between(clip, _drawn(prepared.frame_times_s, form))
    described = {made.policy.id: made for made in (sample_composed(rng, there) for _ in range(DESCRIBED))}
    known = load_policies()
    custom = {**HELD_OUT_POLICIES, **{name: made.policy for name, made in described.items()}}
    policies = PolicySet(known.version, (*known.policies, *custom.values()))
    for segment in bench.analyze(prepared, policies):
        shown = facts_between(clip, _drawn(segment.frame_times_s, form))
        _observe_segment(seen, bench.index, rng, segment, shown)
        seen.described += [(bench.index, segment.scores[name], made.holds(shown)) for name, made in described.items()]
    _observe_answers(seen, bench, rng, prepared=prepared, clip=clip, there=there)
    return clip, form


def _drawn(times_s: Sequence[float], form: Form) -> npt.NDArray[np.float64]:
    """When the source frame on screen at each time was drawn."""
    return np.floor(np.asarray(times_s) * form.fps + 1e-6) / form.fps


def _observe_segment(seen: Observations, index: int, rng: Rng, segment: Segment, there: Sequence[Fact]) -> None:
    holding = {policy for fact in there for policy in fact.policies}
    seen.policy += [(index, segment.scores[policy], policy in holding) for policy in KNOWN_POLICIES]
    names = {fact.name for fact in there}
    present = [name for name in HELD_OUT_POLICIES if name in names]
    missing = [str(name) for name in rng.permutation([name for name in HELD_OUT_POLICIES if name not in names])]
    for name in [*present, *missing[: max(1, len(present))]]:  # as many that are not there as that are
        seen.composed.append((index, segment.scores[HELD_OUT_POLICIES[name].id], name in names))
    stated, true = _statements(segment.caption), _statements(caption(there))
    seen.stated.append((index, len(stated & true), len(stated), len(true)))


def _statements(text: str) -> set[str]:
    """What a caption states: each sentence, and what each is about."""
    sentences = [sentence.strip().lower() for sentence in text.split(".") if sentence.strip()]
    subjects = [sentence.split(" moves ")[0].split(" is ")[0].removesuffix(" grows") for sentence in sentences]
    return {*sentences, *(f"about {subject}" for subject in subjects)}


def _observe_answers(
    seen: Observations, bench: _Bench, rng: Rng, *, prepared: Prepared, clip: Clip, there: Sequence[Fact]
) -> None:
    possible = [question for question in questions(rng, there) if _unambiguous(question, clip)]
    rng.shuffle(possible)
    one_of_each = {question.kind: question for question in possible if question.kind in ATTRIBUTES}
    for question in one_of_each.values():
        said = answer_question(prepared, question.text, bench.eyes, bench.settings)
        seen.attributes[question.kind].append((bench.index, _same(said.text, question.answer)))
        seen.present.append((bench.index, _sure(said)))
    whole = {fact.name: fact for fact in facts(clip)}
    for question in [question for question in possible if question.kind == "when"][:1]:
        said = answer_question(prepared, question.text, bench.eyes, bench.settings)
        fact = whole[question.about[0].name]
        found = [Span(span.start_s, span.end_s) for span in said.evidence]
        seen.when.append((bench.index, metrics.temporal_iou(found, Span(fact.start_s, fact.end_s))))
        seen.present.append((bench.index, _sure(said)))
    strange = [question for question in questions(rng, there, unseen=True) if question.kind in ATTRIBUTES]
    for question in [question for question in strange if _unambiguous(question, clip)][:2]:
        said = answer_question(prepared, question.text, bench.eyes, bench.settings)
        seen.strange.append((bench.index, _same(said.text, question.answer)))
    for _ in range(ABSENT):
        said = answer_question(prepared, absent_question(rng, there).text, bench.eyes, bench.settings)
        seen.absent.append((bench.index, _sure(said)))


def _sure(said: Answer) -> float:
    return 0.0 if said.abstained else said.confidence


def _unambiguous(question: Question, clip: Clip) -> bool:
    """Whether a question that is clear of what was sampled is clear of the whole clip: counts want one scene."""
    if question.kind != "count":
        return True
    counted = question.about[0].kind
    scenes = [scene for scene in clip.scenes if any(actor.kind == counted for actor in scene.actors)]
    return len(scenes) == 1


def _same(said: str, truth: str) -> bool:
    return said.strip().rstrip(".").lower() == truth.strip().rstrip(".").lower()


# ---- the same clip, otherwise


def _observe_variants(seen: Observations, bench: _Bench, clip: Clip, form: Form) -> None:
    known = load_policies()
    policies = PolicySet(known.version, tuple(policy for policy in known.policies if policy.id in KNOWN_POLICIES))

    def right(clip: Clip, form: Form, crf: int | None = None) -> list[bool]:
        found = []
        for segment in bench.analyze(bench.prepare(clip, form, crf), policies):
            there = facts_between(clip, _drawn(segment.frame_times_s, form))
            holding = {policy for fact in there for policy in fact.policies}
            found += [(score >= 0.5) == (policy in holding) for policy, score in segment.scores.items()]
        return found

    before = right(clip, form)
    other_rate = 30 if form.fps == 8 else 8
    variants = {
        "reencoded": right(clip, dataclasses.replace(form, suffix=".mp4", codec="h264"), 35),
        "rescaled": right(clip, dataclasses.replace(form, height=form.height * 3 // 2, width=form.width * 3 // 2)),
        "frame_rate": right(clip, dataclasses.replace(form, fps=other_rate)),
        "shifted": right(shifted(clip, 0.5), form),
        "cropped": right(cropped(clip, CROP), form),
    }
    for name, after in variants.items():
        pairs = seen.variants.setdefault(name, [])
        pairs.append((bench.index, float(np.mean(before)), float(np.mean(after))))
    plain = bench.analyze(bench.prepare(with_words(clip, None), form), policies)
    written = bench.analyze(bench.prepare(with_words_beside(clip, OVERLAY), form), policies)
    for one, other in zip(plain, written, strict=False):
        there = facts_between(clip, _drawn(one.frame_times_s, form))
        for policy in {policy for fact in there for policy in fact.policies}:
            if one.scores[policy] >= 0.5:
                seen.overlay.append((bench.index, other.scores[policy] < 0.5))


def _seconds_for_ten(engine: Engine, settings: Settings, folder: Path) -> float:
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
