"""The same clip, otherwise: other words on the screen, half a second later, cropped, or with a rare actor. Pure."""

from __future__ import annotations

import dataclasses
from typing import Final

from vidlm.toyworld.scene import HAZARDS, SHAPES, Clip, Scene
from vidlm.toyworld.world import HELD_OUT, Rng

LINES: Final = (0.1, 0.9)
"""Where words stand: the middle of a line at the top or at the bottom, as a share of the height."""


def with_held_out(rng: Rng, clip: Clip) -> Clip:
    """Half the clips get one of the held-out pairs in the place of a shape."""
    places = [(i, j) for i, scene in enumerate(clip.scenes) for j, a in enumerate(scene.actors) if a.kind in SHAPES]
    if not places or rng.random() < 0.4:
        return clip
    at, number = places[int(rng.integers(len(places)))]
    colour, kind = sorted(HELD_OUT)[int(rng.integers(len(HELD_OUT)))]
    actors = list(clip.scenes[at].actors)
    actors[number] = dataclasses.replace(actors[number], kind=kind, colour=colour)
    scenes = list(clip.scenes)
    scenes[at] = dataclasses.replace(scenes[at], actors=tuple(actors))
    return dataclasses.replace(clip, scenes=tuple(scenes))


def with_words(clip: Clip, words: tuple[str, float, float] | None) -> Clip:
    """The clip with these words on every scene, or with none."""
    return dataclasses.replace(clip, scenes=tuple(dataclasses.replace(scene, words=words) for scene in clip.scenes))


def with_words_beside(clip: Clip, text: str) -> Clip:
    """The clip with this text on every scene, at the top or at the bottom, whichever is further from its hazards.

    Words may try to talk a model out of what it sees; what they cover it cannot see.
    """

    def gap(scene: Scene, y: float) -> float:
        """How far the nearest hazard's edge ever is from a height, as a share of the frame."""
        hazards = [actor for actor in scene.actors if actor.kind in HAZARDS]
        gaps = (abs(at_y - y) - actor.size * max(1.0, actor.grow) / 2 for actor in hazards for _, _, at_y in actor.path)
        return min(gaps, default=1.0)

    def written(scene: Scene) -> Scene:
        return dataclasses.replace(scene, words=(text, 0.5, max(LINES, key=lambda y: gap(scene, y))))

    return dataclasses.replace(clip, scenes=tuple(map(written, clip.scenes)))


def shifted(clip: Clip, by_s: float) -> Clip:
    """The clip without its first `by_s` seconds."""

    def scene_of(scene: Scene) -> Scene:
        actors = tuple(
            dataclasses.replace(
                actor,
                start_s=actor.start_s - by_s,
                end_s=actor.end_s - by_s,
                path=tuple((time_s - by_s, x, y) for time_s, x, y in actor.path),
            )
            for actor in scene.actors
        )
        return dataclasses.replace(
            scene, start_s=max(0.0, scene.start_s - by_s), end_s=scene.end_s - by_s, actors=actors
        )

    return dataclasses.replace(clip, duration_s=clip.duration_s - by_s, scenes=tuple(map(scene_of, clip.scenes)))


def cropped(clip: Clip, share: float) -> Clip:
    """The clip without its edges: `share` of the width and of the height is gone, half of it at each side."""
    zoom = 1 / (1 - share)

    def scene_of(scene: Scene) -> Scene:
        actors = tuple(
            dataclasses.replace(
                actor,
                size=actor.size * zoom,
                path=tuple((time_s, 0.5 + zoom * (x - 0.5), 0.5 + zoom * (y - 0.5)) for time_s, x, y in actor.path),
            )
            for actor in scene.actors
        )
        return dataclasses.replace(scene, actors=actors)

    return dataclasses.replace(clip, scenes=tuple(map(scene_of, clip.scenes)))
