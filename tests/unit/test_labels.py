"""A user's labels: what a file says, which segments it makes positive, and every mistake explained with its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.domain import Severity, Span
from vidlm.errors import DatasetError, PolicyError
from vidlm.evaluation.labels import Labels, matches, read_labels
from vidlm.moderation.policies import NEVER, custom_policy, load_policies

KNOWN = load_policies()
times = st.integers(0, 40).map(lambda tenths: tenths / 4)


def intervals() -> st.SearchStrategy[Span]:
    return st.tuples(times, times).filter(lambda ends: ends[0] < ends[1]).map(lambda ends: Span(*ends))


def read(folder: Path, *lines: str, heading: str = "path,policy,start,end") -> Labels:
    for name in ("a.mp4", "b.mp4"):
        (folder / name).touch()
    file = folder / "labels.csv"
    file.write_text("\n".join([heading, *lines]) + "\n")
    return read_labels(file, KNOWN)


def test_what_a_file_says(tmp_path: Path) -> None:
    labels = read(
        tmp_path,
        "a.mp4,weapons.in_hand,3.5,8",
        "./a.mp4,a person on a roof,,",
        '"a.mp4","weapons.in_hand","10","12"',
        "",
        "b.mp4",
    )
    assert [policy.id for policy in labels.policies.policies] == ["weapons.in_hand", "custom.a_person_on_a_roof"]
    first, second = labels.videos
    assert (first.name, first.line, second.name, second.line) == ("a.mp4", 2, "b.mp4", 6)
    assert [(label.span, label.line) for label in first.labels] == [(Span(3.5, 8), 2), (None, 3), (Span(10, 12), 4)]
    assert second.labels == ()
    assert labels.policies.get("weapons.in_hand") == KNOWN.get("weapons.in_hand")
    roof = labels.policies.get("custom.a_person_on_a_roof")
    assert roof is not None
    assert roof.blocked == "a person on a roof"


def test_words_that_differ_in_capitals_are_one_policy(tmp_path: Path) -> None:
    labels = read(tmp_path, "a.mp4,A red car,1,2", "a.mp4,a  red car,4,5", "b.mp4,a red CAR,,")
    assert [policy.blocked for policy in labels.policies.policies] == ["A red car"]
    assert [len(video.labels) for video in labels.videos] == [2, 1]


def test_a_segment_is_positive_for_what_its_labels_say_and_for_nothing_else(tmp_path: Path) -> None:
    labels = read(tmp_path, "a.mp4,weapons.in_hand,4,8", "b.mp4,violence.fight,,")
    first, second = labels.videos
    assert [first.holds("weapons.in_hand", Span(at, at + 4)) for at in (0, 2, 4, 6, 8)] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert not first.holds("violence.fight", Span(4, 8))
    assert second.holds("violence.fight", Span(0, 1))
    assert not second.holds("weapons.in_hand", Span(4, 8))


@given(intervals(), intervals())
def test_a_match_is_half_of_the_shorter_whichever_is_which(segment: Span, label: Span) -> None:
    quarters = [at / 4 for at in range(41)]
    shared = [at for at in quarters if all(span.start_s <= at < span.end_s for span in (segment, label))]
    shorter_s = min(segment.end_s - segment.start_s, label.end_s - label.start_s)
    assert matches(segment, label) == (len(shared) / 4 >= shorter_s / 2)
    assert matches(segment, label) == matches(label, segment)
    assert matches(segment, None)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["a.mp4,weapons.in_hand,8,3"], "line 2: [8, 3) is no interval"),
        (["a.mp4,weapons.in_hand,3,3"], "line 2: [3, 3) is no interval"),
        (["a.mp4,weapons.in_hand,-1,3"], "line 2: [-1, 3) is no interval"),
        (["a.mp4,weapons.in_hand,1,inf"], "line 2: [1, inf) is no interval"),
        (["a.mp4,weapons.in_hand,nan,3"], "line 2: [nan, 3) is no interval"),
        (["b.mp4,violence.fight,,", "a.mp4,weapons.in_hand,1,soon"], "line 3: start and end are seconds"),
        (["a.mp4,weapons.in_hand,3,"], "line 2: a start without an end"),
        (["a.mp4,,1,2"], "line 2: times without a policy"),
        (["c.mp4,weapons.in_hand,,"], "line 2: 'c.mp4' does not exist"),
        ([".,weapons.in_hand,,"], "line 2: '.' is not a file"),
        ([",weapons.in_hand,,"], "line 2: the path is empty"),
        (["a.mp4,weapons.in_hnd,,"], "line 2: no policy has the id 'weapons.in_hnd'; 'weapons.in_hand' is one"),
        (["a.mp4,nonsense.zzz,,"], "line 2: no policy has the id 'nonsense.zzz'"),
        (["a.mp4,a <|im_end|> sign,,"], "line 2: policy 'custom.a_im_end_sign'"),
        (["a.mp4,violence.fight,,", "./a.mp4,,,"], "line 3: './a.mp4' holds nothing (line 3) and something"),
        (["a.mp4,,,", "a.mp4,violence.fight,,"], "line 3: 'a.mp4' holds nothing (line 2) and something"),
        (["a.mp4,violence.fight,1,2,3"], "line 2: more fields than the heading has"),
        (["a.mp4,,,"], "no line names a policy"),
        (['a.mp4,"violence.fight" x,,'], "line 2: ',' expected after"),
    ],
)
def test_mistakes_name_their_line(lines: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as raised:
        read(tmp_path, *lines)
    assert raised.value.detail.startswith("labels.csv")
    assert said in raised.value.detail
    assert str(tmp_path) not in raised.value.detail


@pytest.mark.parametrize(
    ("heading", "said"),
    [
        ("path,policy,begin,end", "line 1: unknown column 'begin'"),
        ("path,policy,start,start", "line 1: twice the column 'start'"),
        ("path,start,end", "line 1: the column 'policy' is missing"),
        ("", "line 1: the column 'path' is missing"),
    ],
)
def test_a_heading_is_known_columns(heading: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as raised:
        read(tmp_path, "a.mp4,weapons.in_hand,1,2", heading=heading)
    assert said in raised.value.detail


def test_files_that_are_no_labels(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.csv: cannot be read"):
        read_labels(tmp_path / "gone.csv", KNOWN)
    (tmp_path / "bytes.csv").write_bytes(b"path,policy\n\xff\xfe,x\n")
    with pytest.raises(DatasetError, match=r"bytes\.csv: is not UTF-8 text"):
        read_labels(tmp_path / "bytes.csv", KNOWN)


def test_words_become_a_policy_for_review_that_never_blocks() -> None:
    policy = custom_policy("a person   on a Roof!")
    assert (policy.id, policy.blocked) == ("custom.a_person_on_a_roof", "a person on a Roof!")
    assert (policy.severity, policy.review_threshold, policy.block_threshold) == (Severity.LOW, 0.5, NEVER)
    assert custom_policy("a person on a roof", {policy.id}).id == "custom.a_person_on_a_roof_2"
    assert custom_policy("3 dogs").id == "custom.words_3_dogs"
    assert custom_policy("屋根の上の人").id == "custom.words"
    with pytest.raises(PolicyError, match="longer than 300"):
        custom_policy("dog " * 100)
