"""Frame sizes: equal to the reference library's, and sane for any video."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vidlm.errors import CheckpointError
from vidlm.model.preprocess import FrameGeometry, smart_resize

ROWS = json.loads((Path(__file__).parents[1] / "data" / "smart_resize.json").read_text())["rows"]


@pytest.mark.parametrize(("height", "width", "min_pixels", "max_pixels", "expected"), ROWS)
def test_smart_resize_equals_the_reference(height, width, min_pixels, max_pixels, expected):
    if expected is None:
        with pytest.raises(ValueError):
            smart_resize(height, width, min_pixels=min_pixels, max_pixels=max_pixels)
    else:
        assert list(smart_resize(height, width, min_pixels=min_pixels, max_pixels=max_pixels)) == expected


@example(height=1, width=2, limit=3136)  # grown to the fewest pixels it would be larger than the limit
@given(height=st.integers(1, 5000), width=st.integers(1, 5000), limit=st.none() | st.integers(3136, 400_000))
def test_every_video_has_a_size_the_model_takes(height, width, limit):
    geometry = FrameGeometry(min_pixels=3136, max_pixels=200_704)
    if max(height, width) > 200 * min(height, width):
        with pytest.raises(ValueError):
            geometry.fit(height, width, limit)
        return
    h, w = geometry.fit(height, width, limit)
    assert h % 28 == w % 28 == 0
    budget = min(200_704, limit or 200_704)
    assert h * w <= budget or min(h, w) == 28  # a very thin picture keeps one cell, whatever the budget
    assert geometry.fit(h, w, limit) == (h, w) or h * w > budget or h * w < 3136


def test_empty_pictures_are_refused():
    with pytest.raises(ValueError, match="size"):
        FrameGeometry().fit(0, 100)


@pytest.mark.parametrize(
    ("file", "config", "budget"),
    [
        ("preprocessor_config.json", {"min_pixels": 4000, "max_pixels": 90_000}, (4000, 90_000)),
        ("preprocessor_config.json", {"size": {"shortest_edge": 5000, "longest_edge": 80_000}}, (5000, 80_000)),
        ("video_preprocessor_config.json", {"min_pixels": 4000, "max_pixels": 90_000}, (4000, 90_000)),
        ("preprocessor_config.json", {"min_pixels": None, "size": None}, (3136, 1_003_520)),
        ("processor_config.json", {"video_processor": {"min_pixels": 4000, "max_pixels": 9000}}, (4000, 9000)),
        ("processor_config.json", {"image_processor": {"min_pixels": 4000, "max_pixels": 9000}}, (4000, 9000)),
    ],
)
def test_geometry_reads_both_spellings(tmp_path, file, config, budget):
    (tmp_path / file).write_text(json.dumps(config | {"patch_size": 14}))
    geometry = FrameGeometry.from_checkpoint(tmp_path)
    assert (geometry.min_pixels, geometry.max_pixels) == budget
    assert geometry.factor == 28
    assert geometry.patch_values == 1176


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"patch_size": 0}',
        '{"image_std": [0, 1, 1]}',
        '{"image_mean": [1]}',
        '{"min_pixels": 9, "max_pixels": 8}',
    ],
)
def test_a_broken_preprocessor_is_a_checkpoint_error(tmp_path, content):
    (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json") as caught:
        FrameGeometry.from_checkpoint(tmp_path)
    assert str(tmp_path.parent) not in caught.value.detail


def test_a_checkpoint_of_ours_names_how_much_it_is_asked_about_at_once(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text("{}")
    assert FrameGeometry.from_checkpoint(tmp_path).segment_max_s == 10.0
    (tmp_path / "vidlm.json").write_text('{"name": "one", "segment_max_s": 3}')
    assert FrameGeometry.from_checkpoint(tmp_path) == FrameGeometry(segment_max_s=3.0)


@pytest.mark.parametrize("named", ["0", "-1", '"long"', "true", "null", "Infinity", "NaN"])
def test_a_length_that_makes_no_sense_is_a_checkpoint_error(tmp_path, named):
    (tmp_path / "preprocessor_config.json").write_text("{}")
    (tmp_path / "vidlm.json").write_text(f'{{"segment_max_s": {named}}}')
    with pytest.raises(CheckpointError, match=r"vidlm\.json.*segment_max_s"):
        FrameGeometry.from_checkpoint(tmp_path)


def test_a_missing_preprocessor_is_a_checkpoint_error(tmp_path):
    with pytest.raises(CheckpointError, match="no preprocessor_config"):
        FrameGeometry.from_checkpoint(tmp_path)
