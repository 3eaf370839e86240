"""A row of packed branches must mean what its branches mean alone, and labels must sit where the actors are."""

import dataclasses
import math
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from vidlm.config import EMBEDDED_MODEL
from vidlm.prompts import policy_question
from vidlm.toyworld import (
    alignment,
    composed,
    courses,
    dataset,
    lessons,
    losses,
    rows,
    stages,
    student,
    tokens,
    train,
    windows,
)
from vidlm.toyworld.questions import NUMBERS
from vidlm.toyworld.scene import Actor, Clip, Scene
from vidlm.toyworld.tasks import Turn
from vidlm.toyworld.truth import Fact
from vidlm.toyworld.windows import COLOUR_NAMES, MOTION_NAMES, PLACE_NAMES


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(EMBEDDED_MODEL / "tokenizer.json"))


@pytest.fixture(scope="module")
def words(tokenizer: Tokenizer) -> tokens.Vocabulary:
    return tokens.Vocabulary(tokenizer)


def test_packed_turns_equal_turns_alone(words: tokens.Vocabulary, tokenizer: Tokenizer) -> None:
    """Every turn of every chunk, read by the library's own forward right behind its prefix."""
    batch = rows.sample_rows(np.random.default_rng(0), words, size=(84, 112), pairs=2, count=2)
    model = student.new_model(tokenizer).eval()
    layout, compared = batch.layout, 0
    with torch.inference_mode():
        visual = losses.see(model, batch.pixels)
        last = losses.stage2_states(model, batch, visual, words).last
        for chunk, row in enumerate(layout.owner.tolist()):
            length = int(layout.prefix_length[row])
            for number in layout.turn[chunk].unique().tolist():
                if number == 0:
                    continue
                mine = layout.turn[chunk] == number
                ids = torch.cat([batch.prefix[row, :length], batch.ids[chunk, mine]])[None]
                positions = torch.cat(
                    [layout.prefix_positions[:, row, :length], layout.positions[:, chunk, mine]], dim=1
                )
                embeds = model.model.language_model.embed_tokens(ids)
                shown = visual[2 * row : 2 * row + 2].flatten(0, 1)
                alone = model.model.language_model(
                    inputs_embeds=embeds.masked_scatter((ids == words.video)[..., None], shown),
                    position_ids=positions[:, None],
                    use_cache=False,
                ).last_hidden_state[0, length:]
                torch.testing.assert_close(last[chunk, mine], alone, atol=1e-4, rtol=1e-4)
                compared += 1
    assert compared == sum(len(kinds) for kinds in batch.kinds)


def test_rows_ask_for_answers_and_nothing_else(words: tokens.Vocabulary) -> None:
    batch = rows.sample_rows(np.random.default_rng(1), words, size=(84, 112), pairs=1, count=4)
    asked = batch.targets >= 0
    assert bool((batch.layout.turn[asked] > 0).all())
    assert bool((batch.weights[asked] > 0).all())
    assert bool((batch.weights[~asked] == 0).all())
    assert int((batch.targets == words.end).sum()) == sum(len(kinds) for kinds in batch.kinds)


def turns_of(batch: rows.Rows) -> Iterator[tuple[int, int, str, torch.Tensor]]:
    """(row, chunk, kind, the turn's places in the chunk)"""
    for row, kinds in enumerate(batch.kinds):
        for number, kind in enumerate(kinds, start=1):
            for chunk in (batch.layout.owner == row).nonzero()[:, 0].tolist():
                mine = batch.layout.turn[chunk] == number
                if mine.any():
                    yield row, chunk, kind, mine


def test_what_a_turn_is_about_is_known_to_its_tokens(words: tokens.Vocabulary, tokenizer: Tokenizer) -> None:
    """The name in a request and the whole answer carry the fact they speak of, and its cells and labels agree."""
    asked = {"colour", "direction", "place", "when"}
    batch = rows.sample_rows(np.random.default_rng(2), words, size=(84, 112), pairs=4, count=30)
    checked = 0
    for row, chunk, kind, mine in turns_of(batch):
        answering = mine & (batch.targets[chunk] >= 0)
        bits = set(batch.about[chunk][answering].tolist())
        if kind == "absent":
            assert bits == {alignment.NOWHERE}
            assert set(batch.about[chunk][mine & ~answering].tolist()) <= {0, alignment.NOWHERE}
        if kind not in asked:
            continue
        (bit,) = bits
        assert bit.bit_count() == 1
        assert int((batch.about[chunk][mine & ~answering] == bit).sum()) == 1  # the name's last token
        fact = batch.truth.facts[row, bit.bit_length() - 1]
        cells = batch.truth.owners[row] == bit
        known = batch.truth.cells[row].movedim(1, -1)[cells]
        assert (known[:, :2] == fact[:2]).all()
        # nothing is known of what is in one frame only, and who arrives stands then
        assert set(known[:, 2].tolist()) <= {0, windows.MOTION_NAMES.index("still"), int(fact[2])}
        assert (batch.truth.places[row][cells] == fact[4]).all()
        said = tokenizer.decode(batch.targets[chunk][answering].tolist()).lower()
        if kind == "colour":
            assert COLOUR_NAMES[fact[1]] in said
        if kind == "direction":
            assert MOTION_NAMES[fact[2]] in said
        if kind == "place":
            assert PLACE_NAMES[fact[4]] in said
        checked += 1
    assert checked > 10


def test_every_one_of_several_knows_how_many_they_are(words: tokens.Vocabulary, tokenizer: Tokenizer) -> None:
    batch = rows.sample_rows(np.random.default_rng(6), words, size=(84, 112), pairs=4, count=60, asked=6)
    numbers: set[str] = set()
    for row, chunk, kind, mine in turns_of(batch):
        if kind != "count":
            continue
        answering = mine & (batch.targets[chunk] >= 0)
        (bits,) = set(batch.about[chunk][answering].tolist())
        said = tokenizer.decode(batch.targets[chunk][answering].tolist()).removesuffix("<|im_end|>").rstrip(".")
        counted = [batch.truth.facts[row, number] for number in range(alignment.FACTS_MOST) if bits >> number & 1]
        assert {NUMBERS[int(fact[list(windows.FACT_LABELS).index("number")])] for fact in counted} == {said}
        assert len(counted) == NUMBERS.index(said)
        numbers.add(said)
    assert len(numbers) >= 3


def test_names_of_what_is_not_there_look_nowhere(words: tokens.Vocabulary) -> None:
    """A policy's or a question's name points to what it names, or to nothing; so does an answer of "No"."""
    batch = rows.sample_rows(np.random.default_rng(7), words, size=(84, 112), pairs=3, count=60)
    found: Counter[tuple[str, bool]] = Counter()
    yes, no = (words.encode(said)[0] for said in ("Yes", "No"))
    for row, chunk, kind, mine in turns_of(batch):
        if kind not in {"composed", "relevance", "policy"}:
            continue
        (column,) = (mine & (batch.targets[chunk] >= 0)).nonzero()[:1, 0].tolist()
        said, about = int(batch.targets[chunk, column]), int(batch.about[chunk, column])
        assert said in {yes, no}
        assert (about == alignment.NOWHERE) == (said == no)
        named = set(batch.about[chunk][mine & (batch.targets[chunk] < 0)].tolist()) - {0}
        found[kind, alignment.NOWHERE in named] += 1
        assert kind != "policy" or alignment.NOWHERE not in named
        for bit in named - {alignment.NOWHERE}:
            assert bit < 1 << len(batch.truth.facts[row])
    assert min(found["composed", True], found["composed", False], found["relevance", True]) > 5


def test_written_times_know_the_digits_they_are_read_off(words: tokens.Vocabulary, tokenizer: Tokenizer) -> None:
    """Every digit of the seconds of "From 12.5s" points to the same digit of a time before a frame pair."""
    batch = rows.sample_rows(np.random.default_rng(4), words, size=(84, 112), pairs=4, count=60)
    checked = 0
    for row in range(len(batch.kinds)):
        times = batch.clock[row] > 0
        spelt = tokens.pair_of(batch.clock[row][times]).tolist()
        assert sorted(set(spelt)) == [0, 1, 2, 3]
        assert spelt == sorted(spelt)
    for row, chunk, kind, mine in turns_of(batch):
        read_off = batch.when[chunk][mine]
        assert kind in {"when", "moment", "follow_up"} or not read_off.any()
        for code, wanted in zip(read_off.tolist(), batch.targets[chunk][mine].tolist(), strict=True):
            if code:
                (place,) = (batch.clock[row] == code).nonzero()[:, 0].tolist()
                assert int(batch.prefix[row, place]) == wanted
                assert tokenizer.decode([wanted]).strip().isdigit()
                checked += 1
    assert checked > 20


def test_what_is_chosen_points_to_its_name_in_the_request(words: tokens.Vocabulary, tokenizer: Tokenizer) -> None:
    batch = rows.sample_rows(np.random.default_rng(5), words, size=(84, 112), pairs=4, count=60, asked=6)
    kinds: set[str] = set()
    for _, chunk, kind, mine in turns_of(batch):
        columns = (mine & (batch.copied[chunk] > 0)).nonzero()[:, 0].tolist()
        assert len(columns) <= 1
        assert kind in {"order", "colour", "direction", "place", "choice"} or not columns
        assert columns or kind not in {"order", "choice"}
        for column in columns:
            named = int(batch.copied[chunk, column]) - 1
            assert mine[named]
            assert named < column
            answer = tokenizer.decode(batch.targets[chunk][mine & (batch.targets[chunk] >= 0)].tolist()).lower()
            request = tokenizer.decode(batch.ids[chunk][mine][: named + 1 - int(mine.nonzero()[0])].tolist()).lower()
            said = answer.removesuffix("<|im_end|>").rstrip(".").removeprefix("the ")
            if kind == "choice":
                assert request.splitlines()[-1].startswith(f"{said}. ")
                assert tokenizer.decode([int(batch.ids[chunk, named + 1])]).startswith("\n")  # the option's end
            else:
                assert request.endswith(said), (request, said)
            kinds.add(kind)
    assert {"order", "choice"} <= kinds
    assert len(kinds) > 2


def test_what_decides_an_order_knows_which_is_wanted(words: tokens.Vocabulary, tokenizer: Tokenizer) -> None:
    """By the words of the request, where the label comes from the times of what the answer says."""
    batch = rows.sample_rows(np.random.default_rng(5), words, size=(84, 112), pairs=4, count=60, asked=6)
    wanted: Counter[str] = Counter()
    for _, chunk, kind, mine in turns_of(batch):
        columns = (mine & (batch.sought[chunk] > 0)).nonzero()[:, 0].tolist()
        assert len(columns) == (kind == "order")
        for column in columns:
            assert batch.copied[chunk, column] > 0
            request = tokenizer.decode(batch.ids[chunk][mine & (batch.targets[chunk] < 0)].tolist())
            later = re.search(r"\b(last|later|second|after)\b", request, re.IGNORECASE) is not None
            assert alignment.SOUGHT[int(batch.sought[chunk, column])] == ("later" if later else "earlier"), request
            wanted["later" if later else "earlier"] += 1
    assert min(wanted["later"], wanted["earlier"]) >= 3, wanted


def test_what_is_wanted_is_learnt_where_something_is(words: tokens.Vocabulary) -> None:
    """A state that says it costs nothing, one that says another costs much; without orders nothing is learnt."""
    batch = rows.sample_rows(np.random.default_rng(5), words, size=(84, 112), pairs=4, count=30, asked=6)
    towers = lessons.Towers(vocabulary=4, width=len(alignment.SOUGHT))
    torch.nn.init.eye_(towers.sought.weight)
    states = 20 * torch.nn.functional.one_hot(batch.sought, len(alignment.SOUGHT)).float()
    loss, figures = lessons.sought_loss(towers, states, batch)
    assert loss.item() < 1e-3
    assert figures == {"sought": 1.0}
    loss, figures = lessons.sought_loss(towers, -states, batch)
    assert loss.item() > 10
    assert figures == {"sought": 0.0}
    none = dataclasses.replace(batch, sought=torch.zeros_like(batch.sought))
    loss, figures = lessons.sought_loss(towers, states, none)
    assert loss.item() == 0
    assert figures == {}


def test_only_words_of_a_request_name_things(words: tokens.Vocabulary, tokenizer: Tokenizer) -> None:
    """Not the markup around it, which has a "star" in its "<|im_start|>"; whatever its letters' size and number."""
    star, tree = (
        Fact(kind, colour, "still", "left", 0.0, 2.0, 0.2) for kind, colour in (("star", "orange"), ("tree", "green"))
    )
    prefix = tokens.prefix_of(words, [0.0], (84, 112))
    for request, ends in (
        ("What moves right?", ""),
        ("Which way does the star move?", "star"),
        ("Is there anything starry beside the orange star?", "orange star"),
        ("Stars: how many of them are there?", "Stars"),
    ):
        turn = Turn("what", request, "Something.", named=(star,))
        found = alignment.tokens_of(words, turn, [tree, star], prefix)
        asked = len(words.encode(turn.text)) - 1
        named = [place for place in range(asked) if found.about[place]]
        assert tokenizer.decode(found.ids[: named[0] + 1] if named else []).endswith(ends)
        assert len(named) == (ends != "")
        assert all(found.about[place] == 2 for place in named)


def test_what_policies_speak_of_is_looked_for(words: tokens.Vocabulary, tokenizer: Tokenizer) -> None:
    """Phrase by phrase, whether it holds or not: an exception's thing as well, a motion where what moves so is."""
    seen = [
        Fact("ring", "red", "still", "left", 0.0, 2.0, 0.2),
        Fact("ring", "yellow", "left", None, 0.0, 2.0, 0.7),
        Fact("dog", "brown", "grows", "top", 0.0, 2.0, 0.5),
    ]
    prefix = tokens.prefix_of(words, [0.0], (84, 112))
    found: set[tuple[str, str, int]] = set()
    for seed in range(1500):
        rng = np.random.default_rng(seed)
        for made in (composed.sample_composed(rng, seen, plain=False), *composed.sample_contrast(rng, seen)):
            turn = Turn("composed", policy_question(made.policy), "No", mentions=made.mentions(seen))
            known = alignment.tokens_of(words, turn, seen, prefix)
            for place in range(len(words.encode(turn.text)) - 1):
                if known.about[place]:
                    said = tokenizer.decode(known.ids[: place + 1])
                    found.add((made.words, said.split("Does this part show ")[1], known.about[place]))
    red, yellow, dog, nowhere = 1, 2, 4, alignment.NOWHERE
    assert {
        ("a ring, but not a red ring", "a ring", red | yellow),
        ("a ring, but not a red ring", "a ring? Not counted: a red ring", red),
        ("a ring, but not a yellow ring", "a ring? Not counted: a yellow ring", yellow),
        ("something that grows", "something that grows", dog),
        ("something moving left", "something moving left", yellow),
        ("something moving up", "something moving up", nowhere),
        ("a yellow ring moving left", "a yellow ring", yellow),
        ("a yellow ring moving left", "a yellow ring moving left", yellow),
        ("a yellow ring moving up", "a yellow ring moving up", nowhere),
        ("a red ring on the left", "a red ring on the left", red),
        ("a red shape", "a red shape", red),
        ("two or more rings", "two or more rings", red | yellow),
        ("a red ring and a brown dog", "a red ring and a brown dog", dog),
    } <= found


def test_captions_know_where_they_have_named_something(words: tokens.Vocabulary, tokenizer: Tokenizer) -> None:
    """Each thing is named once, and what names it looks at that thing."""
    batch = rows.sample_rows(np.random.default_rng(5), words, size=(84, 112), pairs=3, count=12)
    named = 0
    for row, chunk, kind, mine in turns_of(batch):
        answering = mine & (batch.targets[chunk] >= 0)
        assert bool(((batch.tells[chunk] > 0) == answering)[mine].all()) == (kind == "caption")
        columns = (mine & (batch.tells[chunk] == alignment.HAS_NAMED)).nonzero()[:, 0].tolist()
        for column in columns:
            bit = int(batch.about[chunk, column])
            assert bit.bit_count() == 1
            thing = windows.KIND_NAMES[int(batch.truth.facts[row, bit.bit_length() - 1, 0])]
            last = tokenizer.decode([int(batch.ids[chunk, column])]).strip().lower()
            assert "_" in thing or thing.endswith(last)
            named += 1
        if columns:
            assert len(columns) == int((batch.targets[chunk][answering] == words.full_stop).sum())
    assert named > 15


def test_where_to_look_is_learnt_from_attention_alone(words: tokens.Vocabulary) -> None:
    """All attention on the wanted tokens costs nothing, none of it costs the most."""
    batch = rows.sample_rows(np.random.default_rng(3), words, size=(84, 112), pairs=2, count=12)
    visual = batch.prefix == words.video
    owner = batch.layout.owner
    shown = torch.zeros_like(batch.prefix)
    shown[visual] = batch.truth.owners.flatten()
    shown[:, 0] = alignment.NOWHERE
    rests = (batch.about[:, :, None] & shown[owner][:, None, :]) != 0
    spells = (batch.when[:, :, None] == batch.clock[owner][:, None, :]) & (batch.when > 0)[:, :, None]
    ideal = {
        layer: (wanted / wanted.sum(-1, keepdim=True).clamp(min=1))[:, None].expand(-1, 2, -1, -1)
        for layer, wanted in (
            (lessons.NAME_LAYER, rests.float()),
            (lessons.ANSWER_LAYER, rests.float()),
            (lessons.TIME_LAYER, spells.float()),
        )
    }
    telling = (batch.tells > 0)[:, None, :, None]
    ideal[lessons.NEXT_LAYER] = torch.where(telling, ideal[lessons.ANSWER_LAYER], ideal[lessons.TIME_LAYER])
    length = batch.ids.shape[1]
    chosen = torch.zeros(*batch.ids.shape, length + 1).scatter(2, batch.copied[..., None], 1.0)[..., 1:]
    ideal = {layer: torch.cat([looks, chosen[:, None].expand(-1, 2, -1, -1)], dim=3) for layer, looks in ideal.items()}
    loss, figures = lessons.ground_loss(ideal, batch, visual)
    assert -1e-6 <= loss.item() <= 1e-3
    assert all(
        figures[f"ground_{name}"] == pytest.approx(1.0, abs=1e-5)
        for name in ("names", "again", "answers", "said", "next", "times", "choices")
    )
    loss, figures = lessons.ground_loss({layer: 0 * weights for layer, weights in ideal.items()}, batch, visual)
    assert loss.item() == pytest.approx(-7 * math.log(1e-5), rel=1e-4)
    assert figures["ground_times"] == 0


def test_a_model_that_gets_another_layer_says_what_it_said(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Training goes on from models that had fewer: new layers begin as ones that add nothing."""
    before = student.new_model(tokenizer, seed=3).eval()
    before.model.language_model.layers = before.model.language_model.layers[:2]
    before.config.text_config.num_hidden_layers = 2
    student.save_model(before, tokenizer, tmp_path)
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str())
    course = courses.Tiny(2, tmp_path, 0)
    grown = course.learner().eval()
    grown.load_state_dict(course.shipped(tmp_path), strict=False)
    assert len(grown["model"].model.language_model.layers) == student.LAYERS
    ids = torch.arange(20)[None]
    with torch.no_grad():
        for weight in before.parameters():
            weight.copy_(weight.bfloat16())  # as they were saved
        said, says = before(input_ids=ids), grown["model"](input_ids=ids)
    assert torch.allclose(said.logits, says.logits, atol=1e-5)


def test_cells_name_what_covers_them() -> None:
    actor = Actor("circle", "red", 0.5, 0.0, 4.0, ((0.0, 0.25, 0.5), (4.0, 0.75, 0.5)))
    clip = Clip(4.0, (Scene(0.0, 4.0, ((90.0,) * 3, (90.0,) * 3), (actor,), 0.0, 0),), 0.0, 0, (1.0, 1.0), 0.0)
    kinds, colours, motions, numbers = windows.cell_labels(windows.shown_at(clip, 0.0), (112, 112)).reshape(4, 4, 4)
    inside = kinds == windows.KIND_NAMES.index("circle")
    assert inside[1:3, 0:2].all()
    assert not inside[:, 3].any()
    assert set(colours[inside]) == {windows.COLOUR_NAMES.index("red")}
    assert set(motions[inside]) == {windows.MOTION_NAMES.index("right")}
    assert set(numbers[inside]) == {1}
    assert not numbers[~inside].any()


def test_softening_keeps_grey_pictures_and_sizes() -> None:
    grey = np.full((2, 28, 56, 3), 120, dtype=np.uint8)
    assert np.array_equal(windows.soften(np.random.default_rng(0), grey), grey)


def test_places_count_from_both_edges_and_are_named() -> None:
    towers = lessons.Towers(16, 8)
    with torch.no_grad():
        for head in (towers.cell_at, towers.places, towers.pair_at):
            head.weight.zero_()
            head.bias.zero_()
        towers.cell_at.bias.view(4, -1)[:, 0] = 50.0  # always says: at the top, the bottom, the left and the right edge
        towers.places.bias[PLACE_NAMES.index("left")] = 50.0
        towers.pair_at.bias[1] = 50.0  # and: in the second pair
    named = torch.zeros(2 * 3 * 4, dtype=torch.long)
    named[:3] = PLACE_NAMES.index("left")
    named[3] = PLACE_NAMES.index("top")
    _, figures = lessons.place_loss(towers, torch.randn(2 * 3 * 4, 8), (2, 3, 4), named)
    assert figures["row"] == pytest.approx(1 / 3)
    assert figures["column"] == pytest.approx(1 / 4)
    assert figures["pair"] == pytest.approx(1 / 2)
    assert figures["place"] == pytest.approx(3 / 4)


def test_a_frugal_codec_takes_detail_and_leaves_the_picture() -> None:
    rng = np.random.default_rng(0)
    frames = np.clip(np.linspace(40, 200, 112)[None, None, :, None] + rng.normal(0, 20, (2, 84, 112, 3)), 0, 255)
    frames = frames.astype(np.uint8)
    soft, hard = windows.crush(frames, 2.0).astype(float), windows.crush(frames, 60.0).astype(float)
    assert np.abs(soft - frames).mean() < 2
    assert np.abs(np.diff(hard, axis=2)).mean() < 0.5 * np.abs(np.diff(frames.astype(float), axis=2)).mean()
    assert abs(hard.mean() - frames.mean()) < 1


def test_windows_may_have_time_missing_and_stay_in_order() -> None:
    gaps = 0
    for seed in range(60):
        clip, times_s, fps = windows.sample_window(np.random.default_rng(seed), 8)
        assert len(times_s) == 16
        steps = np.diff(np.unique(times_s))
        gaps += int((steps > 1 / fps + 1e-6).any())
        assert clip.scenes[0].start_s <= times_s[0] + 1e-6
        assert times_s[-1] < clip.duration_s
        assert all(one.end_s == other.start_s for one, other in pairwise(clip.scenes))
    assert 3 <= gaps <= 30


def test_windows_are_shown_as_the_product_shows_them() -> None:
    """A pair is one window's: of a window with an odd number of frames the last one stands twice, and only there."""
    twice = 0
    for seed in range(60):
        clip, times_s, fps = windows.sample_window(np.random.default_rng(seed), 8)
        pairs = times_s.reshape(8, 2)
        steps = pairs[:, 1] - pairs[:, 0]
        assert ((steps == 0) | np.isclose(steps, 1 / fps)).mean() > 0.8  # a cut that is too near another is not seen
        assert (pairs[1:, 0] > pairs[:-1, 1]).all()
        twice += int((steps[:-1] == 0).any())
        frames = windows.render_window(np.random.default_rng(seed), clip, times_s, (56, 84))
        same = [bool((one == other).all()) for one, other in zip(frames[::2], frames[1::2], strict=True)]
        assert all(same[pair] for pair in np.flatnonzero(steps == 0))
    assert twice > 20


def test_nothing_is_known_to_move_where_one_frame_stands_twice() -> None:
    actor = Actor("circle", "red", 0.5, 0.0, 4.0, ((0.0, 0.25, 0.5), (4.0, 0.75, 0.5)))
    clip = Clip(4.0, (Scene(0.0, 4.0, ((90.0,) * 3, (90.0,) * 3), (actor,), 0.0, 0),), 0.0, 0, (1.0, 1.0), 0.0)
    known, *others = (
        windows.cell_labels(windows.shown_at(clip, *pair), (112, 112)) for pair in ((3.0, 3.5), (3.0, 3.0), (3.0, 4.0))
    )
    assert known[2].any()
    for unknown in others:  # one frame twice, and a frame that it has left
        assert (known[[0, 1, 3]] == unknown[[0, 1, 3]]).all()
        assert not unknown[2].any()
    (fact, x, y, _), *_ = windows.shown_at(clip, 3.0, 3.0)
    assert windows.describe(fact, x, y) == "a red circle middle"


def test_a_pair_shows_what_either_frame_shows() -> None:
    """Who enters between a pair's frames is in it as much as who leaves; how they move is not known."""
    entering = Actor("circle", "red", 0.5, 0.3, 4.0, ((0.3, 0.3, 0.5), (4.0, 0.8, 0.5)))
    leaving = Actor("square", "blue", 0.3, 0.0, 0.3, ((0.0, 0.8, 0.2),))
    clip = Clip(
        4.0, (Scene(0.0, 4.0, ((90.0,) * 3, (90.0,) * 3), (entering, leaving), 0.0, 0),), 0.0, 0, (1.0, 1.0), 0.0
    )
    told = {fact.name: (x, fact.motion) for fact, x, *_ in windows.shown_at(clip, 0.0, 0.5)}
    assert told == {"red circle": (entering.place(0.5)[0], "none"), "blue square": (0.8, "none")}
    assert [fact.name for fact, *_ in windows.shown_at(clip, 0.0)] == ["blue square"]


def test_what_has_arrived_is_not_said_to_move() -> None:
    actor = Actor("car", "red", 0.5, 0.0, 6.0, ((0.0, 0.2, 0.5), (3.0, 0.5, 0.5), (6.0, 0.5, 0.5)))
    clip = Clip(6.0, (Scene(0.0, 6.0, ((90.0,) * 3, (90.0,) * 3), (actor,), 0.0, 0),), 0.0, 0, (1.0, 1.0), 0.0)
    told = [windows.describe(fact, x, y) for time_s in (0.0, 3.0) for fact, x, y, _ in windows.shown_at(clip, time_s)]
    assert told == ["a red car moves right left", "a red car still middle"]


def test_windows_show_parts_of_scenes() -> None:
    """Scenes last as long around a window as they do in a clip: what crosses the picture does not do so in a window."""
    lengths_s = []
    for seed in range(60):
        clip, times_s, _ = windows.sample_window(np.random.default_rng(seed), 2)
        assert clip.scenes[0].start_s >= 0
        assert clip.scenes[0].start_s <= times_s[0] + 1e-6
        assert times_s[-1] < clip.duration_s
        lengths_s.append(clip.scenes[0].end_s - clip.scenes[0].start_s)
    assert 4.5 < np.mean(lengths_s) < 6.0
    assert max(lengths_s) <= 8.0


def test_from_nothing_a_stage_sees_more_and_more_and_in_the_end_all(tmp_path: Path) -> None:
    """Windows and frames only grow; whoever goes on from a model sees all of it from the start."""
    shutil.copy(EMBEDDED_MODEL / "tokenizer.json", tmp_path)  # a run's first start trains one
    run = train.Run(stages.TrainConfig(2, 100.0, tmp_path, **stages.SETTINGS[2]), torch.device("cpu"))
    seen = []
    for minute in range(101):
        run.elapsed_s = 60.0 * minute
        seen.append(run.simpler)
    assert sorted(set(seen), reverse=True) == list(range(len(dataset.SIMPLER)))[::-1]
    assert seen == sorted(seen)[::-1]
    assert seen[70] == 0
    assert dataset.SIMPLER[0] is dataset.TASKS
    longest = [max(np.flatnonzero(mix.pair_counts)) for mix in dataset.SIMPLER]
    pixels = [sum(height * width for height, width in mix.sizes) for mix in dataset.SIMPLER]
    assert longest == sorted(longest)[::-1]
    assert pixels == sorted(pixels)[::-1]
    again = train.Run(stages.TrainConfig(2, 100.0, tmp_path, **stages.SETTINGS[2] | stages.AGAIN[2]), run.device)
    assert again.simpler == 0


def test_single_pairs_are_as_large_as_frames_will_be(words: tokens.Vocabulary) -> None:
    stream = dataset.RowStream(words, [5], dataset.SIMPLER[-1], pair_share=0.6, pairs_per_batch=4)
    sizes: dict[type, set[tuple[int, int]]] = {dataset.Pairs: set(), rows.Rows: set()}
    for batch in islice(stream, 16):
        if batch.pixels.numel():
            sizes[type(batch)].add((batch.pixels.shape[2], batch.pixels.shape[3]))
    assert sizes[dataset.Pairs]
    assert sizes[dataset.Pairs] <= set(dataset.SIZES)
    assert sizes[rows.Rows]
    assert sizes[rows.Rows] <= set(dataset.SMALLER)
