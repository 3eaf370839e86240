"""How good a model is on unseen toy clips, through real files and the product's own pipeline: `vidlm eval`.

Every clip is written by ffmpeg, normalised, decoded, segmented, scored and asked exactly as an upload is; then what
came out is held against the truth. One row a figure, with a 95% interval that resamples whole clips, and its bar.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from vidlm.answer import answer_question
from vidlm.config import Settings
from vidlm.domain import Answer, Segment, Span
from vidlm.evaluation.asking import top_span
from vidlm.evaluation.singles import Said, Single, Tell, tell_nobody, times
from vidlm.moderation.policies import PolicySet, load_policies
from vidlm.preparation import Prepared
from vidlm.running import load_engine
from vidlm.toyworld.absent import absent_question
from vidlm.toyworld.composed import composed_policy, sample_composed
from vidlm.toyworld.encode import Form
from vidlm.toyworld.files import sample_form
from vidlm.toyworld.observations import ATTRIBUTES, DECIDED, Observations, Pairs, abstaining, table
from vidlm.toyworld.questions import Question, questions
from vidlm.toyworld.scene import Clip
from vidlm.toyworld.truth import KNOWN_POLICIES, Fact, caption, facts, facts_between
from vidlm.toyworld.variants import cropped, shifted, with_held_out, with_words, with_words_beside
from vidlm.toyworld.workbench import Workbench, drawn_at, seconds_for_ten
from vidlm.toyworld.world import EVAL_SEEDS, HELD_OUT, Rng, sample_clip

LONG_EVERY: Final = 10
"""Every tenth clip lasts 20 to 60 s; the others, 4 to 12 s."""
VARIANT_EVERY: Final = 3
"""Every third clip is also passed on, re-encoded, rescaled, re-timed, shifted, cropped and written over."""
CROP: Final = 0.1
"""Share of the width and of the height that is cut off then."""
OVERLAYS: Final = ("NO WEAPONS", "ALL CLEAR", "JUST A TOY", "HARMLESS")
"""Words that contradict, one for each such clip in turn; training writes only the first."""

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
    tell: Tell = tell_nobody,
) -> dict[str, Any]:
    """The table for `count` clips: `{"seed", "count", "model", "rows": [{name, value, low, high, bar, at_least, n}],
    "abstaining": [{answer_confidence, absent_abstains, wrong_abstentions}]}`.

    `at_least` says which side of the bar is good. Without `variants` no clip is re-encoded or written over. Values
    that cannot be known from so few clips are None. `tell` hears of every single thing that was asked. Raises
    `CheckpointError` for a model that cannot be loaded, `ToolError` where ffmpeg fails.
    """
    seen = Observations(tell=tell)
    with load_engine(None, settings) as engine, tempfile.TemporaryDirectory(prefix="vidlm-eval-") as folder:
        for index in range(count):
            bench = Workbench(engine, settings, Path(folder), index)
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
        seconds = [seconds_for_ten(engine, settings, Path(folder)) for _ in range(3)]
    return {
        "seed": seed,
        "count": count,
        "model": {"id": engine.info.model_id, "revision": engine.info.revision, "toy": engine.info.toy},
        "rows": table(seen, seconds),
        "abstaining": abstaining(seen),
    }


# ---- one clip


def _observe(seen: Observations, bench: Workbench, rng: Rng, *, prepared: Prepared, clip: Clip, form: Form) -> None:
    """What comes out of a clip that was drawn in this form: scores and captions of its parts, answers of the whole."""
    there = facts_between(clip, drawn_at(prepared.frame_times_s, form))
    described = {made.policy.id: made for made in (sample_composed(rng, there, plain=False) for _ in range(DESCRIBED))}
    known = load_policies()
    custom = {**HELD_OUT_POLICIES, **{name: made.policy for name, made in described.items()}}
    policies = PolicySet(known.version, (*known.policies, *custom.values()))
    for segment in bench.analyze(prepared, policies):
        shown = facts_between(clip, drawn_at(segment.frame_times_s, form))
        part = _Part(seen, bench.index, segment)
        _observe_segment(part, shown)
        for name, made in described.items():
            part.score(seen.described, "described_accuracy", name, made.holds(shown), asked=made.words)
    asked = _Asked(seen, bench, rng, prepared, clip, there)
    _observe_answers(asked)
    _observe_times(asked)


@dataclass(frozen=True)
class _Part:
    """A segment of clip `index`, and what is noted of it."""

    seen: Observations
    index: int
    segment: Segment

    def score(self, pairs: Pairs, row: str, policy_id: str, holds: bool, *, asked: str | None = None) -> None:
        score = self.segment.scores[policy_id]
        pairs.append((self.index, score, holds))
        self.tell(row, asked or policy_id, said=score, truth=holds, right=(score >= DECIDED) == holds)

    def tell(self, row: str, asked: str, *, said: Said, truth: Said, right: bool) -> None:
        start_s, end_s = self.segment.start_s, self.segment.end_s
        self.seen.tell(_single(self.index, row, asked, said=said, truth=truth, right=right, of=Span(start_s, end_s)))


def _single(
    index: int, row: str, asked: str, *, said: Said, truth: Said, right: bool, of: Span | None = None
) -> Single:
    start_s, end_s = times(of) or (None, None)
    video = f"clip {index}"
    return Single(row=row, video=video, start_s=start_s, end_s=end_s, asked=asked, said=said, truth=truth, right=right)


def _observe_segment(part: _Part, there: Sequence[Fact]) -> None:
    seen = part.seen
    holding = {policy for fact in there for policy in fact.policies}
    for policy in KNOWN_POLICIES:
        part.score(seen.policy, "policy_auroc", policy, policy in holding)
    names = {fact.name for fact in there}
    for name, held_out in HELD_OUT_POLICIES.items():
        part.score(seen.composed, "composed_accuracy", held_out.id, name in names)
    said, truth = part.segment.caption, caption(there)
    stated, true = _statements(said), _statements(truth)
    seen.stated.append((part.index, len(stated & true), len(stated), len(true)))
    part.tell("caption", "", said=said, truth=truth, right=stated == true)


def _statements(text: str) -> set[str]:
    """What a caption states, two things a sentence: what is there, and what that does or where it is. How often the
    same is said does not count."""
    sentences = [sentence.strip().lower() for sentence in text.split(".") if sentence.strip()]
    subjects = [sentence.split(" moves ")[0].split(" is ")[0].removesuffix(" grows") for sentence in sentences]
    return {*sentences, *(f"about {subject}" for subject in subjects)}


@dataclass(frozen=True)
class _Asked:
    """A prepared clip that is asked questions, what of it can be seen, and where it is noted what came of them."""

    seen: Observations
    bench: Workbench
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

    def right(self, question: Question, row: str) -> tuple[bool, Answer]:
        """Whether the answer's words are the true ones, and the answer."""
        said = self.answer(question)
        right = _same(said.text, question.answer)
        self.tell(row, question.text, said=said.text, truth=question.answer, right=right)
        return right, said

    def tell(self, row: str, asked: str, *, said: Said, truth: Said, right: bool) -> None:
        self.seen.tell(_single(self.bench.index, row, asked, said=said, truth=truth, right=right))


def _observe_answers(asked: _Asked) -> None:
    seen, index = asked.seen, asked.bench.index
    for question in asked.attributes():
        right, said = asked.right(question, f"attribute_{question.kind}")
        seen.attributes[question.kind].append((index, right))
        _observe_present(asked, question, said)
    for question in asked.attributes(unseen=True)[:STRANGE]:
        right, _ = asked.right(question, "unseen_wording_exact")
        seen.strange.append((index, right))
    for _ in range(ABSENT):
        question = absent_question(asked.rng, asked.there)
        said = asked.answer(question)
        seen.absent.append((index, _sure(said)))
        asked.tell("absent_abstains", question.text, said=said.text, truth=None, right=said.abstained)


def _observe_present(asked: _Asked, question: Question, said: Answer) -> None:
    """Whether what is there was found, whatever was said of it."""
    asked.seen.present.append((asked.bench.index, _sure(said)))
    asked.tell("wrong_abstentions", question.text, said=said.text, truth=question.answer, right=not said.abstained)


def _observe_times(asked: _Asked) -> None:
    """One when-question: the interval that its answer rests on most against the true one."""
    question = next((question for question in asked.possible() if question.kind == "when"), None)
    if question is None:
        return
    said = asked.answer(question)
    fact = next(fact for fact in facts(asked.clip) if fact.same_actor(question.about[0]))
    top, truth = top_span(said.evidence), Span(fact.start_s, fact.end_s)
    iou = top.iou(truth) if top else 0.0
    asked.seen.when.append((asked.bench.index, iou))
    asked.tell("when_mean_iou", question.text, said=times(top), truth=times(truth), right=iou >= 0.7)
    _observe_present(asked, question, said)


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


def _observe_variants(seen: Observations, bench: Workbench, clip: Clip, form: Form) -> None:
    known = load_policies()
    policies = PolicySet(known.version, tuple(policy for policy in known.policies if policy.id in KNOWN_POLICIES))

    def scored(clip: Clip, form: Form, crf: int | None = None) -> Pairs:
        found: Pairs = []
        for segment in bench.analyze(bench.prepare(clip, form, crf), policies):
            there = facts_between(clip, drawn_at(segment.frame_times_s, form))
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
        there = facts_between(clip, drawn_at(one.frame_times_s, form))
        for policy in {policy for fact in there for policy in fact.policies}:
            if one.scores[policy] >= DECIDED:
                flipped = other.scores[policy] < DECIDED
                seen.overlay.append((bench.index, flipped))
                part = _Part(seen, bench.index, other)
                part.tell("overlay_flips", policy, said=other.scores[policy], truth=True, right=not flipped)
