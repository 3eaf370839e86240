"""PDQ's arithmetic against a slow spelling-out of its description, and what a hash has to survive."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.likeness_clips import pink
from vidlm.likeness.pdq import BITS, distances, hash_frames

Pixels = npt.NDArray[np.uint8]


def picture(seed: int, height: int = 120, width: int = 160) -> Pixels:
    """uint8 [height, width, 3]: coloured 1/f noise, as even as a photograph."""
    rng = np.random.default_rng(seed)
    planes = [128 + 45 * pink(rng, (height, width), 1.0) for _ in range(3)]
    return np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8)


def box_filtered(line: list[float], window: int) -> list[float]:
    """The mean over `window` values around each, one more after it than before where they are even, inside the line."""
    ahead = window // 2
    behind = window - ahead - 1
    spans = [line[max(0, i - behind) : i + ahead + 1] for i in range(len(line))]
    return [sum(span) / len(span) for span in spans]


def spelled_out(frame: Pixels) -> tuple[npt.NDArray[np.float64], int]:
    """(coefficients [16, 16], quality) of one frame as the description has it, step by step."""
    height, width = frame.shape[:2]
    grey = (frame.astype(np.float64) * [0.299, 0.587, 0.114]).sum(axis=2)
    for _ in range(2):
        grey = np.array([box_filtered(list(row), -(-width // 128)) for row in grey])
        grey = np.array([box_filtered(list(column), -(-height // 128)) for column in grey.T]).T
    rows = [int((i + 0.5) * height / 64) for i in range(64)]
    columns = [int((i + 0.5) * width / 64) for i in range(64)]
    grid = grey[np.ix_(rows, columns)]
    steps = [int(abs(a - b) * 100 / 255) for a, b in zip(grid[:-1].ravel(), grid[1:].ravel(), strict=True)]
    steps += [int(abs(a - b) * 100 / 255) for a, b in zip(grid[:, :-1].ravel(), grid[:, 1:].ravel(), strict=True)]
    waves = np.array([[np.cos(np.pi / 128 * k * (2 * n + 1)) for n in range(64)] for k in range(1, 17)]) / np.sqrt(32)
    return waves @ grid @ waves.T, min(100, sum(steps) // 90)


def unpacked(text: str) -> npt.NDArray[np.bool_]:
    """Bit 16 i + j of PDQ's text at [i, j]: the text is one number, its highest bit first."""
    number = int(text, 16)
    return np.array([(number >> bit) & 1 for bit in range(BITS)], bool).reshape(16, 16)


@pytest.mark.parametrize("size", [(120, 160), (90, 161), (300, 200), (64, 64), (48, 65)])
def test_hash_and_quality_are_those_of_the_description(size: tuple[int, int]) -> None:
    frame = picture(1, *size)
    found = hash_frames(frame[None])
    coefficients, quality = spelled_out(frame)
    median = np.sort(coefficients.ravel())[127]
    doubtful = np.abs(coefficients - median) < 1e-3  # the product in single precision may fall on the other side
    same = unpacked(found.hashes[0].tobytes().hex()) == (coefficients > median)
    assert (same | doubtful).all()
    assert doubtful.sum() <= 3
    assert abs(int(found.quality[0]) - quality) <= 1


def test_half_of_the_bits_are_set() -> None:
    found = hash_frames(np.stack([picture(seed) for seed in range(20)]))
    assert np.bitwise_count(found.hashes).sum(axis=1).tolist() == [128] * 20
    assert np.bitwise_count(found.mirrored).sum(axis=1).tolist() == [128] * 20


def test_frames_hash_alone_as_they_do_together() -> None:
    frames = np.stack([picture(seed) for seed in range(40)])
    together = hash_frames(frames)
    for number in (0, 17, 39):
        alone = hash_frames(frames[number : number + 1])
        assert int(distances(alone.hashes, together.hashes[number : number + 1])[0, 0]) <= 2
        assert alone.quality[0] == together.quality[number]


def test_the_mirrored_hash_is_that_of_the_mirrored_frame() -> None:
    frames = np.stack([picture(seed, 128, 192) for seed in range(20)])
    turned = hash_frames(np.ascontiguousarray(frames[:, :, ::-1]))
    straight = hash_frames(frames)
    apart = np.diag(distances(straight.mirrored, turned.hashes))
    assert apart.max() <= 45  # windows of an even width lean to one side, so that it is not the same to the bit
    assert np.diag(distances(straight.hashes, turned.hashes)).min() >= 90


def test_strangers_differ_in_about_half_of_the_bits() -> None:
    found = hash_frames(np.stack([picture(seed) for seed in range(60)]))
    apart = distances(found.hashes, found.hashes)[np.triu_indices(60, 1)]
    assert 124 <= apart.mean() <= 132
    assert apart.min() >= 85


@pytest.mark.parametrize("level", [0, 90, 255])
def test_a_flat_frame_has_no_quality(level: int) -> None:
    found = hash_frames(np.full((2, 120, 160, 3), level, np.uint8))
    assert found.quality.tolist() == [0, 0]


def test_quality_grows_with_what_there_is_to_see() -> None:
    frame = picture(3).astype(np.float64)
    faded = [np.clip(128 + share * (frame - 128), 0, 255).astype(np.uint8) for share in (0.05, 0.2, 0.5, 1.0)]
    quality = hash_frames(np.stack(faded)).quality.astype(int).tolist()
    assert quality == sorted(quality)
    assert quality[0] < 25 < quality[-1]


def test_no_frames_and_tiny_frames_are_no_trouble() -> None:
    assert len(hash_frames(np.empty((0, 120, 160, 3), np.uint8))) == 0
    tiny = hash_frames(np.full((1, 3, 160, 3), 7, np.uint8))
    assert (tiny.quality[0], tiny.hashes.shape) == (0, (1, 32))


@pytest.mark.parametrize(
    "pixels", [np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8, 4), np.uint8), np.zeros((2, 8, 8, 3), np.float32)]
)
def test_other_arrays_are_refused(pixels: Pixels) -> None:
    with pytest.raises(ValueError, match="uint8"):
        hash_frames(pixels)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_distances_count_the_bits_that_differ(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = (rng.integers(0, 256, (count, 32), dtype=np.uint8) for count in (n, m))
    expected = [[int((np.unpackbits(a) != np.unpackbits(b)).sum()) for b in other] for a in one]
    assert distances(one, other).tolist() == expected
