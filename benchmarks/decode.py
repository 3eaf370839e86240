"""From a file to model-ready patches, four ways, on this machine: `./run bench decode`, JSON on standard output.

    vidlm      untrusted file -> confined ffmpeg -> proxy -> decord -> patches (poster and thumbnails included)
    usual      decord at full size -> PIL -> transformers' image processor: what Qwen2-VL's own utilities do
    pyav       PyAV by hand: decode all, shrink those that are wanted
    decord     decord that shrinks while it decodes

The same moments, the same size, the same patches. Each way runs in a process of its own, on one core and on all;
seconds are medians of `--runs`. Only vidlm's way survives a hostile file; the others are here for their speed.
A way that cannot read a clip gets null.
"""

# ruff: noqa: PLC0415 -- each way loads only its own: two decoders' libraries in one process get in each other's way

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

from vidlm.model.preprocess import FrameGeometry

GEOMETRY: Final = FrameGeometry(max_pixels=200_704)
SAMPLE_FPS: Final = 2.0
SOURCE_FPS: Final = 30
SIZES: Final = {"1080p": (1920, 1080), "720p": (1280, 720), "360p": (640, 360)}
BIT_RATES: Final = {"1080p": "8M", "720p": "5M", "360p": "1M"}
"""What YouTube recommends for uploads of 30 frames a second (support.google.com/youtube/answer/1722171)."""
CODECS: Final = {
    "h264-gop250": ("mp4", ["-c:v", "libx264", "-preset", "veryfast", "-g", "250"]),
    "h264-gop30": ("mp4", ["-c:v", "libx264", "-preset", "veryfast", "-g", "30"]),
    "hevc": ("mp4", ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"]),
    "vp9": ("webm", ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-row-mt", "1"]),
}


def vidlm_way(path: Path) -> tuple[int, ...]:
    import torch

    from vidlm.model.vision import patchify
    from vidlm.video.frames import read_frames
    from vidlm.video.normalize import Limits, normalize

    limits = Limits(max_duration_s=3600, max_bytes=1 << 32, max_pixels=35_389_440, max_side=8192)
    with tempfile.TemporaryDirectory() as work:
        done = normalize(path, Path(work), filename="x", sample_fps=SAMPLE_FPS, fit=GEOMETRY.fit, limits=limits)
        frames = read_frames(done.proxy, (done.height, done.width), done.frame_times_s)
    rows, _ = patchify(torch.from_numpy(frames.pixels), GEOMETRY)
    return tuple(rows.shape)


def usual_way(path: Path) -> tuple[int, ...]:
    import decord
    from PIL import Image
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor: Any = Qwen2VLImageProcessorPil(min_pixels=GEOMETRY.min_pixels, max_pixels=GEOMETRY.max_pixels)
    reader = decord.VideoReader(str(path))
    pixels = reader.get_batch(_indices(len(reader))).asnumpy()
    found = processor(images=[Image.fromarray(frame) for frame in pixels], return_tensors="np")
    return tuple(found["pixel_values"].shape)


def pyav_way(path: Path) -> tuple[int, ...]:
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        height, width = GEOMETRY.fit(stream.height, stream.width)
        wanted, found = 0, []
        for number, frame in enumerate(container.decode(stream)):
            if number >= wanted:
                found.append(frame.reformat(width, height, "rgb24").to_ndarray())
                wanted += int(SOURCE_FPS / SAMPLE_FPS)
    return _patches(np.stack(found))


def decord_way(path: Path) -> tuple[int, ...]:
    import decord

    probe = decord.VideoReader(str(path))
    height, width = GEOMETRY.fit(*probe[0].shape[:2])
    del probe
    reader = decord.VideoReader(str(path), width=width, height=height)
    return _patches(reader.get_batch(_indices(len(reader))).asnumpy())


WAYS: Final[dict[str, Callable[[Path], tuple[int, ...]]]] = {
    "vidlm": vidlm_way,
    "usual": usual_way,
    "pyav": pyav_way,
    "decord": decord_way,
}


def _indices(frames: int) -> list[int]:
    return list(range(0, frames, int(SOURCE_FPS / SAMPLE_FPS)))


def _patches(pixels: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    import torch

    from vidlm.model.vision import patchify

    rows, _ = patchify(torch.from_numpy(pixels), GEOMETRY)
    return tuple(rows.shape)


def make_clip(path: Path, size: str, options: list[str], seconds: float) -> None:
    """Moving shapes under film grain, so that there is something to decode."""
    width, height = SIZES[size]
    source = f"testsrc2=s={width}x{height}:r={SOURCE_FPS}:d={seconds},noise=alls=8:allf=t,format=yuv420p"
    encode = [*options, "-b:v", BIT_RATES[size], str(path)]
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "lavfi", "-i", source, *encode], check=True
    )


def measure(way: str, path: Path, cores: int, runs: int) -> float | None:
    """Median seconds of one way in a process of its own, after one run that loads what it needs; None if it fails."""
    command = [sys.executable, "-m", "benchmarks.decode", "--child", way, "--clip", str(path), "--runs", str(runs)]
    environment = os.environ | {"OMP_NUM_THREADS": str(cores), "HF_HUB_OFFLINE": "1"}
    mine = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if mine and cores < len(mine):
        command = ["taskset", "--cpu-list", ",".join(map(str, mine[:cores])), *command]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{way}: {(done.stderr.strip().splitlines() or ['it died'])[-1]}", file=sys.stderr)
        return None
    return round(float(done.stdout.strip().splitlines()[-1]), 3)


def _ratios(seconds: dict[str, float | None]) -> dict[str, Any]:
    """How many times longer each other way takes."""
    ours = seconds["vidlm"]
    others = {way: taken for way, taken in seconds.items() if way != "vidlm"}
    return {"ratios": {way: round(taken / ours, 2) if taken and ours else None for way, taken in others.items()}}


def child(way: str, path: Path, runs: int) -> None:
    seconds = []
    for run in range(runs + 1):
        began = time.perf_counter()
        WAYS[way](path)
        if run:
            seconds.append(time.perf_counter() - began)
    print(statistics.median(seconds))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="./run bench decode", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--codecs", default=",".join(CODECS))
    parser.add_argument("--seconds", type=float, default=24.0, help="length of each clip")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--clip", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.clip, options.runs)
        return
    every = os.cpu_count() or 1
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes.split(","):
            for codec in options.codecs.split(","):
                suffix, encoder = CODECS[codec]
                clip = Path(folder) / f"{size}-{codec}.{suffix}"
                make_clip(clip, size, encoder, options.seconds)
                for cores in sorted({1, every}):
                    seconds = {way: measure(way, clip, cores, options.runs) for way in WAYS}
                    rows.append({"size": size, "codec": codec, "cores": cores, "seconds": seconds} | _ratios(seconds))
                    print(json.dumps(rows[-1]), file=sys.stderr)
                clip.unlink()
    json.dump({"benchmark": "decode", "clip_s": options.seconds, "rows": rows}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
