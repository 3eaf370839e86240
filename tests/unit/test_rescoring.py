"""Which windows make a part, and of which policies scores can be compared."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from vidlm.moderation.policies import custom_policy
from vidlm.policy.backfills import question_version
from vidlm.rescoring import first_part
from vidlm.video.sampling import Window


@given(st.lists(st.floats(0.5, 20.0), min_size=1, max_size=40), st.floats(1.0, 60.0))
def test_parts_follow_each_other_and_are_as_long_as_asked(lengths_s: list[float], most_s: float) -> None:
    edges = [0.0]
    for length_s in lengths_s:
        edges.append(edges[-1] + length_s)
    windows = [Window(n, edges[n], edges[n + 1], n, n + 1) for n in range(len(lengths_s))]
    parts, first = [], 0
    while first < len(windows):
        parts.append(list(first_part(windows, first, most_s)))
        first += len(parts[-1])
    assert [window for part in parts for window in part] == windows
    for part in parts[:-1]:
        assert part[-1].end_s - part[0].start_s >= most_s  # only the last may be shorter
    for part in parts:
        assert part[-1].start_s - part[0].start_s < most_s  # and none goes on once it is long enough


def test_scores_can_be_compared_where_the_question_is_the_same() -> None:
    policy = custom_policy("a laser gun")
    same = [replace(policy, review_threshold=0.9, block_threshold=0.95, title="x", id="other.name", enabled=False)]
    other = [replace(policy, blocked="a ray gun"), replace(policy, allowed="toys")]
    assert {question_version(one) for one in same} == {question_version(policy)}
    assert len({question_version(one) for one in [policy, *other]}) == 3
