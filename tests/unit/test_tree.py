"""Many questions as one row: each still reads as if it were alone, and the row costs little more than one of them."""

import os
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_checkpoint import RECIPES, write

from vidlm.domain import FrameBatch
from vidlm.model.tree import plant
from vidlm.model.video_model import VideoModel

ROOT = Path(__file__).parents[2]

# three tokens: beginnings are shared, and some continuations come twice or go on where another ends
continuations = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), max_size=16)
limits = st.integers(1, 24)


def path_of(tree, end):
    """A token's ancestors and itself, the first of them first."""
    seen = tree.sees[end].nonzero().flatten().tolist()
    return sorted(seen, key=lambda node: int(tree.depths[node]))


def read(trees):
    """Every continuation as its end sees it."""
    return [[int(tree.ids[node]) for node in path_of(tree, end)] for tree in trees for end in tree.ends.tolist()]


def parents(tree):
    """Each token's parent, -1 for the prompt."""
    paths = [path_of(tree, node) for node in range(len(tree))]
    return [path[-2] if len(path) > 1 else -1 for path in paths]


@settings(deadline=None)
@given(continuations, limits)
def test_every_continuation_reads_as_it_was_written_and_in_order(branches, most_tokens):
    assert read(plant(branches, most_tokens)) == branches


@settings(deadline=None)
@given(continuations, limits)
def test_a_token_sees_its_ancestors_and_itself_and_stands_behind_them(branches, most_tokens):
    for tree in plant(branches, most_tokens):
        for node, parent in enumerate(parents(tree)):
            above = set(path_of(tree, parent)) if parent >= 0 else set()
            assert set(tree.sees[node].nonzero().flatten().tolist()) == above | {node}
            assert int(tree.depths[node]) == len(above)
            assert parent < node


@settings(deadline=None)
@given(continuations, limits)
def test_no_beginning_is_there_twice_and_no_token_in_vain(branches, most_tokens):
    for tree in plant(branches, most_tokens):
        tokens = list(zip(parents(tree), tree.ids.tolist(), strict=True))
        assert len(set(tokens)) == len(tokens) == len(tree)
        assert bool(tree.sees[tree.ends].any(dim=0).all())


@settings(deadline=None)
@given(continuations, limits)
def test_trees_are_as_full_as_they_may_be(branches, most_tokens):
    trees = plant(branches, most_tokens)
    left = list(branches)
    for index, tree in enumerate(trees):
        own, left = left[: len(tree.ends)], left[len(tree.ends) :]
        assert own
        assert len(tree) <= most_tokens or len(own) == 1
        if index < len(trees) - 1:
            (grown,) = plant([*own, left[0]], 1000)
            assert len(grown) > most_tokens
    assert not left


@settings(deadline=None)
@given(continuations, st.integers(0, 16), limits)
def test_an_empty_continuation_is_refused_wherever_it_stands(branches, place, most_tokens):
    with pytest.raises(ValueError, match="at least one token"):
        plant([*branches[:place], [], *branches[place:]], most_tokens)


def test_nothing_to_ask_is_no_tree():
    assert plant([], 1) == []


def test_the_example_of_the_module():
    (tree,) = plant([[1, 2, 3, 4, 5, 6], [1, 2, 3, 7, 6], [1, 2, 3, 4, 5, 6], [1, 2]], 8)
    assert tree.ids.tolist() == [1, 2, 3, 4, 5, 6, 7, 6]
    assert tree.depths.tolist() == [0, 1, 2, 3, 4, 5, 3, 4]
    assert tree.ends.tolist() == [5, 7, 5, 1]


WORDS = ["fire", "a knife", "blood", "a person", "the sea", "no", "the", "smoke", "a car", "yes"]
QUESTIONS = [
    f"Does this part show {word}{end}" for word in WORDS for end in ("?", " or a thing?", "", " in it? Yes, No")
]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A model with random weights, a prompt of two pairs that it has read, and the score of each question alone."""
    model = VideoModel.load(
        str(write(tmp_path_factory.mktemp("checkpoint") / "random", RECIPES["tied, flat config"])), device="cpu"
    )
    pixels = np.random.default_rng(0).integers(0, 256, (4, 56, 84, 3), dtype=np.uint8)
    visual = model.encode(FrameBatch(pixels, np.arange(4) * 0.5))
    prefix = model.open(["<|im_start|>user\n", "<0.0s>", 0, "<1.0s>", 1], visual)
    alone = {question: model.score(prefix, [question])[0] for question in QUESTIONS}
    assert max(alone.values()) - min(alone.values()) > 0.01  # the weights are loud enough to tell
    return model, prefix, alone


@settings(max_examples=25, deadline=None)
@given(
    asked=st.lists(st.sampled_from(QUESTIONS), min_size=1, max_size=40), row_tokens=st.sampled_from([1, 40, 90, 1024])
)
def test_a_score_does_not_depend_on_what_else_is_asked(opened, asked, row_tokens):
    model, prefix, alone = opened
    trees = model.trees(asked, row_tokens)
    scores = [score for tree in trees for score in model.score_tree([prefix], tree)[0]]
    assert scores == pytest.approx([alone[question] for question in asked], abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_forty_questions_in_any_order_or_in_groups_score_the_same(opened, seed):
    model, prefix, alone = opened
    dice = random.Random(seed)
    asked = QUESTIONS[:]
    assert len(asked) == 40
    dice.shuffle(asked)
    together = model.score(prefix, asked)
    cuts = [0, *sorted(dice.sample(range(1, 40), 4)), 40]
    groups = [asked[first:last] for first, last in pairwise(cuts)]
    grouped = [score for group in groups for score in model.score(prefix, group)]
    assert together == pytest.approx(grouped, abs=1e-5)
    assert together == pytest.approx([alone[question] for question in asked], abs=1e-5)


PEAK_OF_SCORING = """
import resource
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from vidlm import prompts
from vidlm.config import Settings
from vidlm.domain import FrameBatch
from vidlm.model.engine import Engine, Prompt
from vidlm.moderation.policies import load_policies


def peak_bytes():
    status = Path("/proc/self/status")  # what `getrusage` says there may be the peak of the process that started us
    lines = status.read_text().splitlines() if status.exists() else []
    marks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
    unit = 1 if sys.platform == "darwin" else 1024
    return marks[0] if marks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


built_in = load_policies().policies
varied = [replace(policy, blocked=f"the opposite of {policy.blocked}") for policy in built_in]
policies = [*built_in, *varied][: int(sys.argv[1])]
settings = Settings()
with Engine.load(settings.model_path, device="cpu") as engine:
    height, width = engine.info.geometry.fit(720, 1280, settings.max_frame_pixels)
    pixels = np.random.default_rng(0).integers(0, 256, (20, height, width, 3), dtype=np.uint8)
    visual = engine.encode(FrameBatch(pixels, np.arange(20) * 0.5)).result()
    prompt = Prompt(prompts.video_prefix(visual.pair_times_s), visual)
    scores = engine.score(prompt, [prompts.branch(prompts.policy_question(policy)) for policy in policies]).result()
    print(len(scores), peak_bytes())
"""


def test_forty_policies_need_little_more_memory_than_one():
    """Over ten seconds of video, each in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VIDLM_")}
    started = {
        count: subprocess.Popen(
            [sys.executable, "-c", PEAK_OF_SCORING, str(count)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean | {"PYTHONPATH": str(ROOT)},
        )
        for count in (1, 40)
    }
    ended = {count: (*process.communicate(timeout=120), process.returncode) for count, process in started.items()}
    assert {count: code for count, (_, _, code) in ended.items()} == {1: 0, 40: 0}, ended
    scores_and_peak = {count: [int(word) for word in said.split()] for count, (said, _, _) in ended.items()}
    assert {count: scores for count, (scores, _) in scores_and_peak.items()} == {1: 1, 40: 40}
    assert scores_and_peak[40][1] <= 1.3 * scores_and_peak[1][1]
