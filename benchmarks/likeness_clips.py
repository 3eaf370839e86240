"""Clips for measuring likeness, and what people do to a video before they upload it again. Deterministic by seed.

A `Source` is drawn at whichever times are asked for, so that a change of rate or a trim is a choice of times and the
rest are changes of pixels. Two kinds: the toy world's, which resemble one another a lot (plain grounds, few shapes),
and natural-looking ones (1/f noise as photographs have it, layers that move, pans, cuts).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from vidlm.domain import FrameBatch
from vidlm.toyworld.draw import render
from vidlm.toyworld.scene import Clip
from vidlm.toyworld.world import EVAL_SEEDS, sample_clip

HEIGHT, WIDTH = 120, 160
FPS: Final = 2.0
"""Frames sampled a second, as `VIDLM_SAMPLE_FPS` is set where nobody changes it."""

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Rng = np.random.Generator


class Source(Protocol):
    """A video that can be drawn at any time in [0, duration_s)."""

    @property
    def duration_s(self) -> float: ...

    def draw(self, times_s: Floats) -> Pixels:
        """uint8 [T, 120, 160, 3], RGB."""
        ...


@dataclass(frozen=True, slots=True)
class Toy:
    """A clip of the toy world."""

    clip: Clip
    duration_s: float

    def draw(self, times_s: Floats) -> Pixels:
        return render(self.clip, times_s, HEIGHT, WIDTH)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A picture larger than the frame, seen through a window that moves. mask: float32 [h, w, 1], 1 where it covers."""

    picture: npt.NDArray[np.float32]
    mask: npt.NDArray[np.float32]
    start: tuple[float, float]
    speed: tuple[float, float]

    def at(self, age_s: float) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The part in sight, [120, 160, 3], and its mask; windows stop at the picture's edge."""
        room = (self.picture.shape[0] - HEIGHT, self.picture.shape[1] - WIDTH)
        place = [a + b * age_s for a, b in zip(self.start, self.speed, strict=True)]
        y, x = (round(min(max(p, 0.0), 1.0) * r) for p, r in zip(place, room, strict=True))
        window = np.s_[y : y + HEIGHT, x : x + WIDTH]
        return self.picture[window], self.mask[window]


@dataclass(frozen=True, slots=True)
class Natural:
    """Scenes of layers of 1/f noise: (start_s, layers), in order of time."""

    scenes: tuple[tuple[float, tuple[Layer, ...]], ...]
    duration_s: float

    def draw(self, times_s: Floats) -> Pixels:
        starts = [start for start, _ in self.scenes]
        frames = np.empty((len(times_s), HEIGHT, WIDTH, 3), np.uint8)
        for number, time_s in enumerate(times_s):
            index = max(0, int(np.searchsorted(starts, time_s, side="right")) - 1)
            start_s, layers = self.scenes[index]
            canvas = np.zeros((HEIGHT, WIDTH, 3), np.float32)
            for layer in layers:
                picture, mask = layer.at(float(time_s) - start_s)
                canvas = canvas * (1 - mask) + picture * mask
            frames[number] = np.clip(canvas, 0, 255).astype(np.uint8)
        return frames


def toy(seed: int) -> Toy:
    """A toy clip of 8 to 20 s."""
    rng = np.random.default_rng(EVAL_SEEDS.start + seed)
    duration_s = float(rng.integers(16, 41)) / 2
    return Toy(sample_clip(rng, duration_s=duration_s), duration_s)


def natural(seed: int) -> Natural:
    """A natural-looking clip of 8 to 20 s with a cut every 2 to 6 s."""
    rng = np.random.default_rng([seed, 7])
    duration_s = float(rng.integers(16, 41)) / 2
    scenes, start_s = [], 0.0
    while start_s < duration_s:
        covers = [_layer(rng, whole=False) for _ in range(int(rng.integers(0, 3)))]
        scenes.append((start_s, (_layer(rng, whole=True), *covers)))
        start_s += float(rng.uniform(2, 6))
    return Natural(tuple(scenes), duration_s)


def _layer(rng: Rng, *, whole: bool) -> Layer:
    shape = (HEIGHT * 3 // 2, WIDTH * 3 // 2)
    light = pink(rng, shape, float(rng.uniform(0.9, 1.5)))[..., None]
    tint = np.stack([pink(rng, shape, 1.6) for _ in range(3)], axis=-1)
    level, contrast = float(rng.uniform(60, 190)), float(rng.uniform(20, 60))
    picture = level + contrast * (light + 0.3 * tint)
    cover = np.ones(shape) if whole else np.clip(4 * (pink(rng, shape, 2.0) - 0.8), 0, 1)
    start, speed = rng.uniform(0, 1, 2), rng.normal(0, 0.08 if whole else 0.2, 2)
    return Layer(
        picture.astype(np.float32),
        cover[..., None].astype(np.float32),
        (float(start[0]), float(start[1])),
        (float(speed[0]), float(speed[1])),
    )


def pink(rng: Rng, shape: tuple[int, int], slope: float) -> Floats:
    """Noise whose amplitude falls as 1/f^slope, of mean 0 and sigma 1. Photographs have slopes near 1 (Field 1987)."""
    down, across = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    frequency = np.hypot(down, across)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal(shape)) / frequency**slope
    noise = np.fft.irfft2(spectrum, s=shape)
    return np.asarray((noise - noise.mean()) / noise.std())


def sampled(source: Source, fps: float = FPS, *, start_s: float = 0.0, end_s: float | None = None) -> FrameBatch:
    """Frames at a constant rate of `[start_s, end_s)`; their times count from `start_s`."""
    end_s = source.duration_s if end_s is None else end_s
    times_s = np.arange(start_s, end_s - 1e-9, 1 / fps)
    return FrameBatch(source.draw(times_s), times_s - start_s)


# ---- what is done to a video


def each(change: Callable[[Image.Image], Image.Image]) -> Callable[[Source, Rng], FrameBatch]:
    """A transform that does the same to every frame."""

    def transform(source: Source, _: Rng) -> FrameBatch:
        frames = sampled(source)
        return FrameBatch(np.stack([np.asarray(change(Image.fromarray(f))) for f in frames.pixels]), frames.times_s)

    return transform


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=quality)
    return Image.open(stored).convert("RGB")


def recompressed(source: Source, rng: Rng) -> FrameBatch:
    quality = int(rng.integers(12, 26))
    return each(lambda image: jpeg(image, quality))(source, rng)


def resized(source: Source, rng: Rng) -> FrameBatch:
    size = [(80, 60), (96, 72), (320, 240), (448, 336)][int(rng.integers(4))]
    return each(lambda image: image.resize(size, Image.Resampling.BICUBIC))(source, rng)


def stretched(source: Source, rng: Rng) -> FrameBatch:
    size = [(160, 90), (120, 120), (200, 112), (120, 160)][int(rng.integers(4))]
    return each(lambda image: image.resize(size, Image.Resampling.BILINEAR))(source, rng)


def marked(source: Source, rng: Rng) -> FrameBatch:
    """A logo in a corner, an eighth to a fifth of each side."""
    logo = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize(
        (int(rng.integers(20, 33)), int(rng.integers(15, 25))), Image.Resampling.NEAREST
    )
    x, y = ((4, WIDTH - 4 - logo.width)[int(rng.integers(2))], (4, HEIGHT - 4 - logo.height)[int(rng.integers(2))])

    def change(image: Image.Image) -> Image.Image:
        image.paste(logo, (x, y))
        return image

    return each(change)(source, rng)


def bannered(source: Source, rng: Rng) -> FrameBatch:
    """A line of text on a bar an eighth of the height, at the top or the bottom."""
    top = int(rng.integers(2)) * (HEIGHT - 15)
    words = "".join(rng.choice(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ  "), 22))

    def change(image: Image.Image) -> Image.Image:
        pen = ImageDraw.Draw(image)
        pen.rectangle((0, top, WIDTH, top + 15), fill=(20, 20, 20))
        pen.text((8, top + 2), words, fill=(240, 240, 240))
        return image

    return each(change)(source, rng)


def cropped(source: Source, rng: Rng) -> FrameBatch:
    """5 to 10 % of the width and of the height are gone, from both sides in any shares."""
    dy, dx = (int(rng.uniform(0.05, 0.1) * side) for side in (HEIGHT, WIDTH))
    y, x = int(rng.integers(dy + 1)), int(rng.integers(dx + 1))
    return each(lambda image: image.crop((x, y, x + WIDTH - dx, y + HEIGHT - dy)))(source, rng)


def relit(source: Source, rng: Rng) -> FrameBatch:
    """Other brightness, contrast and gamma."""
    gain, lift, gamma = float(rng.uniform(0.7, 1.3)), float(rng.uniform(-25, 25)), float(rng.uniform(0.7, 1.4))
    table = np.clip((255 * (np.arange(256) / 255) ** gamma - 128) * gain + 128 + lift, 0, 255).astype(np.uint8)
    frames = sampled(source)
    return FrameBatch(table[frames.pixels], frames.times_s)


def blurred(source: Source, rng: Rng) -> FrameBatch:
    radius = float(rng.uniform(1.0, 2.0))
    return each(lambda image: image.filter(ImageFilter.GaussianBlur(radius)))(source, rng)


def noisy(source: Source, rng: Rng) -> FrameBatch:
    frames = sampled(source)
    grain = rng.normal(0, rng.uniform(8, 20), frames.pixels.shape)
    return FrameBatch(np.clip(frames.pixels + grain, 0, 255).astype(np.uint8), frames.times_s)


def other_rate(source: Source, rng: Rng) -> FrameBatch:
    """Another rate of the file: what is sampled is up to 0.1 s away, or another number of frames a second."""
    if rng.random() < 0.5:
        return sampled(source, float(rng.choice([1.0, 1.5, 3.0, 4.0])))
    frames = sampled(source)
    late_s = np.clip(frames.times_s + rng.uniform(-0.1, 0.1, len(frames)), 0, source.duration_s - 0.01)
    return FrameBatch(source.draw(late_s), frames.times_s)


def trimmed(source: Source, rng: Rng) -> FrameBatch:
    """A third of it, from anywhere: the sampling falls between the old one's frames."""
    start_s = float(rng.uniform(0, source.duration_s * 2 / 3))
    return sampled(source, start_s=start_s, end_s=start_s + source.duration_s / 3)


def mirrored(source: Source, _: Rng) -> FrameBatch:
    frames = sampled(source)
    return FrameBatch(np.ascontiguousarray(frames.pixels[:, :, ::-1]), frames.times_s)


def boxed(source: Source, rng: Rng) -> FrameBatch:
    """Black bars above and below, or left and right: a tenth to a fifth of the frame on each side."""
    frames = sampled(source)
    bars = [(int(rng.uniform(0.1, 0.2) * HEIGHT), 0), (0, int(rng.uniform(0.1, 0.2) * WIDTH))][int(rng.integers(2))]
    room = ((0, 0), (bars[0], bars[0]), (bars[1], bars[1]), (0, 0))
    return FrameBatch(np.pad(frames.pixels, room, constant_values=16), frames.times_s)


TRANSFORMS: Final[dict[str, Callable[[Source, Rng], FrameBatch]]] = {
    "recompressed": recompressed,
    "resized": resized,
    "stretched": stretched,
    "logo": marked,
    "banner": bannered,
    "cropped": cropped,
    "relit": relit,
    "blurred": blurred,
    "noisy": noisy,
    "other_rate": other_rate,
    "trimmed": trimmed,
    "mirrored": mirrored,
    "boxed": boxed,
}
"""Twelve that must be survived, and bars."""
