"""The vision tower: uint8 frames -> patch rows -> visual tokens, all frame pairs as one batch.

Runs over the weights of the library's own tower, which loops over frame pairs and synchronises with the device in every
block. Attention in Qwen2-VL's tower never leaves one temporal patch (a frame pair), so pairs of one size are simply the
batch of an ordinary attention.

Knows nothing of time, prompts or files. `patchify` and `encode_pairs` are differentiable; training uses them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlm.model.preprocess import FrameGeometry
from vidlm.model.text import rotate


def cut_patches(pixels: Tensor, geometry: FrameGeometry) -> tuple[Tensor, tuple[int, int]]:
    """Cut frames into the rows the patch embedding takes, still as bytes.

    pixels: uint8 `[T, H, W, 3]`, RGB, already at a size the model takes (both sides multiples of `geometry.factor`).
    Returns uint8 rows `[P, n, 3 * temporal * patch * patch]` for the P frame pairs, and the grid `(h, w)` in patches,
    n = h * w. An odd frame count repeats its last frame. Patches of one merged cell are neighbours in a row's order:

        cell 0         cell 1          rows 0 1 2 3 are cell 0 (2 x 2 patches, row by row),
        [0 1] [4 5]                    rows 4 5 6 7 cell 1, ...
        [2 3] [6 7]                    values of a row: channel, frame, y, x
    """
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
        raise ValueError(f"pixels must be uint8 [T, H, W, 3], not {pixels.dtype} {list(pixels.shape)}")
    count, height, width, _ = pixels.shape
    depth, size, merge = geometry.temporal_patch_size, geometry.patch_size, geometry.merge_size
    if count == 0 or height == 0 or width == 0 or height % geometry.factor or width % geometry.factor:
        raise ValueError(f"{count} frames of {height} x {width} do not divide into cells of {geometry.factor} pixels")
    if missing := -count % depth:
        pixels = torch.cat([pixels, pixels[-1:].expand(missing, -1, -1, -1)])
    h, w = height // size, width // size
    cells = pixels.reshape(-1, depth, h // merge, merge, size, w // merge, merge, size, 3)
    return cells.permute(0, 2, 5, 3, 6, 8, 1, 4, 7).reshape(-1, h * w, geometry.patch_values), (h, w)


def patchify(pixels: Tensor, geometry: FrameGeometry) -> tuple[Tensor, tuple[int, int]]:
    """`cut_patches`, normalised as the reference's processor does it: float32 rows of the same shape."""
    rows, grid_hw = cut_patches(pixels, geometry)  # moving bytes moves a quarter of the data
    mean, std = (torch.tensor(of, device=rows.device).mul_(255.0).view(3, 1) for of in (geometry.mean, geometry.std))
    channels = rows.view(*rows.shape[:2], 3, -1).float()
    return channels.sub_(mean).div_(std).flatten(2), grid_hw


class Tower:
    """A loaded checkpoint's vision tower: bytes in, visual tokens out.

    For Qwen2-VL the patch embedding (a Conv3d whose stride equals its kernel, so a matrix product) has the pictures'
    normalisation folded into its weights, and frame pairs are the batch of an ordinary attention. Other families run
    the library's own tower.
    """

    def __init__(self, visual: Any, geometry: FrameGeometry) -> None:
        """visual: the library's `model.model.visual`."""
        self._visual = visual
        self._geometry = geometry
        self._own = visual.config.model_type.startswith("qwen2_vl")
        if self._own:
            self._kernel, self._bias = _fold(visual.patch_embed.proj.weight.detach().flatten(1), geometry)

    def encode(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Visual tokens of frame pairs, `[P, n, D]`, and their grid in patches. pixels: see `cut_patches`.

        D is the language model's width, times one more for each deeper layer that the tower speaks to (Qwen3-VL).
        """
        if not self._own:
            rows, grid_hw = patchify(pixels, self._geometry)
            return self._library(rows, grid_hw), grid_hw
        rows, grid_hw = cut_patches(pixels, self._geometry)
        hidden = F.linear(rows.to(self._kernel.dtype), self._kernel, self._bias)
        return run_tower(self._visual, hidden, grid_hw), grid_hw

    def _library(self, rows: Tensor, grid_hw: tuple[int, int]) -> Tensor:
        pairs = len(rows)
        grid = torch.tensor([[1, *grid_hw]] * pairs, device=rows.device)
        out = self._visual(rows.flatten(0, 1).to(self._visual.dtype), grid_thw=grid, return_dict=True)
        layers = [out.pooler_output, *(getattr(out, "deepstack_features", None) or ())]
        return torch.cat([layer.view(pairs, -1, layer.shape[-1]) for layer in layers], dim=-1)


def _fold(kernel: Tensor, geometry: FrameGeometry) -> tuple[Tensor, Tensor]:
    """Weights and bias that take bytes as the kernel `[E, values]` takes normalised values.

    The bias is made from the weights as rounded, so that a picture of the mean colour still maps to nothing.
    """
    each = geometry.patch_values // 3
    mean, std = (
        torch.tensor(of, device=kernel.device).mul_(255.0).repeat_interleave(each)
        for of in (geometry.mean, geometry.std)
    )
    folded = (kernel.float() / std).to(kernel.dtype)
    return folded, -(folded.float() @ mean).to(kernel.dtype)


def encode_pairs(visual: Any, rows: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Visual tokens of P frame pairs that share one grid.

    visual: a `Qwen2VisionTransformerPretrainedModel` (`model.model.visual`).  rows: float `[P, n, values]`, see
    `patchify`.
    Returns `[P, n / merge**2, D]`, D the language model's width, in the tower's dtype (autocast's, under autocast).
    Equal to `get_video_features` on the same rows.
    """
    patches, merge = rows.shape[1], int(visual.spatial_merge_size)
    if patches != grid_hw[0] * grid_hw[1] or grid_hw[0] % merge or grid_hw[1] % merge:
        raise ValueError(f"{patches} patches do not make a grid of {grid_hw[0]} x {grid_hw[1]} in cells of {merge}")
    kernel = visual.patch_embed.proj.weight
    return run_tower(visual, F.linear(rows.to(kernel.dtype), kernel.flatten(1)), grid_hw)


def run_tower(visual: Any, hidden: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Embedded patches `[P, n, E]` -> visual tokens `[P, n / merge**2, D]`."""
    pairs, patches, _ = hidden.shape
    merge = int(visual.spatial_merge_size)
    cos, sin = _rotary(visual.rotary_pos_emb.inv_freq, grid_hw, merge, hidden.device)
    for block in visual.blocks:
        hidden = hidden + _attention(block.attn, block.norm1(hidden), cos, sin)
        hidden = hidden + block.mlp(block.norm2(hidden))
    merged: Tensor = visual.merger(hidden)
    return merged.view(pairs, patches // merge**2, -1)


def _attention(attention: Any, hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Full attention within each pair: hidden `[P, n, E]` -> `[P, n, E]`."""
    pairs, patches, _ = hidden.shape
    qkv: Tensor = attention.qkv(hidden)
    query, key, value = qkv.view(pairs, patches, 3, int(attention.num_heads), -1).permute(2, 0, 3, 1, 4)
    # in float32 whatever the tower runs in
    query, key = (rotate(heads.float(), cos, sin).to(hidden.dtype) for heads in (query, key))
    mixed = F.scaled_dot_product_attention(query, key, value)
    projection: nn.Module = attention.proj
    out: Tensor = projection(mixed.transpose(1, 2).reshape(pairs, patches, -1))
    return out


def _rotary(inv_freq: Tensor, grid_hw: tuple[int, int], merge: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What `rotate` takes for each patch's row and column, in `patchify`'s order: float32 `[n, head_dim]` twice."""
    h, w = grid_hw
    y = torch.arange(h, device=device).view(h // merge, merge, 1, 1).expand(-1, -1, w // merge, merge)
    x = torch.arange(w, device=device).view(1, 1, w // merge, merge).expand(h // merge, merge, -1, -1)
    places = torch.stack([y, x], dim=-1).transpose(1, 2).reshape(h * w, 2, 1)
    angles = (places.float() * inv_freq.to(device=device, dtype=torch.float32)).flatten(1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)
