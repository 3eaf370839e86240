"""Prefix, scores and text equal whole-prompt forwards of the plain library, for checkpoints of many shapes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_checkpoint import RECIPES, PlainLibrary, write

from vidlm.domain import FrameBatch
from vidlm.errors import ModelError
from vidlm.model import checkpoint as checkpoints
from vidlm.model import video_model
from vidlm.model.prefix import Prefix, VisualTokens
from vidlm.model.video_model import VideoModel, distinct
from vidlm.model.vision import encode_pairs, patchify

QUESTIONS = ["Is there a fire?", "No", "Does this part show a person holding a knife? Answer Yes or No.\n", "the the"]
REQUEST = "Describe this.<|im_end|>\n<|im_start|>assistant\n"


def noise(count: int, height: int, width: int, seed: int = 0) -> FrameBatch:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    return FrameBatch(pixels, np.arange(count) * 0.5)


class Case:
    """A model, the plain library over the same weights, and a prompt of timed pairs for both."""

    def __init__(self, folder):
        checkpoint = checkpoints.load(str(folder), "cpu")
        self.checkpoint = checkpoint
        self.model = VideoModel(checkpoint)
        self.geometry = self.model.info.geometry
        self.library = PlainLibrary(checkpoint.model, checkpoint.tokenizer, self.geometry.merge_size)

    def frames(self, count, cells_h=2, cells_w=3, seed=0):
        return noise(count, cells_h * self.geometry.factor, cells_w * self.geometry.factor, seed)

    def pieces(self, frames):
        """The library's prompt: `<time>` and one clip of one pair, over and over."""
        rows, (h, w) = patchify(torch.from_numpy(frames.pixels), self.geometry)
        pieces = ["<|im_start|>user\n"]
        for index, pair in enumerate(rows):
            pieces += [f"<{index}.0s>", (pair, (1, h, w))]
        return pieces

    def parts(self, pairs):
        return ["<|im_start|>user\n", *(part for index in range(pairs) for part in (f"<{index}.0s>", index))]


@pytest.fixture(scope="module", params=RECIPES, ids=lambda name: name)
def case(request, tmp_path_factory):
    return Case(write(tmp_path_factory.mktemp("checkpoint") / "random", RECIPES[request.param]))


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return Case(write(tmp_path_factory.mktemp("checkpoint") / "random", RECIPES["tied, flat config"]))


def p_yes(case, logits):
    return float(logits[[case.checkpoint.ids.yes, case.checkpoint.ids.no]].softmax(-1)[0])


def test_scores_equal_one_whole_prompt_a_question(case):
    frames = case.frames(7)  # odd for two and for three frames a pair
    visual = case.model.encode(frames)
    prefix = case.model.open(case.parts(len(visual)), visual)
    scores = case.model.score(prefix, QUESTIONS)
    expected = [p_yes(case, case.library.last_logits([*case.pieces(frames), question])) for question in QUESTIONS]
    assert scores == pytest.approx(expected, abs=1e-4)
    assert max(expected) - min(expected) > 0.01  # the weights are loud enough to tell
    assert case.model.score(prefix, QUESTIONS) == scores


def test_greedy_text_equals_the_library_without_a_cache(case):
    frames = case.frames(4)
    visual = case.model.encode(frames)
    prefix = case.model.open(case.parts(len(visual)), visual)
    stop = case.checkpoint.ids.stop
    expected = case.library.greedy([*case.pieces(frames), REQUEST], 8, stop)
    generation = case.model.generate(prefix, REQUEST, max_new_tokens=8)
    assert list(generation.token_ids) == expected
    chosen = []
    for count in range(min(8, len(expected) + 1)):
        chosen.append(case.library.last_logits([*case.pieces(frames), REQUEST], expected[:count]).log_softmax(-1).max())
    assert generation.confidence == pytest.approx(float(torch.stack(chosen).mean().exp()), abs=1e-4)
    assert case.model.generate(prefix, REQUEST, max_new_tokens=8) == generation


def test_clips_of_several_pairs_and_several_grids(case):
    first, second = case.frames(6, 2, 2, seed=1), case.frames(3, 1, 4, seed=2)
    seen = case.model.encode_many([first, second])
    prefix = case.model.open(["Two clips: ", *(v.clip(0, len(v)) for v in seen), " and words."], None)
    pieces = ["Two clips: "]
    for frames in (first, second):
        rows, (h, w) = patchify(torch.from_numpy(frames.pixels), case.geometry)
        pieces.append((rows.flatten(0, 1), (len(rows), h, w)))
    expected = [p_yes(case, case.library.last_logits([*pieces, " and words.", q])) for q in QUESTIONS]
    assert case.model.score(prefix, QUESTIONS) == pytest.approx(expected, abs=1e-4)


def test_text_alone_is_a_prefix_too(one):
    prefix = one.model.open(["<|im_start|>system\n", "Words", " only."], None)
    expected = [p_yes(one, one.library.last_logits(["<|im_start|>system\nWords only.", q])) for q in QUESTIONS]
    assert one.model.score(prefix, QUESTIONS) == pytest.approx(expected, abs=1e-4)


def test_the_librarys_own_state_is_neither_read_nor_written(one):
    visual = one.model.encode(one.frames(4))
    before = one.model.score(one.model.open(one.parts(2), visual), QUESTIONS)
    one.checkpoint.model.model.rope_deltas = torch.tensor([[-1000]])
    assert one.model.score(one.model.open(one.parts(2), visual), QUESTIONS) == before
    one.checkpoint.model.model.rope_deltas = None


def test_rows_may_be_cut_anywhere(one, monkeypatch):
    visual = one.model.encode(one.frames(4))
    prefix = one.model.open(one.parts(2), visual)
    whole = one.model.score(prefix, QUESTIONS * 3)
    for limit in (1, 20, 70):
        monkeypatch.setattr(video_model, "ROW_TOKENS", limit)
        one.model._plant.cache_clear()
        assert one.model.score(prefix, QUESTIONS * 3) == pytest.approx(whole, abs=1e-6)
    assert one.model.score(prefix, []) == []


def test_encoding_together_apart_or_in_pieces_is_the_same(one, monkeypatch):
    batches = [one.frames(5, seed=1), one.frames(2, 1, 1, seed=2), one.frames(4, seed=3)]
    together = one.model.encode_many(batches)
    monkeypatch.setattr(video_model, "TOWER_PATCHES", {"cpu": 1})
    for batch, visual in zip(batches, together, strict=True):
        alone = one.model.encode(batch)
        torch.testing.assert_close(alone.tokens, visual.tokens)
        assert alone.grid_hw == visual.grid_hw == tuple(side // 14 for side in batch.pixels.shape[1:3])
        assert alone.pair_times_s == visual.pair_times_s
    assert together[0].pair_times_s == (0.0, 1.0, 2.0)
    part = together[0].slice(1, 3)
    assert part.pair_times_s == (1.0, 2.0)
    torch.testing.assert_close(
        part.tokens, one.model.encode(FrameBatch(batches[0].pixels[2:], batches[0].times_s[2:])).tokens
    )
    assert one.model.encode_many([]) == []


def test_a_stop_token_ends_the_text(one):
    prefix = one.model.open(["hello"], None)
    first = one.model.generate(prefix, REQUEST, max_new_tokens=1)
    (token,) = first.token_ids
    stopping = checkpoints.Checkpoint(
        **{
            name: getattr(one.checkpoint, name)
            for name in ("model", "tokenizer", "geometry", "identity", "device", "dtype")
        },
        ids=checkpoints.TokenIds(yes=1, no=2, vision_start=3, vision_end=4, video=5, stop=frozenset({token})),
    )
    generation = VideoModel(stopping).generate(prefix, REQUEST, max_new_tokens=50)
    assert generation.text == ""
    assert generation.token_ids == ()
    assert generation.confidence == pytest.approx(first.confidence)


def test_impossible_requests_are_value_errors(one):
    visual = one.model.encode(one.frames(4))
    prefix = one.model.open(["hello"], None)
    for wrong in (
        lambda: one.model.open([5], visual),
        lambda: one.model.open([-1], visual),
        lambda: one.model.open([0], None),
        lambda: one.model.open([], None),
        lambda: one.model.score(prefix, ["fine", ""]),
        lambda: one.model.generate(prefix, "", max_new_tokens=3),
        lambda: one.model.generate(prefix, "fine", max_new_tokens=0),
        lambda: one.model.encode(noise(2, 30, 30)),
        lambda: VisualTokens(visual.tokens, (0.0,), visual.grid_hw),
    ):
        with pytest.raises(ValueError):
            wrong()


def test_what_torch_refuses_is_a_model_error_and_harms_nothing(one):
    visual = one.model.encode(one.frames(4))
    prefix = one.model.open(one.parts(2), visual)
    before = one.model.score(prefix, QUESTIONS)
    alien = VisualTokens(torch.zeros(1, 6, 7), (0.0,), visual.grid_hw)  # another model's width
    with pytest.raises(ModelError, match="failed"):
        one.model.open([0], alien)
    assert one.model.score(prefix, QUESTIONS) == before


def test_identical_pairs_are_seen_once_and_come_out_the_same(one, monkeypatch):
    frames = one.frames(8, seed=5)
    still = FrameBatch(np.concatenate([frames.pixels[:2]] * 3 + [frames.pixels]), np.arange(14) * 0.5)
    sizes = []
    encode = one.model.tower.encode
    monkeypatch.setattr(one.model.tower, "encode", lambda pixels: sizes.append(len(pixels)) or encode(pixels))
    tokens = one.model.encode(still).tokens
    assert sizes == [8]
    assert all(torch.equal(tokens[index], tokens[0]) for index in (1, 2, 3))
    torch.testing.assert_close(tokens[3:], one.model.encode(frames).tokens)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_distinct_pairs(values):
    pairs = np.stack([np.full((2, 4, 4, 3), value, np.uint8) for value in values])
    seen, places = distinct(pairs)
    assert [values[index] for index in seen] == list(dict.fromkeys(values))
    assert [values[seen[place]] for place in places] == values


@pytest.mark.parametrize(("dtype", "apart"), [("float32", 1e-4), ("bfloat16", 3e-2)])
def test_folding_the_normalisation_into_the_weights_changes_nothing(one, tmp_path, dtype, apart):
    folder = write(tmp_path / "random", RECIPES["tied, flat config"])
    model = VideoModel(checkpoints.load(str(folder), "cpu", dtype))
    frames = one.frames(6)
    rows, grid = patchify(torch.from_numpy(frames.pixels), model.info.geometry)
    with torch.no_grad():
        expected = encode_pairs(model.checkpoint.model.model.visual.float(), rows, grid)
    tokens = VideoModel(checkpoints.load(str(folder), "cpu", dtype)).encode(frames).tokens.float()
    assert float((tokens - expected).abs().max() / expected.abs().max()) < apart


def test_texts_of_any_number_and_length_are_what_each_would_be_alone(one):
    prefixes = [one.model.open(one.parts(pairs), one.model.encode(one.frames(2 * pairs))) for pairs in (1, 3, 2)]
    branches = [(prefix, suffix) for prefix in prefixes for suffix in (REQUEST, "Yes", "why? " * 9 + REQUEST)]
    together = one.model.generate_many(branches, max_new_tokens=7)
    for branch, said in zip(branches, together, strict=True):
        alone = one.model.generate(*branch, max_new_tokens=7)
        assert said.token_ids == alone.token_ids
        assert said.confidence == pytest.approx(alone.confidence, abs=1e-5)
    assert one.model.generate_many([], max_new_tokens=7) == []


def test_room_is_used_again_and_never_with_garbage_in_it(one):
    rooms = one.model.rooms
    rooms.clear()
    prefix = one.model.open(["hello"], None)
    said = one.model.generate(prefix, REQUEST, max_new_tokens=3)
    (room,) = rooms._free
    assert one.model.generate(prefix, REQUEST, max_new_tokens=3) == said
    assert rooms._free == [room]
    hollow = Prefix(torch.full_like(prefix.kv, float("nan")), prefix.next_position)
    with pytest.raises(ModelError) as caught:
        one.model.generate(hollow, REQUEST, max_new_tokens=3)
    assert caught.value.code == "model_not_finite"
    assert rooms._free == []
    assert one.model.generate(prefix, REQUEST, max_new_tokens=3) == said


def test_scores_that_are_no_numbers_are_an_error(one):
    prefix = one.model.open(["hello"], None)
    hollow = Prefix(torch.full_like(prefix.kv, float("nan")), prefix.next_position)
    with pytest.raises(ModelError) as caught:
        one.model.score(hollow, QUESTIONS)
    assert caught.value.code == "model_not_finite"
