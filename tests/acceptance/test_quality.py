"""The embedded model is right about clips nobody trained on, through real files and the whole pipeline."""

import pytest

from vidlm.config import EMBEDDED_MODEL, Settings
from vidlm.toyworld.evaluate import evaluate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def figures() -> dict[str, float]:
    table = evaluate(2026, 16, Settings(model=str(EMBEDDED_MODEL)), variants=False)
    assert table["model"]["toy"] is True
    return {row["name"]: row["value"] for row in table["rows"]}


@pytest.mark.parametrize(
    ("name", "bar"), [("policy_auroc", 0.97), ("composed_accuracy", 0.85), ("attribute_exact", 0.78)]
)
def test_figure_is_above_its_bar(figures: dict[str, float], name: str, bar: float) -> None:
    assert figures[name] >= bar
