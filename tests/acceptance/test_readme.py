"""What is written is true: commands, settings, routes, policies and links of the README and the pages in docs/."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from api.main import create_app
from vidlm.cli import app
from vidlm.config import Settings
from vidlm.errors import MEDIA_CODES
from vidlm.moderation.policies import NEVER, load_policies

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
OWN_COMMANDS = {"setup", "lint", "test", "bench", "faults", "fuzz", "pictures"}  # run's own; everything else is vidlm's
OUTSIDE_SETTINGS = {"VIDLM_PYTHON", "VIDLM_REQUIRE"}  # read by run and by the tests


def blocks(page: Path, language: str = "") -> list[str]:
    """The fenced blocks of a page, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[list[str]]:
    """Every `./run ...` line of a page's blocks and inline code, split as a shell would, without its comment."""
    lines = [line for block in blocks(page) for line in block.splitlines()]
    lines += re.findall(r"`(\./run [^`]+)`", page.read_text())
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("./run ")]


def test_pages_are_found() -> None:
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist_with_their_options(page: Path) -> None:
    known = typer.main.get_group(app).commands
    script = (ROOT / "run").read_text()
    for name, *arguments in commands(page):
        if name in OWN_COMMANDS:
            assert re.search(rf"^    {name}\)", script, flags=re.MULTILINE), name
            continue
        known[name].make_context(name, list(arguments))  # raises for an unknown option


def test_the_entry_lists_its_commands() -> None:
    done = subprocess.run([ROOT / "run"], capture_output=True, text=True, check=True)
    for name in ("setup", "demo", "serve", "test", "lint", "bench", "faults", "fuzz", "pictures", "train"):
        assert re.search(rf"^  {name} ", done.stdout, flags=re.MULTILINE), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_exist(page: Path) -> None:
    known = {f"VIDLM_{name.upper()}" for name in Settings.model_fields} | OUTSIDE_SETTINGS
    assert set(re.findall(r"VIDLM_[A-Z_]+", page.read_text())) <= known


def test_every_setting_is_documented_with_its_default() -> None:
    table = (ROOT / "docs/settings.md").read_text()
    for name, field in Settings.model_fields.items():
        row = re.search(rf"^\| `VIDLM_{name.upper()}` \| (.*?) \|", table, flags=re.MULTILINE)
        assert row, name
        if field.default is not None:
            assert row[1] == f"`{field.default}`", name


@pytest.mark.parametrize("name", ["README.md", "docs/api.md"])
def test_routes_are_the_ones_that_are_served(name: str, tmp_path: Path) -> None:
    paths = create_app(Settings(data=tmp_path)).openapi()["paths"]
    served = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    rows = [line for line in (ROOT / name).read_text().splitlines() if line.startswith("| `")]
    written = {
        found for row in rows for found in re.findall(r"`(GET|POST|DELETE|PUT|PATCH|HEAD|OPTIONS) (/\S+?)`", row)
    }
    if name == "README.md":  # the routes one begins with
        assert len(written) >= 10
        assert written <= served
    else:
        assert written == served


def test_policies_are_the_built_in_ones() -> None:
    rows = re.findall(r"^\| `(\w+\.\w+)` \| (\w+) \| (\S+) \| (\S+) \|$", (ROOT / "docs/policies.md").read_text(), re.M)
    built_in = load_policies().policies
    assert rows == [
        (
            p.id,
            p.severity,
            f"{p.review_threshold:g}",
            "never" if p.block_threshold == NEVER else f"{p.block_threshold:g}",
        )
        for p in built_in
    ]
    assert f"taxonomy of {len(built_in)} policies" in (ROOT / "CHANGELOG.md").read_text()


def test_codes_of_bad_files_are_documented() -> None:
    text = (ROOT / "docs/quickstart.md").read_text()
    assert all(f"`{code}`" in text for code in MEDIA_CODES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_exist(page: Path) -> None:
    for name in re.findall(r"`((?:vidlm|api|workers|tests|docs|benchmarks)/[\w./-]*)`", page.read_text()):
        assert (ROOT / name).exists(), name


@pytest.mark.slow
def test_the_readme_runs(tmp_path: Path) -> None:
    """Its commands on files and its Python, one after the other, as a reader would; the embedded model answers."""
    readme = ROOT / "README.md"
    env = {name: value for name, value in os.environ.items() if not name.startswith("VIDLM_")}
    env |= {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=env, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    ran = [run("-m", "vidlm.cli", *words) for words in commands(readme) if words[0] in ("synth", "analyze", "ask")]
    assert len(ran) >= 4
    assert all("toy" in shown for shown in ran[1:])  # it announces itself wherever its results are shown
    (code,) = blocks(readme, "python")
    assert run("-c", code).startswith(("allow", "review", "block"))
