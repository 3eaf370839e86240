"""vidlm against what the reference library computed for the published generation of checkpoints (fp32, CPU)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vidlm.domain import FrameBatch
from vidlm.model import checkpoint as checkpoints
from vidlm.model.positions import prompt_positions
from vidlm.model.preprocess import FrameGeometry
from vidlm.model.video_model import VideoModel
from vidlm.model.vision import patchify

FOLDER = Path(__file__).parents[3] / "shared" / "conformance"
HUB = FOLDER / "hub_layout_2024"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the conformance folder is not beside this checkout")
CASES = json.loads((HUB / "reference.json").read_text())["cases"] if FOLDER.is_dir() else []
VIDEO = "<|vision_start|>{video tokens}<|vision_end|>"


@pytest.fixture(scope="module")
def checkpoint():
    return checkpoints.load(str(HUB), "cpu", "float32")


def frames(case):
    """`reference.json` says how: a noise picture that brightens and wraps."""
    random = np.random.RandomState(case["case"])
    base = random.randint(0, 256, (case["height"], case["width"], 3)).astype(np.int32)
    pixels = np.stack([np.clip(base + (i * 5) % 97 - 40, 0, 255).astype(np.uint8) for i in range(case["frames"])])
    return FrameBatch(pixels, np.arange(len(pixels), dtype=np.float64))


def opened(checkpoint, case):
    """The prompt's beginning as a prefix, and what follows it."""
    before, after = json.loads((HUB / "reference.json").read_text())["prompt"].split(VIDEO)
    model = VideoModel(checkpoint)
    visual = model.encode(frames(case))
    return model, model.open([before, visual.clip(0, len(visual))], visual), after


@pytest.mark.parametrize("clip", [0, 1])
def test_patch_rows(clip):
    reference = np.load(FOLDER / "patchify.npz")
    rows, grid_hw = patchify(torch.from_numpy(reference[f"frames_{clip}"]), FrameGeometry.from_checkpoint(HUB))
    np.testing.assert_allclose(rows.flatten(0, 1).numpy(), reference[f"pixel_values_{clip}"], atol=1e-6, rtol=0)
    assert reference[f"grid_thw_{clip}"].tolist() == [[len(rows), *grid_hw]]


def test_the_copied_files_are_the_shared_ones():
    for name in ("mrope_positions.json", "smart_resize.json"):
        copy = Path(__file__).parents[1] / "data" / name
        assert json.loads(copy.read_text()) == json.loads((FOLDER / name).read_text())


def test_the_layout_of_2024_loads_whole(checkpoint):
    assert checkpoint.tokenizer.chat_template == json.loads((HUB / "chat_template.json").read_text())["chat_template"]
    assert checkpoint.geometry == FrameGeometry(min_pixels=3136, max_pixels=12_845_056)
    assert checkpoint.ids.stop == {379, 377}
    assert checkpoint.model.lm_head.weight is checkpoint.model.model.language_model.embed_tokens.weight


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['frames']} frames")
class TestCases:
    def test_positions(self, checkpoint, case):
        reference = np.load(HUB / "reference.npz")[f"pos{case['case']}"]
        before, after = json.loads((HUB / "reference.json").read_text())["prompt"].split(VIDEO)
        layout = [len(checkpoint.tokenize(before)), tuple(case["grid"]), len(checkpoint.tokenize(after))]
        positions, following = prompt_positions(layout)
        assert positions.shape[1] == case["prompt_tokens"]
        assert positions.tolist() == reference.tolist()
        assert following == case["next_position"]

    def test_logits_of_the_last_prompt_token(self, checkpoint, case):
        reference = np.load(HUB / "reference.npz")[f"logits{case['case']}"]
        model, prefix, after = opened(checkpoint, case)
        logits = model.next_logits(prefix, after)
        np.testing.assert_allclose(logits.numpy(), reference, atol=1e-4, rtol=0)
        assert int(logits.argmax()) == case["argmax"]

    def test_score(self, checkpoint, case):
        logits = torch.from_numpy(np.load(HUB / "reference.npz")[f"logits{case['case']}"])
        assert (checkpoint.ids.yes, checkpoint.ids.no) == (case["yes"][0], case["no"][0])
        expected = float(logits[[case["yes"][0], case["no"][0]]].softmax(-1)[0])
        model, prefix, after = opened(checkpoint, case)
        scores = model.score(prefix, [after, "Another question altogether?", after])
        assert [scores[0], scores[2]] == pytest.approx([expected] * 2, abs=1e-5)
        assert scores[1] != pytest.approx(expected, abs=1e-3)

    def test_greedy_text(self, checkpoint, case):
        model, prefix, after = opened(checkpoint, case)
        generation = model.generate(prefix, after, max_new_tokens=len(case["generated"]))
        assert list(generation.token_ids) == case["generated"]


def test_no_prefix_is_needed_for_the_same_answer(checkpoint):
    """The whole prompt as one prefix stands where prefix and branch end."""
    case = CASES[0]
    _, prefix, after = opened(checkpoint, case)
    before = json.loads((HUB / "reference.json").read_text())["prompt"].split(VIDEO)[0]
    model = VideoModel(checkpoint)
    visual = model.encode(frames(case))
    whole = model.open([before, visual.clip(0, len(visual)), after], None)
    assert whole.next_position == case["next_position"] == prefix.next_position + len(checkpoint.tokenize(after))
