"""`./run` before anything is installed: it says what is missing in one line and leaves nothing half done."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "dirname", "cat", "uname", "find", "sha256sum", "flock", "rm", "grep")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the script and what it reads, and `tools/` with what every machine has, Python left out."""
    for name in ("run", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "tools").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        if found is None:
            pytest.skip(f"this machine has no {tool}")
        (tmp_path / "tools" / tool).symlink_to(found)
    return tmp_path


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`./run ...` with nothing on the path but `tools/`."""
    env = {"PATH": str(checkout / "tools"), "HOME": str(checkout)}
    command = [checkout / "run", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=60)


def python(checkout: Path, script: str) -> None:
    """A stand-in for Python 3.11: `script` decides what installing does."""
    file = checkout / "tools" / "python3"
    file.write_text(f'#!{shutil.which("bash")}\ncase "$*" in\n{script}\nesac\n')
    file.chmod(0o755)


def test_without_python_one_line_says_how_to_get_it(checkout: Path) -> None:
    done = run(checkout, "setup")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "Python 3.11 or newer" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_that_is_too_old_is_none(checkout: Path) -> None:
    python(checkout, "*version_info*) exit 1 ;;")
    assert "Python 3.11 or newer" in run(checkout, "setup").stderr


def test_a_failed_installation_is_not_taken_for_done(checkout: Path) -> None:
    python(checkout, '*version_info*) echo cp311 ;;\n*"-m venv"*) exit 1 ;;')
    for _ in range(2):
        done = run(checkout, "setup")
        assert done.returncode == 1
        assert "could not make .venv" in done.stderr
    assert not (checkout / ".venv" / "installed").exists()


def test_usage_needs_no_installation(checkout: Path) -> None:
    done = run(checkout)
    assert done.returncode == 0
    assert "usage: ./run COMMAND" in done.stdout
    assert not (checkout / ".venv").exists()
