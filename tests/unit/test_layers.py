"""The house stands as drawn: imports point down, and what has to be light is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    return done.stdout.strip()


def loaded_by(statement: str, *heavy: str) -> list[str]:
    """Which of the `heavy` packages a statement brings in."""
    return python(f"import sys; {statement}; print(*[name for name in {heavy!r} if name in sys.modules])").split()


def test_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_public_import_is_light() -> None:
    assert loaded_by("import vidlm", "torch", "transformers", "numpy", "decord", "pydantic", "yaml") == []


def test_the_public_names_are_there() -> None:
    code = "from vidlm import Analysis, Answer, Policy, analyze, ask; print(analyze.__module__, ask.__module__)"
    assert python(code) == "vidlm.local vidlm.answer"


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert python("import vidlm; print(hasattr(vidlm, 'nonsense'))") == "False"


@pytest.mark.parametrize("module", ["vidlm.pipeline", "vidlm.moderation.flags", "vidlm.queue"])
def test_preparing_video_needs_no_torch(module: str) -> None:
    assert loaded_by(f"import {module}", "torch", "transformers") == []


def test_the_command_line_starts_light() -> None:
    assert loaded_by("import vidlm.cli", "torch", "transformers", "numpy", "decord", "celery", "sqlmodel") == []


def test_the_api_imports_where_torch_is_not_installed() -> None:
    """Every import of torch, transformers or decord is made to fail, as on a machine that has none of them."""
    absent = "sys.modules.update(dict.fromkeys(('torch', 'transformers', 'decord')))"
    assert python(f"import sys; {absent}; import api.main; print('imported')") == "imported"


def test_packages_hold_no_code_in_their_init() -> None:
    for init in [*ROOT.glob("vidlm/*/__init__.py"), ROOT / "api/__init__.py", ROOT / "workers/__init__.py"]:
        lines = [line for line in init.read_text().splitlines() if line.startswith(("import ", "from "))]
        assert lines == [], init


def test_the_model_needs_little_and_runs_where_little_is_installed() -> None:
    """`vidlm/model` imports torch, transformers, what these bring along, and vidlm's own values and errors."""
    allowed = {"torch", "transformers", "numpy", "safetensors", "huggingface_hub", *sys.stdlib_module_names}
    ours = {"vidlm.domain", "vidlm.errors"}
    for file in (ROOT / "vidlm" / "model").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for name in names:
                fine = name in ours or name.startswith("vidlm.model") or name.split(".")[0] in allowed - {"vidlm"}
                assert fine, f"{file.name} imports {name}"
