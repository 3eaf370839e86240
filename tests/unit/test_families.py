"""Qwen2.5-VL and Qwen3-VL: tokens, scores and text equal the library's own whole-prompt forwards, its positions too."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from random_checkpoint import PlainLibrary, write_json
from random_families import FAMILY_RECIPES, write_family
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vidlm.domain import FrameBatch
from vidlm.errors import CheckpointError
from vidlm.model import video_model
from vidlm.model.checkpoint import load
from vidlm.model.video_model import VideoModel
from vidlm.model.vision import patchify

QUESTIONS = ["Is there a fire?", "No", "Does this part show a person holding a knife? Answer Yes or No.\n", "the the"]
REQUEST = "Describe this.<|im_end|>\n<|im_start|>assistant\n"
GRIDS = {"square": (2, 2), "wide": (1, 5), "high": (5, 3), "one cell": (1, 1)}


class Case:
    """A model, the plain library over the same weights, and a prompt of timed pairs for both."""

    def __init__(self, folder):
        self.folder = folder
        self.checkpoint = load(str(folder), "cpu")
        self.model = VideoModel(self.checkpoint)
        self.geometry = self.model.info.geometry
        self.library = PlainLibrary(
            self.checkpoint.model, self.checkpoint.tokenizer, self.geometry.merge_size, own_positions=True
        )

    def frames(self, count, cells=(3, 5), seed=0, apart_s=0.5):
        height, width = (side * self.geometry.factor for side in cells)
        pixels = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
        return FrameBatch(pixels, np.arange(count) * apart_s)

    def rows(self, frames):
        return patchify(torch.from_numpy(frames.pixels), self.geometry)

    def prompt(self, *clips):
        """The same prompt for the library and for us: `<time>` and one clip of one pair, over and over."""
        pieces, prefix = ["<|im_start|>user\n"], ["<|im_start|>user\n"]
        for frames in clips:
            rows, (h, w) = self.rows(frames)
            visual = self.model.encode(frames)
            for index, pair in enumerate(rows):
                time = f"<{visual.pair_times_s[index]:.1f} seconds>"
                pieces += [time, (pair, (1, h, w))]
                prefix += [time, visual.clip(index, index + 1)]
        return pieces, self.model.open(prefix, None)

    def p_yes(self, logits):
        return float(logits[[self.checkpoint.ids.yes, self.checkpoint.ids.no]].softmax(-1)[0])

    def assert_same(self, prefix, pieces, library=None):
        """Scores of all questions, and every logit after one of them, are the library's."""
        expected = [(library or self.library).last_logits([*pieces, question]) for question in QUESTIONS]
        scores = self.model.score(prefix, QUESTIONS)
        assert scores == pytest.approx([self.p_yes(logits) for logits in expected], abs=1e-4)
        for question, logits in zip(QUESTIONS, expected, strict=True):
            torch.testing.assert_close(self.model.next_logits(prefix, question), logits, atol=1e-4, rtol=1e-4)
        assert max(scores) - min(scores) > 0.01  # the weights are loud enough to tell


def of(kind):
    return [name for name, recipe in FAMILY_RECIPES.items() if recipe.kind == kind]


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    made = {}

    def case(name):
        if name not in made:
            made[name] = Case(write_family(tmp_path_factory.mktemp("family") / "random", FAMILY_RECIPES[name]))
        return made[name]

    return case


@pytest.fixture(params=FAMILY_RECIPES)
def case(request, cases):
    return cases(request.param)


@pytest.fixture(params=of("qwen2_5_vl"))
def qwen2_5(request, cases):
    return cases(request.param)


@pytest.fixture(params=of("qwen3_vl"))
def qwen3(request, cases):
    return cases(request.param)


def librarys_tokens(case, frames):
    """`[pairs, n, D]` of one clip, and of every deeper layer, from the library's `get_video_features`."""
    rows, (h, w) = case.rows(frames)
    with torch.no_grad():
        out = case.checkpoint.model.model.get_video_features(
            rows.flatten(0, 1), torch.tensor([[len(rows), h, w]]), return_dict=True
        )
    deep = getattr(out, "deepstack_features", None) or []
    # newer releases cut every layer into clips, older ones the first alone
    layers = [torch.cat([*layer]) if isinstance(layer, tuple | list) else layer for layer in (out.pooler_output, *deep)]
    return [layer.view(len(rows), -1, layer.shape[-1]) for layer in layers]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("count", [1, 5, 6])
def test_tokens_are_the_librarys(case, grid, count):
    frames = case.frames(count, GRIDS[grid])
    visual = case.model.encode(frames)
    layers = librarys_tokens(case, frames)
    assert len(visual) == -(-count // case.geometry.temporal_patch_size)
    torch.testing.assert_close(visual.tokens, torch.cat(layers, dim=-1), atol=1e-5, rtol=1e-4)
    deep = getattr(case.checkpoint.model.config.vision_config, "deepstack_visual_indexes", ())
    assert visual.tokens.shape[-1] == 48 * (1 + len(deep))
    assert len(layers) == 1 + len(deep)


def test_encoding_together_apart_or_in_pieces_is_the_same(case, monkeypatch):
    batches = [case.frames(5, seed=1), case.frames(2, (1, 1), seed=2), case.frames(4, seed=3)]
    together = case.model.encode_many(batches)
    monkeypatch.setattr(video_model, "TOWER_PATCHES", {"cpu": 1})
    for batch, visual in zip(batches, together, strict=True):
        alone = case.model.encode(batch)
        torch.testing.assert_close(alone.tokens, visual.tokens)
        grid_hw = tuple(side // case.geometry.patch_size for side in batch.pixels.shape[1:3])
        assert alone.grid_hw == visual.grid_hw == grid_hw


@pytest.mark.parametrize("grid", GRIDS)
def test_scores_equal_one_whole_prompt_a_question(case, grid):
    pieces, prefix = case.prompt(case.frames(5, GRIDS[grid]))  # odd for two and for three frames a pair
    case.assert_same(prefix, pieces)


def test_clips_of_several_grids_in_one_prompt(case):
    pieces, prefix = case.prompt(case.frames(4), case.frames(3, (4, 2), seed=1), case.frames(2, (1, 1), seed=2))
    case.assert_same(prefix, pieces)


def test_greedy_text_equals_the_library_without_a_cache(case):
    pieces, prefix = case.prompt(case.frames(5))
    expected = case.library.greedy([*pieces, REQUEST], 8, case.checkpoint.ids.stop)
    generation = case.model.generate(prefix, REQUEST, max_new_tokens=8)
    assert list(generation.token_ids) == expected
    assert len(set(expected)) > 1


def test_texts_written_together_are_those_written_alone(case):
    prefixes = [case.prompt(case.frames(count, grid, seed=count))[1] for count, grid in ((5, (3, 5)), (2, (1, 1)))]
    prefixes.append(case.model.open(["Words only."], None))
    branches = [(prefix, request) for prefix in prefixes for request in (REQUEST, "the")]
    together = case.model.generate_many(branches, max_new_tokens=6)
    for (prefix, request), generation in zip(branches, together, strict=True):
        alone = case.model.generate(prefix, request, max_new_tokens=6)
        assert alone.token_ids == generation.token_ids
        assert alone.confidence == pytest.approx(generation.confidence, abs=1e-5)
    assert len({generation.token_ids for generation in together}) > 1


class TestClipsOfSeveralPairs:
    """Qwen2.5-VL's time axis counts seconds within a clip."""

    def opened(self, case, *clips):
        visual = [case.model.encode(frames) for frames in clips]
        pieces = ["Clips: "]
        for frames in clips:
            rows, (h, w) = case.rows(frames)
            pieces.append((rows.flatten(0, 1), (len(rows), h, w)))
        return [*pieces, " and words."], case.model.open(
            ["Clips: ", *(seen.clip(0, len(seen)) for seen in visual), " and words."], None
        )

    def test_with_the_librarys_positions_where_a_clip_is_wider_than_long(self, qwen2_5):
        depth = qwen2_5.geometry.temporal_patch_size
        # a whole second between pairs, which older releases round to; its last time is short of the width
        frames = qwen2_5.frames(2 * depth, (1, 5), apart_s=1 / depth)
        pieces, prefix = self.opened(qwen2_5, frames, frames)
        qwen2_5.assert_same(prefix, pieces, replace(qwen2_5.library, seconds=(1.0, 1.0)))

    @pytest.mark.parametrize("apart_s", [0.1, 0.7, 3.0])
    def test_with_our_positions_where_it_is_longer(self, qwen2_5, apart_s):
        depth = qwen2_5.geometry.temporal_patch_size
        first = qwen2_5.frames(5 * depth - 1, (2, 3), apart_s=apart_s / depth)
        second = qwen2_5.frames(2 * depth, (1, 1), seed=1, apart_s=2.0 / depth)
        pieces, prefix = self.opened(qwen2_5, first, second)
        library = replace(qwen2_5.library, own_positions=False, seconds=(apart_s, 2.0))
        qwen2_5.assert_same(prefix, pieces, library)

    def test_seconds_are_seen(self, qwen2_5):
        slow, fast = (self.opened(qwen2_5, qwen2_5.frames(6, apart_s=apart_s))[1] for apart_s in (2.0, 0.25))
        assert qwen2_5.model.score(slow, QUESTIONS) != pytest.approx(qwen2_5.model.score(fast, QUESTIONS), abs=1e-3)
        assert slow.next_position > fast.next_position


def names(folder):
    found = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            found.update(weights.keys())
    return found


def test_checkpoints_are_laid_out_as_published(cases):
    """What is tested here is what the hub has: old weight names for Qwen2.5-VL, new ones for Qwen3-VL."""
    old, new = (cases(of(kind)[0]).folder for kind in ("qwen2_5_vl", "qwen3_vl"))
    assert {"visual.blocks.0.mlp.up_proj.bias", "model.layers.0.self_attn.q_proj.bias"} <= names(old)
    assert "text_config" not in json.loads((old / "config.json").read_text())
    assert {"model.visual.deepstack_merger_list.2.norm.bias", "model.language_model.norm.weight"} <= names(new)
    for folder in (old, new):
        assert "lm_head.weight" not in names(folder)


@pytest.mark.parametrize(("name", "recipe"), FAMILY_RECIPES.items(), ids=FAMILY_RECIPES)
def test_what_is_loaded(cases, name, recipe):
    case, qwen3 = cases(name), recipe.kind == "qwen3_vl"
    assert case.model.info.family == recipe.kind
    assert case.checkpoint.positions_per_second == (0 if qwen3 else recipe.vision.get("tokens_per_second", 2))
    # Qwen3-VL's second file counts the pixels of a whole clip
    assert case.geometry.min_pixels == (4096 if qwen3 else 3136)
    assert case.geometry.max_pixels == (65536 if qwen3 else 50176)
    half = load(str(case.folder), "cpu", "bfloat16")
    assert half.model.dtype == torch.bfloat16
    frames = case.frames(2)
    visual = VideoModel(half).encode(frames)
    assert visual.tokens.dtype == torch.bfloat16
    whole = case.model.encode(frames).tokens
    assert float((visual.tokens.float() - whole).norm() / whole.norm()) < 0.05


def edit(file, **changes):
    write_json(file, json.loads(file.read_text()) | changes)


def lose(name):
    def change(folder):
        weights = load_file(folder / "model.safetensors")
        weights.pop(name)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def change_vision(**changes):
    def change(folder):
        vision = json.loads((folder / "config.json").read_text())["vision_config"]
        edit(folder / "config.json", vision_config=vision | changes)

    return change


DEEPER, KEYS = (
    "model.visual.deepstack_merger_list.1.norm.weight",
    "model.language_model.layers.2.self_attn.k_norm.weight",
)
FAULTS = {
    "a weight of a block": ("qwen2_5_vl", lose("visual.blocks.1.mlp.gate_proj.bias"), "missing weights"),
    "a bias of the text": ("qwen2_5_vl", lose("model.layers.1.self_attn.k_proj.bias"), "missing weights"),
    "a deeper layer's merger": (
        "qwen3_vl",
        lose(DEEPER),
        "missing weights",
    ),
    "a norm of the keys": (
        "qwen3_vl",
        lose(KEYS),
        "missing weights",
    ),
    "the position embeddings": ("qwen3_vl", lose("model.visual.pos_embed.weight"), "missing weights"),
    "fewer deeper layers": ("qwen3_vl", change_vision(deepstack_visual_indexes=[0, 1]), "unexpected weights"),
    "another patch size": (
        "qwen2_5_vl",
        lambda f: edit(f / "preprocessor_config.json", patch_size=16),
        "patch_size is 16 and 14",
    ),
    "the patches of another family": (
        "qwen3_vl",
        lambda f: edit(f / "preprocessor_config.json", patch_size=14),
        "patch_size is 14 and 16",
    ),
    "tower for another model": ("qwen2_5_vl", change_vision(out_hidden_size=64), "visual token is 48 and 64"),
    "tower for another model too": ("qwen3_vl", change_vision(out_hidden_size=64), "visual token is 48 and 64"),
    "another family's weights": ("qwen2_5_vl", lambda f: edit(f / "config.json", model_type="qwen2_vl"), "."),
    "a mixture of experts": (
        "qwen3_vl",
        lambda f: edit(f / "config.json", model_type="qwen3_vl_moe"),
        "'qwen3_vl_moe'; vidlm runs 'qwen2_vl', 'qwen2_5_vl', 'qwen3_vl' models",
    ),
}


@pytest.mark.parametrize(("kind", "fault", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_are_said_in_one_sentence(cases, tmp_path, kind, fault, words):
    folder = shutil.copytree(cases(of(kind)[0]).folder, tmp_path / "random")
    fault(folder)
    with pytest.raises(CheckpointError, match=words) as caught:
        load(str(folder), device="cpu")
    assert "\n" not in caught.value.detail
    assert str(folder.parent) not in caught.value.detail
