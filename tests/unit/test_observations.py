"""The table of an evaluation says what was seen."""

import json
from pathlib import Path

import pytest

from vidlm.evaluation.singles import Single, written_to
from vidlm.toyworld.observations import Observations, abstaining, table

ABSENT = [(0, 0.0), (0, 0.3), (1, 0.62), (1, 0.0)]
PRESENT = [(0, 0.9), (0, 0.45), (1, 0.0), (1, 0.97), (1, 0.62)]


def test_an_answer_that_is_not_given_is_as_sure_as_nothing() -> None:
    rows = {row["name"]: row for row in table(Observations(absent=ABSENT, present=PRESENT), [1.0, 2.0, 4.0])}
    assert (rows["absent_abstains"]["value"], rows["absent_abstains"]["n"]) == (0.5, 4)
    assert rows["wrong_abstentions"]["value"] == 0.2
    assert rows["seconds_for_10s_clip"]["value"] == 2.0
    assert rows["policy_auroc"]["value"] is None  # nothing was scored


@pytest.mark.parametrize(
    ("least", "absent", "wrong"),
    [(0.0, 0.5, 0.2), (0.3, 0.5, 0.2), (0.35, 0.75, 0.2), (0.5, 0.75, 0.4), (0.65, 1, 0.6)],
)
def test_what_each_confidence_would_make_of_the_answers(least: float, absent: float, wrong: float) -> None:
    """Answers just as sure as is asked for are given."""
    found = {row["answer_confidence"]: row for row in abstaining(Observations(absent=ABSENT, present=PRESENT))}
    assert (found[least]["absent_abstains"], found[least]["wrong_abstentions"]) == (absent, wrong)


def test_always_saying_no_is_a_guess_however_seldom_something_holds() -> None:
    pairs = [(clip, 0.1, number == 0) for clip in range(8) for number in range(10)]
    rows = {row["name"]: row for row in table(Observations(composed=pairs, described=pairs[1:4]), [1.0, 1.0, 1.0])}
    assert rows["composed_accuracy"]["value"] == 0.5
    assert rows["described_accuracy"]["value"] is None  # nothing that holds was scored


def test_what_a_variant_loses_is_counted_of_hazards_and_of_harmless_segments_alike() -> None:
    before = [(clip, 0.9 if holds else 0.1, holds) for clip in range(6) for holds in (True, False, False, False)]
    missed = [(clip, 0.1, holds) for clip, _, holds in before]
    same = [pair for pair in before for _ in range(2)]  # twice as many segments
    seen = Observations(unchanged=before, variants={"reencoded": missed, "shifted": same})
    rows = {row["name"]: row for row in table(seen, [1.0, 1.0, 1.0])}
    assert (rows["reencoded_drop"]["value"], rows["shifted_drop"]["value"]) == (0.5, 0.0)


def test_where_all_are_right_the_interval_still_says_of_how_many_clips() -> None:
    asked = [(clip, 0.0) for clip in range(10) for _ in range(3)]
    rows = {row["name"]: row for row in table(Observations(absent=asked), [1.0, 1.0, 1.0])}
    row = rows["absent_abstains"]
    assert (row["value"], row["high"], row["n"]) == (1.0, 1.0, 30)
    assert row["low"] == pytest.approx(0.7225, abs=1e-3)  # Wilson's, of ten


def test_what_is_told_of_files_passed_on_counts_in_rows_of_their_own() -> None:
    told: list[Single] = []
    seen = Observations(tell=told.append)
    single = Single(row="caption", video="clip 0", asked="", said="A dog.", truth="A dog.", right=True)
    seen.tell(single)
    seen.passed_on.tell(single)
    assert [one.row for one in told] == ["caption", "copied_caption"]


def test_lines_are_read_back_as_they_were_told(tmp_path: Path) -> None:
    """And stand in the file at once, whatever becomes of those after them."""
    with written_to(tmp_path / "each.jsonl") as tell:
        tell(Single(row="policy", video="é.mp4", asked="a\nb", said=0.123456, truth=False, right=True, end_s=4.0))
        tell(Single(row="absent", video="é.mp4", asked="what?", said=None, truth=None, right=True))
        first, second = map(json.loads, (tmp_path / "each.jsonl").read_text(encoding="utf-8").splitlines())
    assert first == {
        "row": "policy",
        "video": "é.mp4",
        "asked": "a\nb",
        "said": 0.1235,
        "truth": False,
        "right": True,
        "end_s": 4.0,
    }
    assert (second["said"], second["truth"]) == (None, None)
    with written_to(None) as tell:
        tell(Single(row="", video="", asked="", said="", truth="", right=True))


def test_of_no_question_nothing_is_said() -> None:
    assert all(row["absent_abstains"] is row["wrong_abstentions"] is None for row in abstaining(Observations()))
