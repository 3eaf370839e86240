"""Shots in drawn videos whose cuts are known: moving discs and noise on plain or shaded grounds, 2 frames a second."""

import numpy as np
import numpy.typing as npt
import pytest

from vidlm.domain import FrameBatch
from vidlm.video.shots import detect_shots, shots_from_signatures, signatures

H, W, FPS = 84, 112, 2
Pixels = npt.NDArray[np.float64]


class Scene:
    """A background and some discs that move over it."""

    def __init__(self, rng: np.random.Generator, away_from: "Scene | None" = None) -> None:
        self.base = rng.uniform(20, 235, 3)
        while away_from is not None and np.abs(self.base - away_from.base).sum() < 90:
            self.base = rng.uniform(20, 235, 3)
        shade = rng.uniform(-60, 60, 3) * rng.integers(2)
        self.ground = self.base + np.linspace(0, 1, W)[None, :, None] * shade + np.zeros((H, W, 3))
        self.discs = [
            (rng.uniform(8, 22), rng.uniform(0, 255, 3), rng.uniform(0, 1, 2) * [H, W], rng.normal(0, 15, 2))
            for _ in range(rng.integers(1, 4))
        ]

    def at(self, time_s: float) -> Pixels:
        """The scene at a time; discs that leave at one side come back at the other."""
        picture = self.ground.copy()
        y, x = np.mgrid[:H, :W]
        for radius, colour, start, speed in self.discs:
            cy, cx = np.mod(start + speed * time_s, [H, W])
            picture[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = colour
        return picture


def draw(rng: np.random.Generator, starts_s: list[float], duration_s: float, fade_s: float = 0.0) -> FrameBatch:
    """A video with a new scene at each of `starts_s`, faded into over `fade_s` seconds."""
    scenes = [Scene(rng)]
    for _ in starts_s[1:]:
        scenes.append(Scene(rng, away_from=scenes[-1]))
    times_s = np.arange(0, duration_s, 1 / FPS)
    frames = []
    for time_s in times_s:
        now = int(np.searchsorted(starts_s, time_s, side="right")) - 1
        picture = scenes[now].at(time_s)
        if now and time_s < starts_s[now] + fade_s:
            share = (time_s - starts_s[now]) / fade_s
            picture = share * picture + (1 - share) * scenes[now - 1].at(time_s)
        frames.append(np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8))
    return FrameBatch(np.stack(frames), times_s)


@pytest.mark.parametrize("seed", range(12))
def test_hard_cuts_are_found_at_the_first_frame_of_the_new_shot(seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts = [0.0, *np.cumsum(rng.uniform(2.0, 7.0, 4)).tolist()]
    duration = starts[-1] + 3
    shots = detect_shots(draw(rng, starts, duration), duration)
    assert [shot.start_s for shot in shots] == [np.ceil(start * FPS) / FPS for start in starts]
    assert [shot.end_s for shot in shots] == [*(shot.start_s for shot in shots[1:]), duration]


@pytest.mark.parametrize("fade_s", [0.5, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_fade_is_one_cut_inside_it(seed: int, fade_s: float) -> None:
    starts = [0.0, 4.2, 9.7]
    shots = detect_shots(draw(np.random.default_rng(seed), starts, 14.0, fade_s), 14.0)
    assert len(shots) == 3
    for shot, start in zip(shots[1:], starts[1:], strict=True):
        assert start <= shot.start_s <= start + fade_s + 1 / FPS


@pytest.mark.parametrize("seed", range(8))
def test_motion_and_noise_are_no_cuts(seed: int) -> None:
    assert len(detect_shots(draw(np.random.default_rng(seed), [0.0], 20.0), 20.0)) == 1


def test_one_frame_is_one_shot() -> None:
    frames = FrameBatch(np.zeros((1, H, W, 3), np.uint8), np.zeros(1))
    assert [(s.start_s, s.end_s) for s in detect_shots(frames, 0.04)] == [(0.0, 0.04)]


def test_a_video_may_be_read_in_parts() -> None:
    frames = draw(np.random.default_rng(5), [0.0, 5.0], 10.0)
    parts = [FrameBatch(frames.pixels[a:b], frames.times_s[a:b]) for a, b in ((0, 7), (7, 20))]
    marks = np.concatenate([signatures(part) for part in parts])
    assert shots_from_signatures(marks, frames.times_s, 10.0) == detect_shots(frames, 10.0)


def test_frames_smaller_than_the_grid_are_no_trouble() -> None:
    frames = FrameBatch(np.zeros((3, 4, 5, 3), np.uint8), np.arange(3.0))
    assert len(detect_shots(frames, 3.0)) == 1
