"""decord reads proxies that vidlm wrote, of the size it is told, with bounded memory, and nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import decord
import numpy as np
import pytest

from tests import clips
from vidlm import preparation
from vidlm.config import Settings
from vidlm.errors import ToolError
from vidlm.model.preprocess import FrameGeometry
from vidlm.video import frames
from vidlm.video.frames import read_frames

ROOT = Path(__file__).parents[2]
SIZE = (clips.HEIGHT, clips.WIDTH)
TIMES_S = tuple(n / clips.FPS for n in range(75))

MEASURED = """
import resource, sys
from pathlib import Path
from vidlm.video.frames import read_frames

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

proxy, count, block = Path(sys.argv[1]), int(sys.argv[2]), 64
times_s = [n / 25 for n in range(count)]
read_frames(proxy, (336, 592), times_s, first=0, last=block)
before = peak_mib()
for first in range(0, count, block):
    read_frames(proxy, (336, 592), times_s, first=first, last=min(first + block, count))
print(peak_mib() - before)
"""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.numbered(tmp_path_factory.mktemp("frames") / "proxy.mp4").path


def test_frames_come_by_index_in_the_size_of_the_proxy(proxy: Path) -> None:
    batch = read_frames(proxy, SIZE, TIMES_S, first=3, last=5)
    assert (batch.pixels.shape, batch.pixels.dtype) == ((2, *SIZE, 3), np.uint8)
    assert [clips.read_number(frame) for frame in batch.pixels] == [3, 4]


def test_more_than_memory_is_meant_to_hold_is_refused_before_it_is_read(
    proxy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "MAX_BYTES", 10 * SIZE[0] * SIZE[1] * 3)
    assert len(read_frames(proxy, SIZE, TIMES_S, last=10).times_s) == 10
    with pytest.raises(ValueError, match="more than"):
        read_frames(proxy, SIZE, TIMES_S, last=11)
    with pytest.raises(ValueError, match=r"frames \[5, 5\)"):
        read_frames(proxy, SIZE, TIMES_S, first=5, last=5)


def test_a_proxy_that_is_not_one_is_our_fault(tmp_path: Path) -> None:
    (tmp_path / "proxy.mp4").write_bytes(bytes(5000))
    with pytest.raises(ToolError):
        read_frames(tmp_path / "proxy.mp4", SIZE, TIMES_S)


def test_a_long_proxy_is_read_in_constant_memory(tmp_path: Path) -> None:
    """Blocks of 64 frames take 36 MiB each; what is left of each may not add up over 1,500 frames (850 MiB)."""
    path = tmp_path / "proxy.mp4"
    source = ("-f", "lavfi", "-i", "testsrc2=s=592x336:r=25:d=60")
    clips.ffmpeg(*source, "-c:v", "libx264", "-preset", "ultrafast", "-g", "8", "-pix_fmt", "yuv420p", str(path))
    command = [sys.executable, "-c", MEASURED, str(path), "1500"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120)
    assert float(done.stdout) < 120


def test_one_module_imports_decord_and_one_imports_pyav() -> None:
    found: dict[str, set[str]] = {"decord": set(), "av": set()}
    for path in (path for package in ("vidlm", "workers", "api") for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in {name.partition(".")[0] for name in names} & set(found):
                found[name].add(path.relative_to(ROOT).as_posix())
    assert found == {"decord": {"vidlm/video/frames.py"}, "av": {"vidlm/video/probe.py"}}


def test_nothing_but_proxies_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything decord is given, and every program that is started, while an upload becomes windows of frames."""
    opened: list[Path] = []
    started: list[list[str]] = []
    reader, popen = decord.VideoReader, subprocess.Popen

    def read(path: str, *arguments: Any, **named: Any) -> Any:
        opened.append(Path(path))
        return reader(path, *arguments, **named)

    def start(command: list[str], *arguments: Any, **named: Any) -> Any:
        started.append(command)
        return popen(command, *arguments, **named)

    upload = clips.numbered(tmp_path / "upload.mkv").path
    monkeypatch.setattr(decord, "VideoReader", read)
    monkeypatch.setattr(subprocess, "Popen", start)
    settings = Settings(sample_fps=4.0)
    prepared = preparation.prepare(
        upload, tmp_path / "work", filename="x", geometry=FrameGeometry(min_pixels=56 * 56), settings=settings
    )
    monkeypatch.setattr(subprocess, "Popen", popen)
    upload.unlink()  # what comes later needs it no more
    assert sum(len(batch.times_s) for batch in preparation.read_windows(prepared, prepared.windows)) == 12
    assert set(opened) == {tmp_path / "work" / "proxy.mp4"}
    assert started
    assert all("vidlm/video/confine" in command[3] for command in started), started
