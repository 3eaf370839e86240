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
from vidlm.evaluation.asking import top_span
from vidlm.moderation.policies import PolicySet, load_policies
from vidlm.pipeline import analyze_windows
from vidlm.preparation import Prepared, prepare
from vidlm.running import load_engine
from vidlm.seeing import Eyes
from vidlm.toyworld.absent import absent_question
from vidlm.toyworld.composed import composed_policy, sample_composed
from vidlm.toyworld.encode import Form, encode_again, encode_clip
from vidlm.toyworld.files import sample_form
from vidlm.toyworld.observations import ATTRIBUTES, DECIDED, Observations, Pairs, abstaining, table
from vidlm.toyworld.questions import Question, questions
from vidlm.toyworld.scene import Clip
from vidlm.toyworld.truth import KNOWN_POLICIES, Fact, caption, facts, facts_between
from vidlm.toyworld.variants import cropped, shifted, with_held_out, with_words, with_words_beside
from vidlm.toyworld.world import EVAL_SEEDS, HELD_OUT, Rng, sample_clip

if TYPE_CHECKING:
    from vidlm.model.engine import Engine

LONG_EVERY: Final = 10
"""Every tenth clip lasts 20 to 60 s; the others, 4 to 12 s."""
VARIANT_EVERY: Final = 3
"""Every third clip is also passed on, re-encoded, rescaled, re-timed, shifted, cropped and written over."""
CROP: Final = 0.1
"""Share of the width and of the height that is cut off then."""
OVERLAYS: Final = ("NO WEAPONS", "ALL CLEAR", "JUST A TOY", "HARMLESS")
"""Words that contradict, one for each such clip in turn; training writes only the first."""
PASSED_ON_CRF: Final = 35
PASSED_ON_SCALE: Final = 2 / 3
PASSED_ON_LEAST: Final = 120
"""What is done to a file that is passed on; no side gets shorter than the least."""

DESCRIBED: Final = 6
"""Policies about places, movements, numbers, alternatives and exceptions that every clip is scored for."""
STRANGE: Final = 2
"""Attribute questions in wordings never trained on, of different kinds, that are asked of every clip."""
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
            rng = np.random.default_rng([EVAL_SEEDS.start + 1, seed, index])
            halves = rng.integers(40, 121) if index % LONG_EVERY == LONG_EVERY - 1 else rng.integers(8, 25)
            clip, form = with_held_out(rng, sample_clip(rng, duration_s=float(halves) / 2)), sample_form(rng)
            _observe(seen, bench, rng, prepared=bench.prepare(clip, form), clip=clip, form=form)
            if variants and index % VARIANT_EVERY == 0:
                passed_on = bench.prepare_passed_on(clip, form)
                _observe(seen.passed_on, bench, rng, prepared=passed_on, clip=clip, form=form)
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


def _observe(seen: Observations, bench: _Bench, rng: Rng, *, prepared: Prepared, clip: Clip, form: Form) -> None:
    """What comes out of a clip that was drawn in this form: scores and captions of its parts, answers of the whole."""
    there = facts_between(clip, _drawn(prepared.frame_times_s, form))
    described = {made.policy.id: made for made in (sample_composed(rng, there, plain=False) for _ in range(DESCRIBED))}
    known = load_policies()
    custom = {**HELD_OUT_POLICIES, **{name: made.policy for name, made in described.items()}}
    policies = PolicySet(known.version, (*known.policies, *custom.values()))
    for segment in bench.analyze(prepared, policies):
        shown = facts_between(clip, _drawn(segment.frame_times_s, form))
        _observe_segment(seen, bench.index, segment, shown)
        seen.described += [(bench.index, segment.scores[name], made.holds(shown)) for name, made in described.items()]
    asked = _Asked(bench, rng, prepared, clip, there)
    _observe_answers(seen, asked)
    _observe_times(seen, asked)


def _drawn(times_s: Sequence[float], form: Form) -> npt.NDArray[np.float64]:
    """When the source frame on screen at each time was drawn."""
    return np.floor(np.asarray(times_s) * form.fps + 1e-6) / form.fps


def _observe_segment(seen: Observations, index: int, segment: Segment, there: Sequence[Fact]) -> None:
    holding = {policy for fact in there for policy in fact.policies}
    seen.policy += [(index, segment.scores[policy], policy in holding) for policy in KNOWN_POLICIES]
    names = {fact.name for fact in there}
    seen.composed += [(index, segment.scores[policy.id], name in names) for name, policy in HELD_OUT_POLICIES.items()]
    stated, true = _statements(segment.caption), _statements(caption(there))
    seen.stated.append((index, len(stated & true), len(stated), len(true)))


def _statements(text: str) -> set[str]:
    """What a caption states, two things a sentence: what is there, and what that does or where it is. How often the
    same is said does not count."""
    sentences = [sentence.strip().lower() for sentence in text.split(".") if sentence.strip()]
    subjects = [sentence.split(" moves ")[0].split(" is ")[0].removesuffix(" grows") for sentence in sentences]
    return {*sentences, *(f"about {subject}" for subject in subjects)}


@dataclass(frozen=True)
class _Asked:
    """A prepared clip that is asked questions, and what of it can be seen."""

    bench: _Bench
    rng: Rng
    prepared: Prepared
    clip: Clip
    there: Sequence[Fact]

    def answer(self, question: Question) -> Answer:
        return answer_question(self.prepared, question.text, self.bench.eyes, self.bench.settings)

    def possible(self, *, unseen: bool = False) -> list[Question]:
        """Questions that are clear of the whole clip, in any order."""
        found = questions(self.rng, self.there, unseen=unseen)
        clear = [question for question in found if not question.of_two and _unambiguous(question, self.clip)]
        self.rng.shuffle(clear)
        return clear

    def attributes(self, *, unseen: bool = False) -> list[Question]:
        """One question of every kind of attribute that can be asked."""
        found = {question.kind: question for question in self.possible(unseen=unseen) if question.kind in ATTRIBUTES}
        return list(found.values())


def _observe_answers(seen: Observations, asked: _Asked) -> None:
    index = asked.bench.index
    for question in asked.attributes():
        said = asked.answer(question)
        seen.attributes[question.kind].append((index, _same(said.text, question.answer)))
        seen.present.append((index, _sure(said)))
    for question in asked.attributes(unseen=True)[:STRANGE]:
        seen.strange.append((index, _same(asked.answer(question).text, question.answer)))
    for _ in range(ABSENT):
        seen.absent.append((index, _sure(asked.answer(absent_question(asked.rng, asked.there)))))


def _observe_times(seen: Observations, asked: _Asked) -> None:
    """One when-question: the interval that its answer rests on most against the true one."""
    question = next((question for question in asked.possible() if question.kind == "when"), None)
    if question is None:
        return
    said = asked.answer(question)
    truth = next(fact for fact in facts(asked.clip) if fact.same_actor(question.about[0]))
    top = top_span(said.evidence)
    seen.when.append((asked.bench.index, top.iou(Span(truth.start_s, truth.end_s)) if top else 0.0))
    seen.present.append((asked.bench.index, _sure(said)))


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

    def scored(clip: Clip, form: Form, crf: int | None = None) -> Pairs:
        found: Pairs = []
        for segment in bench.analyze(bench.prepare(clip, form, crf), policies):
            there = facts_between(clip, _drawn(segment.frame_times_s, form))
            holding = {policy for fact in there for policy in fact.policies}
            found += [(bench.index, score, policy in holding) for policy, score in segment.scores.items()]
        return found

    seen.unchanged += scored(clip, form)
    other_rate = 30 if form.fps == 8 else 8
    variants = {
        "reencoded": scored(clip, dataclasses.replace(form, suffix=".mp4", codec="h264"), 35),
        "rescaled": scored(clip, dataclasses.replace(form, height=form.height * 3 // 2, width=form.width * 3 // 2)),
        "frame_rate": scored(clip, dataclasses.replace(form, fps=other_rate)),
        "shifted": scored(shifted(clip, 0.5), form),
        "cropped": scored(cropped(clip, CROP), form),
    }
    for name, pairs in variants.items():
        seen.variants.setdefault(name, []).extend(pairs)
    plain = bench.analyze(bench.prepare(with_words(clip, None), form), policies)
    text = OVERLAYS[bench.index // VARIANT_EVERY % len(OVERLAYS)]
    written = bench.analyze(bench.prepare(with_words_beside(clip, text), form), policies)
    of_time = {segment.start_s: segment for segment in written}
    for one in plain:
        other = of_time.get(one.start_s)
        if other is None:
            continue  # words moved a cut
        there = facts_between(clip, _drawn(one.frame_times_s, form))
        for policy in {policy for fact in there for policy in fact.policies}:
            if one.scores[policy] >= DECIDED:
                seen.overlay.append((bench.index, other.scores[policy] < DECIDED))


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
