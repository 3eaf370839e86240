"""The same clip, otherwise: other words on the screen, half a second later, cropped, or with a rare actor. Pure."""

from __future__ import annotations

import dataclasses

from vidlm.toyworld.composed import HELD_OUT
from vidlm.toyworld.scene import SHAPES, Clip, Scene
from vidlm.toyworld.world import Rng


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
