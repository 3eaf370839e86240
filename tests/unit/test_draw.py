"""The renderer draws what the description says, where and when it says, the same way every time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vidlm.toyworld.draw import actor_box, render
from vidlm.toyworld.font import bitmap
from vidlm.toyworld.hazards import HALF_WIDTH, PAINT
from vidlm.toyworld.scene import COLOURS, KINDS, Actor, Clip, Scene

PLAIN = ((90.0, 120.0, 140.0), (90.0, 120.0, 140.0))
HEIGHT, WIDTH = 84, 112


def clip_of(*actors: Actor, duration_s: float = 4.0) -> Clip:
    scene = Scene(0.0, duration_s, PLAIN, actors, texture=0.0, texture_seed=1)
    return Clip(duration_s, (scene,), noise=0.0, noise_seed=5, brightness=(1.0, 1.0), shake=0.0)


def frame(clip: Clip, time_s: float, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return render(clip, np.array([time_s]), height, width)[0]


def ink(picture: np.ndarray) -> np.ndarray:
    """Where a picture differs from the plain background, bool [H, W]."""
    return (np.abs(picture.astype(int) - np.array(PLAIN[0], int)) > 3).any(axis=2)


def busy_clip() -> Clip:
    actors = tuple(
        Actor(kind, None, 0.3, 0.0, 4.0, ((0.0, 0.1, 0.5), (4.0, 0.9, 0.4)), grow=1.5, angle=0.2) for kind in KINDS
    )
    first = Scene(0.0, 2.0, ((200.0, 180.0, 160.0), (60.0, 70.0, 80.0)), actors, 0.7, 3, 0.4, ("NO WEAPONS!", 0.5, 0.9))
    second = dataclasses.replace(first, start_s=2.0, end_s=4.0, texture_seed=4, words=None)
    return Clip(4.0, (first, second), noise=5.0, noise_seed=9, brightness=(0.8, 1.1), shake=0.01)


def test_a_frame_depends_on_nothing_but_clip_time_and_size() -> None:
    times = np.array([0.0, 0.1, 1.9, 2.0, 3.3, 3.999, 0.1])
    together = render(busy_clip(), times, HEIGHT, WIDTH)
    assert together.shape == (7, HEIGHT, WIDTH, 3)
    assert together.dtype == np.uint8
    for picture, time in zip(together, times, strict=True):
        np.testing.assert_array_equal(picture, frame(busy_clip(), float(time)))
    assert (together[0] != together[2]).any()


def test_no_times_give_no_frames() -> None:
    assert render(busy_clip(), np.array([]), HEIGHT, WIDTH).shape == (0, HEIGHT, WIDTH, 3)


def test_every_kind_can_be_drawn() -> None:
    assert set(KINDS) == set(PAINT) == set(HALF_WIDTH)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("angle", [0.0, 0.6])
def test_an_actor_fills_its_box_and_nothing_else(kind: str, angle: float) -> None:
    """All ink lies in the box; it reaches far over the box upright, and its middle is near the box's."""
    clip = clip_of(Actor(kind, None, 0.5, 0.0, 4.0, ((0.0, 0.4, 0.5),), angle=angle))
    box = actor_box(clip.scenes[0].actors[0], 1.0, 120, 160)
    assert box is not None
    left, top, right, bottom = box
    rows, columns = np.nonzero(ink(frame(clip, 1.0, 120, 160)))
    assert columns.min() >= np.floor(left) - 1
    assert columns.max() <= np.ceil(right) + 1
    assert rows.min() >= np.floor(top) - 1
    assert rows.max() <= np.ceil(bottom) + 1
    if angle == 0:
        assert np.ptp(rows) >= 0.85 * (bottom - top)
        assert np.ptp(columns) >= 0.75 * (right - left)
    assert abs(columns.mean() - 0.4 * 160) < 0.25 * (right - left)


@pytest.mark.parametrize("time_s", [0.0, 1.0, 2.5, 3.9])
def test_a_mover_is_where_its_path_says(time_s: float) -> None:
    mover = Actor("circle", "blue", 0.3, 0.0, 4.0, ((1.0, 0.2, 0.3), (3.0, 0.8, 0.7)))
    rows, columns = np.nonzero(ink(frame(clip_of(mover), time_s)))
    x, y = mover.place(time_s)
    assert x == pytest.approx(np.clip(0.2 + 0.3 * (time_s - 1), 0.2, 0.8))
    assert columns.mean() + 0.5 == pytest.approx(x * WIDTH, abs=0.3)
    assert rows.mean() + 0.5 == pytest.approx(y * HEIGHT, abs=0.3)


def test_growth_is_linear() -> None:
    grower = Actor("square", "red", 0.2, 1.0, 3.0, ((0.0, 0.5, 0.5),), grow=3.0)
    heights = [np.ptp(np.nonzero(ink(frame(clip_of(grower), time)))[0]) + 1 for time in (1.0, 2.0, 2.999)]
    expected = [0.95 * 0.2 * factor * HEIGHT for factor in (1.0, 2.0, 3.0)]
    assert heights == pytest.approx(expected, abs=2)


def test_visible_in_a_half_open_interval() -> None:
    clip = clip_of(Actor("circle", "red", 0.4, 1.0, 2.0, ((0.0, 0.5, 0.5),)))
    shown = [ink(frame(clip, time)).any() for time in (0.0, 0.999, 1.0, 1.999, 2.0, 3.0)]
    assert shown == [False, False, True, True, False, False]
    assert actor_box(clip.scenes[0].actors[0], 2.0, HEIGHT, WIDTH) is None


def test_a_scene_begins_at_its_start() -> None:
    clip = clip_of()
    other = dataclasses.replace(clip.scenes[0], start_s=2.0, background=((10.0, 10.0, 10.0), (10.0, 10.0, 10.0)))
    cut = dataclasses.replace(clip, scenes=(dataclasses.replace(clip.scenes[0], end_s=2.0), other))
    assert frame(cut, 1.999).mean() > 100
    assert frame(cut, 2.0).mean() == 10


@pytest.mark.parametrize("colour", sorted(COLOURS))
@pytest.mark.parametrize("kind", ["circle", "star", "cross"])
def test_colours_are_those_named(kind: str, colour: str) -> None:
    """The middle shows exactly the colour asked for, so no two can be taken for one another."""
    clip = clip_of(Actor(kind, colour, 0.5, 0.0, 4.0, ((0.0, 0.5, 0.5),)))
    middle = frame(clip, 1.0)[HEIGHT // 2, WIDTH // 2]
    np.testing.assert_allclose(middle, COLOURS[colour], atol=1)


def test_colours_lie_apart() -> None:
    values = np.array(list(COLOURS.values()))
    gaps = np.linalg.norm(values[:, None] - values[None], axis=2) + 1e3 * np.eye(len(values))
    assert gaps.min() > 60


def test_later_actors_lie_on_top() -> None:
    under, over = (Actor("circle", colour, 0.5, 0.0, 4.0, ((0.0, 0.5, 0.5),)) for colour in ("red", "blue"))
    np.testing.assert_allclose(frame(clip_of(under, over), 1.0)[HEIGHT // 2, WIDTH // 2], COLOURS["blue"], atol=1)


def test_an_actor_off_the_frame_is_cut_not_an_error() -> None:
    edge = Actor("circle", "red", 0.5, 0.0, 4.0, ((0.0, 0.0, 0.5),))
    outside = dataclasses.replace(edge, path=((0.0, -2.0, 3.0),))
    assert ink(frame(clip_of(edge), 1.0))[HEIGHT // 2, 0]
    assert not ink(frame(clip_of(outside), 1.0)).any()


def test_what_goes_left_looks_left() -> None:
    right = Actor("car", "red", 0.4, 0.0, 4.0, ((0.0, 0.3, 0.5), (4.0, 0.7, 0.5)))
    left = dataclasses.replace(right, path=((0.0, 0.7, 0.5), (4.0, 0.3, 0.5)))
    there, back = (frame(clip_of(actor), 2.0).astype(int) for actor in (right, left))
    assert np.abs(there[:, ::-1] - back).max() <= 1


@pytest.mark.parametrize("kind", ["fire", "explosion", "fight", "cigarette", "person_smoking"])
def test_flames_and_blows_move(kind: str) -> None:
    clip = clip_of(Actor(kind, None, 0.6, 0.0, 4.0, ((0.0, 0.5, 0.5),)))
    assert (np.abs(frame(clip, 1.0).astype(int) - frame(clip, 1.2)).max(axis=2) > 30).sum() > 5


@pytest.mark.parametrize(
    ("hazard", "harmless", "colour"),
    [("fire", "star", "orange"), ("knife", "triangle", "grey"), ("blood", "circle", "red")],
)
def test_hazards_differ_from_their_look_alikes(hazard: str, harmless: str, colour: str) -> None:
    """Over the place where either is seen, the pictures differ by 45 greys or more on average."""
    pictures = [
        frame(clip_of(Actor(kind, wears, 0.5, 0.0, 4.0, ((0.0, 0.5, 0.5),))), 1.0)
        for kind, wears in ((hazard, None), (harmless, colour))
    ]
    either = ink(pictures[0]) | ink(pictures[1])
    assert np.abs(pictures[0].astype(int) - pictures[1])[either].max(axis=1).mean() > 45


def test_fade_rises_out_of_black() -> None:
    clip = clip_of()
    faded = dataclasses.replace(clip, scenes=(dataclasses.replace(clip.scenes[0], fade_in_s=1.0),))
    levels = [frame(faded, time).mean() for time in (0.0, 0.5, 1.0, 2.0)]
    full = np.mean(PLAIN[0])
    assert levels == pytest.approx([0, full / 2, full, full], abs=1)


def test_brightness_drifts_over_the_clip() -> None:
    drifting = dataclasses.replace(clip_of(), brightness=(0.5, 1.0))
    assert [frame(drifting, time).mean() for time in (0.0, 4.0)] == pytest.approx([58, 116.7], abs=1)


def test_noise_has_the_sigma_asked_for_and_changes_from_frame_to_frame() -> None:
    noisy = render(dataclasses.replace(clip_of(), noise=6.0), np.array([1.0, 1.1]), HEIGHT, WIDTH).astype(float)
    assert noisy.std(axis=(1, 2)).mean() == pytest.approx(6.0, rel=0.05)
    assert (noisy[0] - noisy[1]).std() == pytest.approx(6.0 * np.sqrt(2), rel=0.05)


def test_shake_moves_the_picture_but_not_the_words() -> None:
    clip = clip_of(Actor("square", "red", 0.3, 0.0, 4.0, ((0.0, 0.5, 0.4),)))
    scene = dataclasses.replace(clip.scenes[0], words=("OK", 0.5, 0.9))
    shaken = dataclasses.replace(clip, scenes=(scene,), shake=0.02)
    times = np.arange(20) / 10
    seen = [ink(picture) for picture in render(shaken, times, HEIGHT, WIDTH)]
    centres = np.array([np.nonzero(picture[: HEIGHT * 3 // 4])[1].mean() for picture in seen])
    assert 0.5 < centres.std() < 0.06 * WIDTH
    assert all((picture[HEIGHT * 3 // 4 :] == seen[0][HEIGHT * 3 // 4 :]).all() for picture in seen)


def test_words_are_written_in_white_with_a_dark_rim() -> None:
    clip = clip_of()
    worded = dataclasses.replace(clip, scenes=(dataclasses.replace(clip.scenes[0], words=("Safe 10", 0.5, 0.5)),))
    picture = frame(worded, 1.0)
    white, black = ((picture == level).all(axis=2) for level in (255, 0))
    assert white.sum() == bitmap("SAFE 10").sum()
    assert black.any()
    rows, columns = np.nonzero(white | black)
    middle = (rows.min() + rows.max() + 1) / 2, (columns.min() + columns.max() + 1) / 2
    assert middle == pytest.approx((HEIGHT / 2, WIDTH / 2), abs=1)


def test_a_letter_the_font_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="É"):
        bitmap("café")
    assert bitmap("A!").shape == (7, 11)


@pytest.mark.parametrize(("kind", "grow"), [("explosion", 2.4), ("car", 1.0), ("fire", 2.0), ("fight", 1.0)])
def test_a_frame_is_the_same_alone_and_among_others(kind: str, grow: float) -> None:
    """Also large ones, and where the actor is larger in another frame."""
    colour = "red" if kind == "car" else None
    clip = clip_of(Actor(kind, colour, 0.4, 0.0, 4.0, ((0.0, 0.5, 0.5),), grow=grow))
    times = np.arange(8) / 2
    together = render(clip, times, 240, 320)
    for time_s, picture in zip(times, together, strict=True):
        assert (frame(clip, float(time_s), 240, 320) == picture).all()
