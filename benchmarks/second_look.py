"""What looking again is worth: `./run bench second_look`, JSON on stdout.

Toy clips through real files and the product's own pipeline. Into half of them a hazard is planted, for one second, at a
random time and place; into the others, for as long, something harmless that shares a hazard's shape or colour. Each is
judged by what the first look said and by what the second one made of that:

    recall            of the policies that hold of a hazard, how many were flagged
    evidence          of the frames that these flags point at, how many lie within a second of the hazard
    found             of the policies that hold, how many were flagged with no other frame as evidence
    false_flags       flags of policies that do not hold, and how many of the clips without a hazard have one
    lost              of the policies that the first look flagged rightly, how many the second one took away
    looked_share      of all seconds, how many were looked at again;  seconds: of one look at a clip, on average

The clips are none that anything was chosen by: `--seed 1` is what the band and the rule were chosen with.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from vidlm.config import Settings
from vidlm.domain import Action, Flag, LookOutcome
from vidlm.moderation.flags import flags_from_scores
from vidlm.moderation.intervals import wilson
from vidlm.moderation.policies import PolicySet, load_policies
from vidlm.pinpoint import pinpoint
from vidlm.pipeline import analyze_windows
from vidlm.preparation import prepare
from vidlm.running import load_engine
from vidlm.second_look import look_again
from vidlm.seeing import Eyes
from vidlm.toyworld.encode import encode_clip
from vidlm.toyworld.files import Form, sample_form
from vidlm.toyworld.scene import HAZARDS, Actor, Clip, Scene
from vidlm.toyworld.truth import POLICIES_OF
from vidlm.toyworld.world import EVAL_SEEDS, LOOK_ALIKES, PLACES, Rng, sample_clip

HAZARD_S: Final = 1.0
NEAR_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Planted:
    """A clip, the file it becomes, and what was planted in it when; `policies` hold while it can be seen."""

    clip: Clip
    form: Form
    start_s: float
    policies: frozenset[str]


@dataclass(slots=True)
class Tally:
    """What a way of looking came to, over all clips."""

    due: int = 0
    caught: int = 0
    evidence: int = 0
    near: int = 0
    found: int = 0
    false_flags: int = 0
    clean: int = 0
    clean_flagged: int = 0
    false_blocks: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, planted: Planted, flags: Sequence[Flag], seconds: float) -> None:
        right = [flag for flag in flags if flag.policy_id in planted.policies]
        wrong = [flag for flag in flags if flag.policy_id not in planted.policies]
        self.due += len(planted.policies)
        self.caught += len({flag.policy_id for flag in right})
        end_s = planted.start_s + HAZARD_S
        near = [
            (flag.policy_id, planted.start_s - NEAR_S <= evidence.time_s <= end_s + NEAR_S)
            for flag in right
            for evidence in flag.evidence
        ]
        self.evidence += len(near)
        self.near += sum(is_near for _, is_near in near)
        self.found += len({policy for policy, _ in near} - {policy for policy, is_near in near if not is_near})
        self.false_flags += len(wrong)
        self.false_blocks += sum(flag.action is Action.BLOCK for flag in wrong)
        self.clean += not planted.policies
        self.clean_flagged += bool(wrong) and not planted.policies
        self.seconds.append(seconds)

    def report(self) -> dict[str, Any]:
        return {
            "recall": _share(self.caught, self.due),
            "evidence_near": _share(self.near, self.evidence),
            "found": _share(self.found, self.due),
            "false_flags": self.false_flags,
            "false_blocks": self.false_blocks,
            "clean_clips_flagged": _share(self.clean_flagged, self.clean),
            "seconds": round(float(np.mean(self.seconds)), 3),
        }


def planted(seed: int, number: int, *, hazard: bool) -> Planted:
    """Clip `number` of a seed; the same one every time."""
    rng = np.random.default_rng([EVAL_SEEDS.start + 7, seed, number, int(hazard)])
    while True:
        clip = _harmless(sample_clip(rng, duration_s=float(rng.integers(16, 33)) / 2))
        if hazard:
            kind, colour, size = str(rng.choice(HAZARDS)), None, float(rng.uniform(0.42, 0.62))
        else:
            kind, colour = LOOK_ALIKES[int(rng.integers(len(LOOK_ALIKES)))]
            size = float(rng.uniform(0.26, 0.48))
        found = _with(rng, clip, kind, colour, size)
        if found is not None:
            made, start_s = found
            return Planted(made, sample_form(rng), start_s, frozenset(POLICIES_OF[kind] if hazard else ()))


def _harmless(clip: Clip) -> Clip:
    def without(scene: Scene) -> Scene:
        return dataclasses.replace(scene, actors=tuple(a for a in scene.actors if a.kind not in HAZARDS))

    return dataclasses.replace(clip, scenes=tuple(map(without, clip.scenes)))


def _with(rng: Rng, clip: Clip, kind: str, colour: str | None, size: float) -> tuple[Clip, float] | None:
    """The clip with this in it for `HAZARD_S`, and from when on; None where all places are taken."""
    number = int(rng.integers(len(clip.scenes)))
    scene = clip.scenes[number]
    start_s = float(rng.uniform(scene.start_s, scene.end_s - HAZARD_S))
    for place in rng.permutation(list(PLACES)):
        x, y = (at + float(rng.uniform(-0.05, 0.05)) for at in PLACES[str(place)])
        actor = Actor(kind, colour, size, start_s, start_s + HAZARD_S, ((start_s, x, y),))
        if all(_free(actor, other) for other in scene.actors):
            scenes = list(clip.scenes)
            scenes[number] = dataclasses.replace(scene, actors=(*scene.actors, actor))
            return dataclasses.replace(clip, scenes=tuple(scenes)), start_s
    return None


def _free(actor: Actor, other: Actor) -> bool:
    """Whether the other one hides nothing of a still actor while that is there."""
    x, y = actor.place(actor.start_s)
    times_s = np.linspace(actor.start_s, actor.end_s, 5)
    there = [other.place(float(time_s)) for time_s in times_s if other.start_s <= time_s < other.end_s]
    reach = 0.45 * (actor.size + other.size * max(1.0, other.grow))
    return all(float(np.hypot(x - at_x, y - at_y)) > reach for at_x, at_y in there)


def measure(seed: int, clips: int, settings: Settings) -> dict[str, Any]:
    """The figures of `clips` clips with a hazard and as many without one. Raises `CheckpointError`, `ToolError`."""
    policies = load_policies(settings.policies)
    first, second = Tally(), Tally()
    outcomes = dict.fromkeys(LookOutcome, 0)
    lost = 0
    looked_s = total_s = 0.0
    with load_engine(None, settings) as engine:
        for number in range(clips):
            for hazard in (True, False):
                one = planted(seed, number, hazard=hazard)
                caught = second.caught - first.caught
                again_s, length_s, found = _judge(one, Eyes(engine), policies, settings, tallies=(first, second))
                lost += max(0, caught - (second.caught - first.caught))
                looked_s, total_s = looked_s + again_s, total_s + length_s
                for outcome in found:
                    outcomes[outcome] += 1
            print(f"{number + 1} of {clips}", file=sys.stderr)
    return {
        "seed": seed,
        "clips": {"hazard": clips, "look_alike": clips},
        "model": engine.info.model_id,
        "settings": {name: getattr(settings, name) for name in ("second_look_s", "second_look_fps")},
        "without": first.report(),
        "with": second.report(),
        "lost": lost,
        "looks": {outcome.value: count for outcome, count in outcomes.items()},
        "looked_share": round(looked_s / total_s, 3),
    }


def _judge(
    one: Planted, eyes: Eyes, policies: PolicySet, settings: Settings, *, tallies: tuple[Tally, Tally]
) -> tuple[float, float, list[LookOutcome]]:
    """One clip both ways: (seconds looked at again, seconds of the clip, what came of each look)."""
    with tempfile.TemporaryDirectory(prefix="vidlm-look-") as folder:
        source, work = Path(folder) / f"clip{one.form.suffix}", Path(folder) / "work"
        options = dataclasses.asdict(one.form)
        encode_clip(one.clip, source, **{name: options[name] for name in options if name != "suffix"})
        work.mkdir()
        began_s = time.perf_counter()
        geometry = eyes.engine.info.geometry
        prepared = prepare(source, work, filename=source.name, geometry=geometry, settings=settings)
        segments = analyze_windows(prepared, prepared.windows, eyes, policies)
        first_s = time.perf_counter() - began_s
        again = look_again(prepared, segments, source, eyes, policies, settings=settings)
        parts = pinpoint(prepared, again.segments, again.looks, eyes, policies)
        both_s = time.perf_counter() - began_s
    tallies[0].add(one, flags_from_scores(segments, policies), first_s)
    tallies[1].add(one, flags_from_scores(again.segments, policies, again.looks, parts), both_s)
    spans = {(look.start_s, look.end_s) for look in again.looks if look.second_score is not None}
    length_s = prepared.info.duration_s
    return sum(end_s - start_s for start_s, end_s in spans), length_s, [look.outcome for look in again.looks]


def _share(part: int, whole: int) -> dict[str, Any]:
    if not whole:
        return {"value": None, "low": None, "high": None, "n": 0}
    low, high = wilson(part, whole)
    return {"value": round(part / whole, 4), "low": round(low, 4), "high": round(high, 4), "n": whole}


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run bench second_look", description=__doc__)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--clips", type=int, default=80, help="with a hazard, and as many without one")
    parser.add_argument("--quick", action="store_true", help="a tenth of the clips")
    parser.add_argument("--json", type=Path, default=None, help="write the figures to this file instead")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = json.dumps(measure(asked.seed, asked.clips // 10 if asked.quick else asked.clips, Settings()), indent=2)
    if asked.json is None:
        print(found)
    else:
        asked.json.write_text(found + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
