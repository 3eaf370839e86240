"""What seeing once and asking many is worth, against plain and careful transformers: `./run bench`.

Eight ratios, each from rounds in one process and run with the same weights, prompts and positions, and how time and
memory grow. Nothing is timed before all ways have been seen to say the same. On a CPU the embedded model runs;
`--device cuda --geometry 2b` takes random weights at the published shape: speed depends on shapes, not on values.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks import jobs, kernels
from benchmarks.measure import not_measured
from benchmarks.setting import GEOMETRIES, LOADS, load_checkpoint, make_setting
from vidlm.model.engine import Engine
from vidlm.model.video_model import VideoModel

TARGETS: Final[dict[str, dict[str, float | None]]] = {
    "tiny": {"1": 8, "2": 2.5, "3": 1.25, "4": 20, "5": 2.5, "6": None, "7": None, "8": 0.9},
    "2b": {"1": 15, "2": 5, "3": 1.1, "4": 20, "5": 2.5, "6": 2, "7": 4, "8": 0.9},
    "7b": {"1": 12, "2": 5, "3": 1.1, "4": 20, "5": 2.5, "6": 2, "7": None, "8": 0.9},
}
PACKAGES: Final = ("vidlm", "torch", "transformers", "numpy", "decord2", "av", "imageio-ffmpeg")
SMALL_FRAME: Final = (84, 112)
"""Height and width of the small frames with which long videos are measured."""


def main() -> int:
    options = _options()
    device = "cuda" if options.device == "auto" and torch.cuda.is_available() else options.device
    device = "cpu" if device == "auto" else device
    geometry = options.geometry or ("2b" if device.startswith("cuda") else "tiny")
    checkpoint = load_checkpoint(geometry, device, options.dtype)
    segments = options.segments or (2 if options.quick else 6)
    rounds = options.rounds or (1 if options.quick else 3)
    setting = make_setting(checkpoint, geometry, options.load, segments)
    wanted = set(options.only or [*TARGETS[geometry], *([] if options.quick else ["curves"])])
    with Engine(VideoModel(checkpoint)) as engine:
        found = jobs.gate(engine, setting)
        _say("gate", found)
        document: dict[str, Any] = {
            "hardware": hardware(device), "versions": versions(), "geometry": geometry, "load": options.load,
            "segments": segments, "rounds": rounds, "dtype": str(checkpoint.dtype).removeprefix("torch."),
            "gate": found, "metrics": {},
        }  # fmt: skip
        if options.only and options.json and options.json.is_file():
            document = json.loads(options.json.read_text(encoding="utf-8")) | {"gate": found}
        if not found["passed"]:
            _write(document, options.json)
            print("the ways do not say the same: nothing was timed", file=sys.stderr)
            return 1
        metrics: dict[str, Any] = document["metrics"]
        if wanted & {"1", "2", "3"}:
            metrics |= jobs.compare(engine, setting, rounds, TARGETS[geometry])
            _say("1 to 3", metrics)
        metrics |= _with_files(engine, wanted, rounds, TARGETS[geometry])
        model = VideoModel(checkpoint)
        rows = 96 if device.startswith("cuda") else 16
        if "6" in wanted:
            metrics["6"] = kernels.tower(setting, model, rounds, TARGETS[geometry]["6"])
        if "7" in wanted:
            metrics["7"] = kernels.decoding(setting, model, rounds, rows, TARGETS[geometry]["7"])
        if "curves" in wanted:
            document["curves"] = _curves(engine, setting, options.load, rounds)
    document["metrics"] = dict(sorted(metrics.items()))
    _write(document, options.json)
    return 0


def _with_files(engine: Engine, wanted: set[str], rounds: int, targets: dict[str, float | None]) -> dict[str, Any]:
    """Metrics that need decoders; a machine may have a GPU and nothing to decode with."""
    names = {
        "4": "a later question: from the file, over from stored visual tokens",
        "5": "file to patches: qwen-vl-utils' way over vidlm's",
        "8": "proxies to results: throughput over that of the slower half alone",
    }
    try:
        from benchmarks import files  # noqa: PLC0415
    except ImportError as exc:
        return {key: not_measured(name, targets[key], f"needs {exc.name}") for key, name in names.items()}
    ways: dict[str, Callable[[], dict[str, Any]]] = {
        "4": lambda: files.later_question(engine, rounds, targets["4"]),
        "5": lambda: files.file_to_patches(rounds, targets["5"]),
        "8": lambda: files.end_to_end(engine, rounds, targets["8"]),
    }
    found = {}
    for key in sorted(wanted & set(ways)):
        found[key] = ways[key]()
        _say(key, found[key])
    return found


def _curves(engine: Engine, setting: Any, load: str, rounds: int) -> dict[str, Any]:
    from benchmarks import curves  # noqa: PLC0415

    device, dtype = engine.info.device, engine.info.dtype
    frame = SMALL_FRAME if setting.geometry == "tiny" else LOADS[load][:2]
    found = {
        "by_policies": curves.by_policies(engine, setting, rounds, curves.POLICY_COUNTS),
        "memory_by_policies": curves.memory_by_policies(setting.geometry, device, dtype, load, (1, 12, 40, 64)),
        "by_segments": curves.by_segments(engine, setting, rounds, curves.SEGMENT_COUNTS),
        "by_length": curves.by_length(engine, setting, curves.LENGTHS_S, frame) | {"frame": list(frame)},
    }
    _say("curves", found)
    return found


def hardware(device: str) -> dict[str, Any]:
    """What it ran on, in words."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = names[0] if names else name
    gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    return {"device": device, "gpu": gpu, "cpu": name, "cores": os.cpu_count(), "threads": torch.get_num_threads()}


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _say(what: str, found: dict[str, Any]) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}: {json.dumps(found)}", file=sys.stderr)


def _write(document: dict[str, Any], file: Path | None) -> None:
    text = json.dumps(document, indent=2) + "\n"
    if file is None:
        print(text, end="")
    else:
        file.write_text(text, encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./run bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two segments instead of a minute, one round, no curves")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    parser.add_argument("--geometry", choices=GEOMETRIES, help="tiny: the embedded model; 2b, 7b: random weights")
    parser.add_argument("--load", choices=LOADS, default="B", help="A: 280x504 at 1 a second; B: 448x448 at 2")
    parser.add_argument("--segments", type=int, help="of ten seconds each")
    parser.add_argument("--rounds", type=int)
    parser.add_argument(
        "--only", nargs="+", metavar="N", choices=[*TARGETS["tiny"], "curves"], help="measure these, keep FILE's others"
    )
    parser.add_argument("--json", type=Path, help="write the document here instead of standard output")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
