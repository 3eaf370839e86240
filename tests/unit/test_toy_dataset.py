"""A row of packed branches must mean what its branches mean alone, and labels must sit where the actors are."""

import dataclasses

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from vidlm.toyworld import lessons, losses, rows, student, windows
from vidlm.toyworld.scene import Actor, Clip, Scene
from vidlm.toyworld.windows import COLOUR_NAMES, MOTION_NAMES, PLACE_NAMES


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return student.train_tokenizer()


@pytest.fixture(scope="module")
def words(tokenizer: Tokenizer) -> rows.Vocabulary:
    return rows.Vocabulary(tokenizer)


def test_packed_branches_equal_branches_alone(words: rows.Vocabulary) -> None:
    batch = rows.sample_rows(np.random.default_rng(0), words, size=(84, 112), pairs=2, count=1, turns=8)
    model = student.new_model(student.train_tokenizer()).eval()
    with torch.inference_mode():
        tokens = losses.see(model, batch.pixels)
        together, _, columns = losses.stage2_logits(model, batch, tokens, words, torch.device("cpu"))
        branch = batch.branch[0]
        for number in range(1, int(branch.max()) + 1):
            kept = ((branch == 0) | (branch == number)).nonzero()[:, 0]
            alone = dataclasses.replace(
                batch,
                ids=batch.ids[:, kept],
                branch=batch.branch[:, kept],
                positions=batch.positions[:, :, kept],
                targets=batch.targets[:, kept],
                weights=batch.weights[:, kept],
                about=batch.about[:, kept],
                kinds=[[batch.kinds[0][number - 1]]],
            )
            logits, _, _ = losses.stage2_logits(model, alone, tokens, words, torch.device("cpu"))
            torch.testing.assert_close(logits, together[branch[columns] == number], atol=1e-4, rtol=1e-4)


def test_rows_ask_for_answers_and_nothing_else(words: rows.Vocabulary) -> None:
    batch = rows.sample_rows(np.random.default_rng(1), words, size=(84, 112), pairs=1, count=4)
    asked = batch.targets >= 0
    assert bool((batch.branch[asked] > 0).all())
    assert bool((batch.weights[asked] > 0).all())
    assert bool((batch.weights[~asked] == 0).all())
    assert int((batch.targets == words.end).sum()) == sum(len(kinds) for kinds in batch.kinds)


def test_what_a_turn_is_about_is_known_to_its_tokens(words: rows.Vocabulary, tokenizer: Tokenizer) -> None:
    """The name in a request and the whole answer carry the fact they speak of, and its cells and labels agree."""
    asked = {"colour", "direction", "place", "when"}
    batch = rows.sample_rows(np.random.default_rng(2), words, size=(84, 112), pairs=4, count=12)
    checked = 0
    for row, kinds in enumerate(batch.kinds):
        for number, kind in enumerate(kinds, start=1):
            mine = batch.branch[row] == number
            answering = mine & (batch.targets[row] >= 0)
            bits = set(batch.about[row][answering].tolist())
            if kind == "absent":
                assert not batch.about[row][mine].any()
            if kind not in asked:
                continue
            (bit,) = bits
            assert bit.bit_count() == 1
            assert int((batch.about[row][mine & ~answering] == bit).sum()) == 1  # the name's last token
            fact = batch.truth.facts[row, bit.bit_length() - 1]
            cells = batch.truth.owners[row] == bit
            assert (batch.truth.cells[row].movedim(1, -1)[cells] == fact[:3]).all()
            assert (batch.truth.places[row][cells] == fact[3]).all()
            said = tokenizer.decode(batch.targets[row][answering].tolist()).lower()
            if kind == "colour":
                assert COLOUR_NAMES[fact[1]] in said
            if kind == "direction":
                assert MOTION_NAMES[fact[2]] in said
            if kind == "place":
                assert PLACE_NAMES[fact[3]] in said
            checked += 1
    assert checked > 10


def test_where_to_look_is_learnt_from_attention_alone(words: rows.Vocabulary) -> None:
    """All attention on the wanted tokens costs nothing, none of it costs the most."""
    batch = rows.sample_rows(np.random.default_rng(3), words, size=(84, 112), pairs=2, count=2)
    visual = batch.ids == words.video
    shown = torch.zeros_like(batch.about)
    shown[visual] = batch.truth.owners.flatten()
    wanted = ((batch.about[:, :, None] & shown[:, None, :]) != 0).float()
    ideal = (wanted / wanted.sum(-1, keepdim=True).clamp(min=1))[:, None].expand(-1, 4, -1, -1)
    for weights, low, high in ((ideal, 0.0, 1e-3), (torch.zeros_like(ideal), 10.0, 30.0)):
        loss, figures = lessons.ground_loss([weights] * 4, batch, visual)
        assert low <= float(loss) <= high
        assert figures["ground_answers"] == pytest.approx(1.0 if high < 1 else 0.0, abs=1e-5)


def test_cells_name_what_covers_them() -> None:
    actor = Actor("circle", "red", 0.5, 0.0, 4.0, ((0.0, 0.25, 0.5), (4.0, 0.75, 0.5)))
    clip = Clip(4.0, (Scene(0.0, 4.0, ((90.0,) * 3, (90.0,) * 3), (actor,), 0.0, 0),), 0.0, 0, (1.0, 1.0), 0.0)
    kinds, colours, motions = windows.cell_labels(windows.shown_at(clip, 0.0), (112, 112)).reshape(3, 4, 4)
    inside = kinds == windows.KIND_NAMES.index("circle")
    assert inside[1:3, 0:2].all()
    assert not inside[:, 3].any()
    assert set(colours[inside]) == {windows.COLOUR_NAMES.index("red")}
    assert set(motions[inside]) == {windows.MOTION_NAMES.index("right")}


def test_softening_keeps_grey_pictures_and_sizes() -> None:
    grey = np.full((2, 28, 56, 3), 120, dtype=np.uint8)
    assert np.array_equal(windows.soften(np.random.default_rng(0), grey), grey)


def test_places_count_from_both_edges_and_are_named() -> None:
    towers = lessons.Towers(16, 8)
    with torch.no_grad():
        for head in (towers.cell_at, towers.places):
            head.weight.zero_()
            head.bias.zero_()
        towers.cell_at.bias.view(4, -1)[:, 0] = 50.0  # always says: at the top, the bottom, the left and the right edge
        towers.places.bias[PLACE_NAMES.index("left")] = 50.0
    named = torch.zeros(2 * 3 * 4, dtype=torch.long)
    named[:3] = PLACE_NAMES.index("left")
    named[3] = PLACE_NAMES.index("top")
    _, figures = lessons.place_loss(towers, torch.randn(2 * 3 * 4, 8), (3, 4), named)
    assert figures["row"] == pytest.approx(1 / 3)
    assert figures["column"] == pytest.approx(1 / 4)
    assert figures["place"] == pytest.approx(3 / 4)
