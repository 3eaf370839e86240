"""The same clip, otherwise: what is drawn of the variant is what a tool would make of the picture."""

import numpy as np
import pytest
from test_toy_truth import KNIFE, RED_CIRCLE, clip_of

from vidlm.toyworld.draw import render
from vidlm.toyworld.scene import Actor
from vidlm.toyworld.variants import cropped, shifted, with_words, with_words_beside

TIMES_S = np.array([1.0, 1.7, 2.5])


def test_a_cropped_clip_is_the_middle_of_the_picture() -> None:
    clip = clip_of(RED_CIRCLE, KNIFE)
    whole = render(clip, TIMES_S, 200, 240).astype(float)
    middle = whole[:, 20:180, 24:216]
    drawn = render(cropped(clip, 0.2), TIMES_S, 160, 192).astype(float)
    assert np.abs(drawn - middle).mean() < 1.0  # of 255: edges are drawn a little sharper
    assert np.abs(drawn - whole[:, :160, :192]).mean() > 5.0


def test_a_crop_of_nothing_changes_nothing() -> None:
    assert cropped(clip_of(RED_CIRCLE), 0.0) == clip_of(RED_CIRCLE)


@pytest.mark.parametrize("by_s", [0.5, 1.5])
def test_a_shifted_clip_is_the_clip_later(by_s: float) -> None:
    clip = clip_of(RED_CIRCLE, KNIFE)
    later = render(shifted(clip, by_s), TIMES_S - by_s, 120, 160)
    assert np.array_equal(later, render(clip, TIMES_S, 120, 160))


@pytest.mark.parametrize(("y", "line"), [(0.2, 0.9), (0.8, 0.1)])
def test_words_stand_where_they_cover_no_hazard(y: float, line: float) -> None:
    """A model cannot see what is covered: words are to be read, not to hide."""
    gun = Actor("gun", None, 0.5, 0.0, 6.0, ((0.0, 0.5, y), (6.0, 0.5, 0.5)))
    star = Actor("star", "red", 0.3, 0.0, 6.0, ((0.0, 0.2, line),))  # no hazard
    clip = with_words_beside(clip_of(gun, star), "SAFE")
    assert clip.scenes[0].words == ("SAFE", 0.5, line)
    written, plain = (render(one, np.array([0.0]), 100, 160)[0] for one in (clip, with_words(clip, None)))
    rows = np.flatnonzero((written != plain).any(axis=(1, 2)))
    assert abs(rows.mean() / 100 - line) < 0.02
    assert with_words_beside(clip_of(), "SAFE").scenes[0].words is not None
