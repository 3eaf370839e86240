"""The embedded models are right about what nobody trained on: clips as real files through the whole pipeline, and
pictures through the library's own classes."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

from vidlm.config import EMBEDDED_MODEL, Settings
from vidlm.toyworld.dataset import sample_images
from vidlm.toyworld.evaluate import evaluate
from vidlm.toyworld.world import EVAL_SEEDS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def figures() -> dict[str, float]:
    table = evaluate(2026, 16, Settings(model=str(EMBEDDED_MODEL)), variants=False)
    assert table["model"]["toy"] is True
    return {row["name"]: row["value"] for row in table["rows"]}


@pytest.mark.parametrize(
    ("name", "bar"), [("policy_auroc", 0.97), ("composed_accuracy", 0.9), ("attribute_exact", 0.88)]
)
def test_figure_is_above_its_bar(figures: dict[str, float], name: str, bar: float) -> None:
    assert figures[name] >= bar


def test_the_small_encoder_finds_a_picture_that_a_text_is_true_of() -> None:
    """Among 128 pictures at once, of which few show what is looked for."""
    folder = EMBEDDED_MODEL.parent / "tiny-clip"
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    batch = sample_images(np.random.default_rng([EVAL_SEEDS.start, 2026]), 128, per_scene=1)
    larger = [Image.fromarray(pixels.numpy()).resize((320, 240)) for pixels in batch.pixels]
    pictures = AutoImageProcessor.from_pretrained(folder)(larger, return_tensors="pt")
    words = AutoTokenizer.from_pretrained(folder)(batch.texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        found = model(**pictures, **words).logits_per_text.argmax(dim=1).tolist()
    right = [set(said) <= batch.shown[index] for said, index in zip(batch.said, found, strict=True)]
    by_chance = np.mean([[set(said) <= shown for shown in batch.shown] for said in batch.said])
    assert by_chance < 0.1
    assert np.mean(right) >= 0.6
