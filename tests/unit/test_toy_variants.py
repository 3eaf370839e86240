"""The same clip, otherwise: what is drawn of the variant is what a tool would make of the picture."""

import numpy as np
import pytest
from test_toy_truth import KNIFE, RED_CIRCLE, clip_of

from vidlm.toyworld.draw import render
from vidlm.toyworld.variants import cropped, shifted

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
