"""The batched tower equals the library's, in values and in gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

from vidlm.model.preprocess import FrameGeometry
from vidlm.model.vision import encode_pairs, patchify

SHAPES = [FrameGeometry(), FrameGeometry(patch_size=6, temporal_patch_size=3, merge_size=3, std=(0.2, 0.3, 0.4))]


def frames(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)


def tower(geometry: FrameGeometry) -> Qwen2VisionTransformerPretrainedModel:
    torch.manual_seed(0)
    config = Qwen2VLVisionConfig(
        depth=2, embed_dim=40, num_heads=5, hidden_size=24, patch_size=geometry.patch_size,
        temporal_patch_size=geometry.temporal_patch_size, spatial_merge_size=geometry.merge_size, initializer_range=0.2,
    )  # fmt: skip
    config._attn_implementation = "sdpa"
    return Qwen2VisionTransformerPretrainedModel(config).eval()


@settings(max_examples=30, deadline=None)
@given(data=st.data(), count=st.integers(1, 7), shape=st.sampled_from(SHAPES))
def test_each_value_of_a_row_is_the_pixel_it_should_be(data, count, shape):
    cells_h, cells_w = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    pixels = frames(count, cells_h * shape.factor, cells_w * shape.factor)
    rows, (h, w) = patchify(pixels, shape)
    depth, size, merge = shape.temporal_patch_size, shape.patch_size, shape.merge_size
    assert rows.shape == (-(-count // depth), h * w, shape.patch_values)
    pair, y, x = (
        data.draw(st.integers(0, len(rows) - 1)),
        data.draw(st.integers(0, h - 1)),
        data.draw(st.integers(0, w - 1)),
    )
    channel, frame = data.draw(st.integers(0, 2)), data.draw(st.integers(0, depth - 1))
    dy, dx = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size - 1))
    cell = (y // merge) * (w // merge) + x // merge
    row = cell * merge**2 + (y % merge) * merge + x % merge
    column = ((channel * depth + frame) * size + dy) * size + dx
    byte = int(pixels[min(pair * depth + frame, count - 1), y * size + dy, x * size + dx, channel])
    assert float(rows[pair, row, column]) == pytest.approx(
        (byte / 255 - shape.mean[channel]) / shape.std[channel], abs=1e-6
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("count", "cells_h", "cells_w"), [(1, 1, 1), (5, 2, 3), (8, 4, 1)])
def test_tokens_and_gradients_equal_the_library(shape, count, cells_h, cells_w):
    visual = tower(shape)
    rows, (h, w) = patchify(frames(count, cells_h * shape.factor, cells_w * shape.factor), shape)
    ours = encode_pairs(visual, rows, (h, w))
    theirs = visual(rows.flatten(0, 1), grid_thw=torch.tensor([[len(rows), h, w]])).pooler_output
    assert ours.shape == (len(rows), cells_h * cells_w, 24)
    torch.testing.assert_close(ours.flatten(0, 1), theirs, atol=1e-4, rtol=1e-4)
    weights = list(visual.parameters())
    for mine, other in zip(
        torch.autograd.grad(ours.square().mean(), weights),
        torch.autograd.grad(theirs.square().mean(), weights),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-3)


def test_pairs_do_not_see_each_other():
    visual, shape = tower(SHAPES[0]), SHAPES[0]
    rows, grid = patchify(frames(6, 56, 84), shape)
    with torch.no_grad():
        torch.testing.assert_close(encode_pairs(visual, rows, grid)[1:2], encode_pairs(visual, rows[1:2], grid))


def test_trains_under_autocast():
    visual, shape = tower(SHAPES[0]).train(), SHAPES[0]
    rows, grid = patchify(frames(4, 56, 56), shape)
    with torch.autocast("cpu", torch.bfloat16):
        tokens = encode_pairs(visual, rows, grid)
    assert tokens.dtype == torch.bfloat16
    tokens.float().square().mean().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in visual.parameters())
    torch.testing.assert_close(tokens.float(), encode_pairs(visual, rows, grid), atol=0.1, rtol=0.1)


@pytest.mark.parametrize(
    "pixels",
    [
        torch.zeros(2, 56, 56, 3),
        torch.zeros(2, 30, 56, 3, dtype=torch.uint8),
        torch.zeros(0, 56, 56, 3, dtype=torch.uint8),
        torch.zeros(56, 56, 3, dtype=torch.uint8),
    ],
)
def test_frames_of_another_kind_are_refused(pixels):
    with pytest.raises(ValueError):
        patchify(pixels, FrameGeometry())


def test_rows_that_are_not_the_grid_are_refused():
    rows, _ = patchify(frames(2, 56, 56), SHAPES[0])
    with pytest.raises(ValueError, match="grid"):
        encode_pairs(tower(SHAPES[0]), rows, (4, 6))
