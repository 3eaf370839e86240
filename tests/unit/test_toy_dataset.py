"""A row of packed branches must mean what its branches mean alone, and labels must sit where the actors are."""

import numpy as np
import pytest
import torch

from vidlm.toyworld import dataset, losses, student, windows
from vidlm.toyworld.scene import Actor, Clip, Scene


@pytest.fixture(scope="module")
def words() -> dataset.Vocabulary:
    return dataset.Vocabulary(student.train_tokenizer())


def test_packed_branches_equal_branches_alone(words: dataset.Vocabulary) -> None:
    batch = dataset.sample_rows(np.random.default_rng(0), words, size=(84, 112), pairs=2, count=1, turns=8)
    model = student.new_model(student.train_tokenizer()).eval()
    with torch.inference_mode():
        tokens = losses.see(model, batch.pixels)
        together, _, columns = losses.stage2_logits(model, batch, tokens, words, torch.device("cpu"))
        branch = batch.branch[0]
        for number in range(1, int(branch.max()) + 1):
            kept = ((branch == 0) | (branch == number)).nonzero()[:, 0]
            alone = dataset.Rows(
                batch.pixels,
                batch.ids[:, kept],
                batch.branch[:, kept],
                batch.positions[:, :, kept],
                batch.targets[:, kept],
                batch.weights[:, kept],
                [[batch.kinds[0][number - 1]]],
                batch.cells,
            )
            logits, _, _ = losses.stage2_logits(model, alone, tokens, words, torch.device("cpu"))
            torch.testing.assert_close(logits, together[branch[columns] == number], atol=1e-4, rtol=1e-4)


def test_rows_ask_for_answers_and_nothing_else(words: dataset.Vocabulary) -> None:
    batch = dataset.sample_rows(np.random.default_rng(1), words, size=(84, 112), pairs=1, count=4)
    asked = batch.targets >= 0
    assert bool((batch.branch[asked] > 0).all())
    assert bool((batch.weights[asked] > 0).all())
    assert bool((batch.weights[~asked] == 0).all())
    assert int((batch.targets == words.end).sum()) == sum(len(kinds) for kinds in batch.kinds)


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


def test_places_count_from_both_edges() -> None:
    towers = losses.Towers(16, 8)
    with torch.no_grad():  # a head that always says 0: right at the top, bottom, left and right edge only
        towers.places.weight.zero_()
        towers.places.bias.zero_()
        towers.places.bias.view(4, -1)[:, 0] = 50.0
    _, figures = losses.place_loss(towers, torch.randn(2 * 3 * 4, 8), (3, 4))
    assert figures["row"] == pytest.approx(1 / 3)
    assert figures["column"] == pytest.approx(1 / 4)
