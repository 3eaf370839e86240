"""Encoded toy clips: real files whose frames show what is true at their times."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from vidlm.errors import ToolError
from vidlm.toyworld.demo import demos
from vidlm.toyworld.draw import render
from vidlm.toyworld.encode import Codec, encode_again, encode_clip, frame_times
from vidlm.toyworld.files import demo_clips, write_clips
from vidlm.toyworld.scene import HAZARDS, Actor, Clip, Scene
from vidlm.toyworld.truth import facts

GREY = ((120.0, 130.0, 140.0), (120.0, 130.0, 140.0))


def rolling_ball(duration_s: float) -> Clip:
    ball = Actor("circle", "red", 0.4, 0.0, 2.5, ((0.0, 0.2, 0.5), (duration_s, 0.8, 0.5)))
    return Clip(duration_s, (Scene(0.0, duration_s, GREY, (ball,), 0.0, 0),), 0.0, 0, (1.0, 1.0), 0.0)


def decoded(path: Path) -> tuple[list[float], list[np.ndarray]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [float(frame.time) for frame in frames], [frame.to_ndarray(format="rgb24") for frame in frames]


@pytest.mark.parametrize("variable_fps", [False, True])
@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("h264", ".mp4"), ("hevc", ".mp4"), ("vp9", ".webm"), ("av1", ".mkv"), ("mpeg4", ".mp4")],
)
def test_frames_show_the_moment_they_carry(codec: Codec, suffix: str, variable_fps: bool, tmp_path: Path) -> None:
    """Times are the promised ones to the millisecond, and each picture is the one drawn for its time."""
    clip, path = rolling_ball(3.5), tmp_path / f"ball{suffix}"
    times = encode_clip(clip, path, height=96, width=128, fps=10, codec=codec, audio=False, variable_fps=variable_fps)
    found, pictures = decoded(path)
    assert found == pytest.approx(times, abs=1.1e-3)
    drawn = render(clip, np.array(times), 96, 128)
    for picture, original in zip(pictures, drawn, strict=True):
        assert np.abs(picture.astype(int) - original).mean() < 6


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_what_is_passed_on_is_smaller_and_shows_the_same_when_it_did(suffix: str, tmp_path: Path) -> None:
    clip, path, copy = rolling_ball(3.5), tmp_path / f"ball{suffix}", tmp_path / "copy.mp4"
    codec: Codec = "h264" if suffix == ".mp4" else "vp9"
    times = encode_clip(clip, path, height=120, width=160, fps=10, codec=codec, audio=True, variable_fps=True)
    encode_again(path, copy, height=96, width=128, crf=35)
    assert copy.stat().st_size < path.stat().st_size
    found, pictures = decoded(copy)
    assert found == pytest.approx(times, abs=1.1e-3)
    for picture, original in zip(pictures, render(clip, np.array(times), 96, 128), strict=True):
        assert np.abs(picture.astype(int) - original).mean() < 12
    with pytest.raises(ValueError, match="even sides"):
        encode_again(path, copy, height=95, width=128, crf=35)


def test_a_variable_rate_changes_every_second_and_keeps_the_end() -> None:
    times = np.array(frame_times(4.0, 30, variable_fps=True))
    per_second = [int(((times >= second) & (times < second + 1)).sum()) for second in range(4)]
    assert per_second == [30, 15, 10, 30]
    assert times[-1] == pytest.approx(119 / 30)
    assert frame_times(3.0, 7, variable_fps=True)[-1] == pytest.approx(20 / 7)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi", ".mkv"])
def test_sound_is_as_long_as_the_picture(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"loud{suffix}"
    codec: Codec = "vp9" if suffix == ".webm" else "h264"
    encode_clip(rolling_ball(1.5), path, height=64, width=64, fps=10, codec=codec, audio=True)
    with av.open(str(path)) as container:
        samples = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert samples == pytest.approx(1.5, abs=0.1)


def test_a_higher_crf_makes_a_smaller_file(tmp_path: Path) -> None:
    clip = rolling_ball(1.0)
    for codec, suffix in (("h264", ".mp4"), ("mpeg4", ".avi")):
        sizes = []
        for crf in (15, 38):
            path = tmp_path / f"{codec}-{crf}{suffix}"
            encode_clip(clip, path, height=96, width=128, fps=10, codec=codec, crf=crf, audio=False)  # type: ignore[arg-type]
            sizes.append(path.stat().st_size)
        assert sizes[1] < sizes[0]


def test_what_ffmpeg_cannot_write_is_a_tool_error(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="ffmpeg"):
        encode_clip(rolling_ball(30.0), tmp_path / "no" / "folder.mp4", height=96, width=128, fps=10, audio=False)
    with pytest.raises(ValueError, match="even"):
        encode_clip(rolling_ball(1.0), tmp_path / "odd.mp4", height=95, width=128, fps=10, audio=False)


def test_the_same_seed_writes_the_same_clips(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    first = json.loads(
        write_clips(3, 2, tmp_path / "a", lambda *progress: seen.append(progress), max_duration_s=4.5).read_text()
    )
    second = json.loads(write_clips(3, 1, tmp_path / "b", max_duration_s=4.5).read_text())
    assert seen == [(1, 2), (2, 2)]
    assert first["clips"][:1] == second["clips"]
    assert first["clips"][0] != first["clips"][1]
    entry = first["clips"][0]
    written = [(tmp_path / folder / entry["file"]).read_bytes() for folder in "ab"]
    assert written[0] == written[1]
    times, pictures = decoded(tmp_path / "a" / entry["file"])
    assert times[-1] == pytest.approx(entry["truth"]["duration_s"], abs=1.5 / entry["fps"])
    assert pictures[0].shape == (entry["height"], entry["width"], 3)


def test_the_demo_has_what_it_promises() -> None:
    every = demos()
    hazardous = [demo.name for demo in every if any(fact.kind in HAZARDS for fact in facts(demo.clip))]
    assert len(every) == len({demo.name for demo in every}) == 8
    assert hazardous == ["kitchen-knife", "campfire", "brawl", "minute"]
    assert [demo.name for demo in every if demo.clip.duration_s == 60 and len(demo.clip.scenes) > 3] == ["minute"]
    assert [demo.name for demo in every if not demo.form.audio] == ["silent-shapes"]
    assert [demo.name for demo in every if demo.form.height > demo.form.width] == ["portrait"]
    assert [demo.name for demo in every if demo.form.variable_fps] == ["stutter"]
    assert {demo.form.codec for demo in every} == {"h264", "vp9", "mpeg4"}


@pytest.mark.parametrize("demo", demos(), ids=lambda demo: demo.name)
def test_demo_scenes_tile_their_clip_and_actors_stay_in_their_scene(demo) -> None:
    scenes = demo.clip.scenes
    assert [scene.start_s for scene in scenes] == [0.0, *(scene.end_s for scene in scenes[:-1])]
    assert scenes[-1].end_s == demo.clip.duration_s
    for scene in scenes:
        for actor in scene.actors:
            assert scene.start_s <= actor.start_s < actor.end_s <= scene.end_s


def test_demo_clips_lie_where_they_say(tmp_path: Path) -> None:
    clips = demo_clips(tmp_path)
    assert [clip.path.exists() for clip in clips] == [True] * 8
    assert all(clip.question.endswith("?") for clip in clips)
    with av.open(str(clips[-1].path)) as container:
        assert container.duration / 1e6 == pytest.approx(60, abs=0.2)
