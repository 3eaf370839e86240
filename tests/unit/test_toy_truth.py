"""The truth of a clip and the questions asked of it agree with each other and with what was put there."""

import dataclasses
import re
from collections import defaultdict

import numpy as np
import pytest

from vidlm import prompts
from vidlm.toyworld import absent, composed, questions, tasks, texts, truth, windows, wordings, world
from vidlm.toyworld.scene import COLOURS, HAZARDS, KINDS, Actor, Clip, Scene


def clip_of(*actors: Actor, duration_s: float = 6.0) -> Clip:
    scene = Scene(0.0, duration_s, ((90.0,) * 3, (90.0,) * 3), actors, 0.0, 0)
    return Clip(duration_s, (scene,), 0.0, 0, (1.0, 1.0), 0.0)


def times_in(text: str) -> list[float]:
    """The times an answer names, in seconds."""
    return [float(number) for number in re.findall(r"(\d+\.\d)s", text)]


RED_CIRCLE = Actor("circle", "red", 0.3, 1.0, 3.0, ((1.0, 0.2, 0.5), (3.0, 0.8, 0.5)))
KNIFE = Actor("knife", None, 0.5, 0.0, 6.0, ((0.0, 0.5, 0.2),))


def test_facts_say_what_which_way_where_and_when() -> None:
    knife, circle = truth.facts(clip_of(RED_CIRCLE, KNIFE))
    assert (knife.name, knife.motion, knife.place) == ("knife", "still", "top")
    assert (circle.name, circle.motion, circle.place) == ("red circle", "right", None)
    assert (circle.start_s, circle.end_s) == (1.0, 3.0)
    assert truth.caption([knife, circle]) == "A knife is at the top. A red circle moves right."


def test_only_what_a_sampled_frame_shows_is_known() -> None:
    clip = clip_of(RED_CIRCLE)
    assert truth.facts_between(clip, [0.0, 0.5]) == []
    (seen,) = truth.facts_between(clip, [0.0, 0.5, 1.0, 1.5])
    assert (seen.start_s, seen.end_s) == (1.0, 2.0)
    assert truth.facts_between(clip, [3.0, 3.5]) == []  # half open: gone at its end


def test_a_frame_that_is_still_black_shows_nothing() -> None:
    """A scene that rises out of black has nothing to be known of it before there is some light."""
    clip = clip_of(KNIFE)
    fading = dataclasses.replace(clip, scenes=(dataclasses.replace(clip.scenes[0], fade_in_s=0.5),))
    assert truth.facts_between(fading, [0.0]) == []
    (seen,) = truth.facts_between(fading, [0.0, 0.5, 1.0])
    assert (seen.start_s, seen.end_s) == (0.5, 1.5)
    assert windows.shown_at(fading, 0.0) == []
    assert [fact.kind for fact, *_ in windows.shown_at(fading, 0.4)] == ["knife"]


def test_what_is_seen_once_or_has_arrived_stands() -> None:
    """Nobody can say which way something goes that they see in one frame only, or only after it has stopped."""
    arriving = Actor("car", "blue", 0.3, 0.0, 6.0, ((0.0, 0.5, 0.1), (2.0, 0.5, 0.6), (6.0, 0.5, 0.6)))
    growing = Actor("star", "green", 0.3, 0.0, 6.0, ((0.0, 0.2, 0.5),), grow=2.0)
    clip = clip_of(RED_CIRCLE, arriving, growing)

    def told(*times_s: float) -> list[str]:
        return [fact.sentence() for fact in truth.facts_between(clip, times_s)]

    assert told(0.0, 0.5) == ["A green star is on the left.", "A blue car moves down."]  # 8% larger is not seen
    assert told(0.0, 0.5, 1.0)[0] == "A green star grows."
    assert told(2.75) == [
        "A green star is on the left.",
        "A blue car is in the middle.",
        "A red circle is on the right.",
    ]
    assert told(2.0, 2.5)[1:] == ["A red circle moves right.", "A blue car is in the middle."]
    seen = truth.facts_between(clip, [2.5])
    assert all(any(fact.same_actor(whole) for whole in truth.facts(clip)) for fact in seen)


def test_what_is_first_seen_together_is_told_column_by_column() -> None:
    """Also of what moves: by where it is seen, not by where it came from."""
    above, below = (
        Actor(kind, "red", 0.2, 0.0, 6.0, ((0.0, x, y),)) for kind, x, y in (("ring", 0.52, 0.2), ("ball", 0.48, 0.8))
    )
    assert [fact.kind for fact in truth.facts(clip_of(below, above))] == ["ring", "ball"]
    moving = Actor("circle", "red", 0.3, 0.0, 6.0, ((0.0, 0.1, 0.5), (6.0, 0.9, 0.5)))
    seen = [truth.facts_between(clip_of(above, moving), times_s) for times_s in ([0.0, 0.5], [5.0, 5.5])]
    assert [[fact.kind for fact in part] for part in seen] == [["circle", "ring"], ["ring", "circle"]]


def test_one_of_a_crowd_may_be_something_else() -> None:
    odd = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        scene = world.sample_scene(rng, 0.0, 6.0)
        names = [(actor.kind, actor.colour) for actor in scene.actors]
        mixed = world.with_odd_one(rng, scene)
        changed = [(a, b) for a, b in zip(scene.actors, mixed.actors, strict=True) if a != b]
        assert len(changed) <= 1
        if len(set(names)) == len(names):  # no crowd
            assert mixed == scene
        odd += len(changed)
        for before, after in changed:
            assert (before.path, before.size, before.start_s) == (after.path, after.size, after.start_s)
    assert odd > 25


def test_other_words_change_nothing_but_the_words() -> None:
    texts = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        scene = world.sample_scene(rng, 0.0, 6.0, words=0.7)
        other = world.with_other_words(rng, scene)
        if scene.words is None:
            assert other == scene
            continue
        assert other.words is not None
        assert dataclasses.replace(other, words=scene.words) == scene
        assert other.words[1:] == scene.words[1:]
        texts.add(other.words[0])
    assert len(texts) > 15
    assert all(re.fullmatch(r"[A-Z0-9!?.]{2,6}( [A-Z0-9!?.]{2,6})?", text) for text in texts)


def test_every_hazard_belongs_to_a_policy_of_the_taxonomy() -> None:
    known = tasks.built_in_policies()
    assert set(truth.POLICIES_OF) == set(HAZARDS)
    assert {policy for policies in truth.POLICIES_OF.values() for policy in policies} <= set(known)


@pytest.mark.parametrize("seed", range(30))
def test_questions_have_one_answer_and_it_is_true(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clip = world.sample_clip(rng, duration_s=8.0)
    seen = truth.facts_between(clip, np.arange(16) / 2)
    for question in questions.questions(rng, seen, unseen=seed % 3 == 0):
        words = re.findall(r"[a-z]+", question.text.lower())
        named = [fact for fact in seen if f"{fact.definite} " in " ".join(words) + " "]
        if question.kind == "direction":
            assert [f"{fact.motion}." for fact in named if fact.motion != "still"][-1] == question.answer.lower()
        if question.kind == "colour":
            kinds = [fact for fact in seen if f" {fact.noun} " in " ".join(words) + " "]
            assert {fact.colour for fact in kinds} == {question.answer.rstrip(".").lower()}
        if question.kind == "place":
            assert truth.at_place(named[-1].place) == question.answer.rstrip(".").lower()
        if question.kind == "check":
            assert question.answer == ("Yes." if _holds(question) else "No.")
        if question.kind == "count":
            counted = [fact for fact in seen if questions.plural(fact.kind) in words]
            assert questions.NUMBERS[len(counted)] == question.answer.rstrip(".")
        if question.kind == "when":
            start_s, end_s = times_in(question.answer)
            assert any((fact.start_s, fact.end_s) == (start_s, end_s) for fact in named)


def _holds(question: questions.Question) -> bool:
    """Whether a yes/no question is true of the one thing it is about."""
    (fact,) = question.about
    said = question.text.lower().rstrip("?")
    ends = [f" {verb} {fact.motion}" for verb in ("move", "moving", "go")] + [f" {truth.at_place(fact.place)}"]
    return said.endswith(tuple(ends)) or (fact.colour is not None and said.endswith(f" {fact.colour}"))


def test_what_evaluation_asks_is_never_trained() -> None:
    """Every kind of question that stands alone has wordings of both sorts, with the same blanks, and none is of both,
    however carelessly written."""
    assert {kind for kind in wordings.TRAINED if not kind.startswith("then_")} == wordings.UNSEEN.keys()
    for kind, unseen in wordings.UNSEEN.items():
        trained = wordings.TRAINED[kind]
        assert not {_bare(wording) for wording in trained} & {_bare(wording) for wording in unseen}
        assert len({frozenset(re.findall(r"{(\w+)}", wording)) for wording in (*trained, *unseen)}) == 1


def _bare(wording: str) -> str:
    return wording.lower().rstrip("?.")


@pytest.mark.parametrize("seed", range(30))
def test_a_follow_up_is_about_what_the_first_question_was(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = truth.facts_between(world.sample_clip(rng, duration_s=8.0), np.arange(16) / 2)
    for first, then in questions.follow_ups(rng, seen):
        assert first.about == then.about
        assert "it" in re.findall(r"[a-z]+", then.text)
        (fact,) = then.about
        said = then.answer.rstrip(".").lower()
        assert said in {fact.colour, fact.motion, truth.at_place(fact.place)} or times_in(then.answer) == [
            fact.start_s,
            fact.end_s,
        ]


def test_policies_that_say_more_than_which_thing() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        seen = truth.facts(world.sample_clip(rng, duration_s=6.0))
        for _ in range(5):
            made = composed.sample_composed(rng, seen, plain=False)
            more = r"moving|that grows|something|shape|two or more|(on|at|in) the | and | or |, but not an? "
            assert re.search(more, made.words), made.words
            assert (", but not " in made.words) == bool(made.policy.allowed)


def test_questions_that_name_two_answers_say_so() -> None:
    found = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        seen = truth.facts(world.sample_clip(rng, duration_s=6.0))
        for question in questions.questions(rng, seen):
            if question.kind in ("colour", "direction", "place"):
                assert question.of_two == (" or " in question.text and "," not in question.text.split(" or ")[0][-15:])
                found += question.of_two
    assert found > 20


@pytest.mark.parametrize("seed", range(40))
def test_composed_policies_hold_of_what_they_are_about(seed: int) -> None:
    """Half of them hold; the facts they rest on bear out the words."""
    rng = np.random.default_rng(seed)
    seen = truth.facts(world.sample_clip(rng, duration_s=6.0))
    made = [composed.sample_composed(rng, seen) for _ in range(20)]
    assert 4 <= sum(one.holds(seen) for one in made) <= 16 or len(seen) < 2
    for one in made:
        about = one.about(seen)
        assert about or not one.holds(seen)
        assert not one.holds([])
        for fact in about:
            said = one.blocked.replace("crosses", "cross")
            assert fact.noun in said or said.startswith("something") or said.endswith("shape")
            assert not one.allowed or str(fact.colour) not in one.allowed


def test_a_part_that_shows_every_hazard_is_asked_about_policies_it_knows_nothing_of() -> None:
    seen = [truth.Fact(kind, None, "still", "middle", 0.0, 2.0, 0.5) for kind in truth.POLICIES_OF]
    asked = [turn for turn in tasks.sample_turns(np.random.default_rng(0), seen) if turn.kind == "policy"]
    assert {turn.answer for turn in asked} == {"Yes", "No"}


def test_no_form_of_a_policy_gives_its_answer_away() -> None:
    """Whoever sees nothing is right of each about as often as not."""
    rng = np.random.default_rng(0)
    holding: dict[str, list[bool]] = defaultdict(list)
    for _ in range(1200):
        clip, times_s, _ = windows.sample_window(rng, int(rng.integers(1, 8)))
        seen = truth.facts_between(clip, times_s)
        policies = [*(composed.sample_composed(rng, seen) for _ in range(2)), *composed.sample_contrast(rng, seen)]
        for made in policies:
            holding[_form(made)].append(made.holds(seen))
    assert {form: len(found) for form, found in holding.items() if len(found) < 15} == {}
    shares = {form: round(float(np.mean(found)), 2) for form, found in holding.items()}
    assert {form: share for form, share in shares.items() if not 0.25 <= share <= 0.75} == {}


def _form(made: composed.Composed) -> str:
    text = made.blocked.replace(" anywhere", "")
    for form in ("two or more", "something that grows", "something moving", "that grows", "moving", "shape"):
        if form in text:
            return form
    joint = next((joint for joint in (" and ", " or ", " on the ", " at the ", " in the ") if joint in text), "")
    if joint:
        return joint if joint in (" and ", " or ") else "place"
    return "exception" if made.allowed else "kind" if len(text.split()) == 2 else "thing"


def test_policies_in_other_words_speak_of_the_same() -> None:
    rng = np.random.default_rng(0)
    written = {composed.in_other_words(rng, "an orange star and a dog") for _ in range(40)}
    assert written == {"orange star and a dog", "any orange star and a dog", "An orange star and a dog"}
    assert composed.in_other_words(rng, "two or more dogs") == "Two or more dogs"


def test_contrasts_are_of_the_same_things_and_mostly_differ() -> None:
    differing = told = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        seen = truth.facts(world.sample_clip(rng, duration_s=6.0))
        made = composed.sample_contrast(rng, seen)
        assert not any(f"{colour} {kind}" in one.blocked for one in made for colour, kind in world.HELD_OUT)
        if len(made) == 2:
            one, other = made
            assert (one.blocked, one.allowed) != (other.blocked, other.allowed)
            words = [set(policy.blocked.split()) for policy in made]
            assert len(words[0] ^ words[1]) <= 4
            differing, told = differing + (one.holds(seen) != other.holds(seen)), told + 1
    assert told > 80
    assert differing > 0.4 * told


@pytest.mark.parametrize("seed", range(30))
def test_what_is_said_to_be_absent_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = truth.facts(world.sample_clip(rng, duration_s=6.0))
    fact = absent.absent_fact(rng, seen)
    assert fact.name not in {there.name for there in seen}


@pytest.mark.parametrize("seed", range(40))
def test_policy_turns_tell_the_truth_and_never_ask_held_out_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = truth.facts(world.sample_clip(rng, duration_s=6.0))
    holding = {policy for fact in seen for policy in fact.policies}
    asked = {prompts.policy_question(policy): policy.id for policy in tasks.built_in_policies().values()}
    turns = tasks.sample_turns(rng, seen)
    for turn in turns:
        if turn.kind == "policy":
            assert turn.answer == tasks.yes_no(asked[turn.request] in holding)
        if turn.kind == "composed":
            assert not any(f"{colour} {kind}" in turn.request for colour, kind in world.HELD_OUT)
        if turn.kind in ("present", "yes_no", "relevance"):
            assert not any(turn.request.lower().find(f" {colour} {kind}") >= 0 for colour, kind in world.HELD_OUT)


def test_worlds_are_the_same_for_the_same_seed_and_hold_only_known_things() -> None:
    one = world.sample_clip(np.random.default_rng(3), duration_s=30.0)
    other = world.sample_clip(np.random.default_rng(3), duration_s=30.0)
    assert one == other
    assert one != world.sample_clip(np.random.default_rng(4), duration_s=30.0)
    assert one.scenes[0].start_s == 0.0
    assert one.scenes[-1].end_s == one.duration_s
    for before, after in zip(one.scenes, one.scenes[1:], strict=False):
        assert before.end_s == after.start_s
    for scene in one.scenes:
        for actor in scene.actors:
            assert actor.kind in KINDS
            assert actor.colour is None or actor.colour in COLOURS
            assert scene.start_s <= actor.start_s < actor.end_s <= scene.end_s


def test_summaries_name_every_part_in_order_hazards_first() -> None:
    knife, circle = truth.facts(clip_of(RED_CIRCLE, KNIFE))
    assert texts.summary([[circle], [], [circle, knife]]) == "First a red circle, then a knife and a red circle."
    assert texts.summary([[], []]) == "Nothing happens."
    assert texts.title([[circle, knife]]) == "A knife and a red circle"


def test_some_actors_run_into_others_and_stop_there() -> None:
    met = 0
    for seed in range(300):
        scene = world.sample_scene(np.random.default_rng(seed), 0.0, 6.0)
        for actor in scene.actors:
            if len(actor.path) == 3:
                (_, *begin), (_, *touch), (_, *end) = actor.path
                assert touch == end
                assert max(abs(a - b) for a, b in zip(begin, touch, strict=True)) >= 0.2
                gaps = [
                    np.hypot(touch[0] - x, touch[1] - y) / (actor.size + other.size)
                    for other in scene.actors
                    if len(other.path) == 1
                    for _, x, y in other.path
                ]
                assert min(gaps) < 0.5
                assert truth.fact_of(actor).motion in truth.WAYS
                met += 1
    assert met >= 5


@pytest.mark.parametrize("seed", range(20))
def test_choices_hold_the_answer_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = truth.facts_between(world.sample_clip(rng, duration_s=8.0), np.arange(16) / 2)
    for question in questions.questions(rng, seen):
        options = questions.options_of(rng, question)
        if options is None:
            continue
        assert options.count(question.answer.rstrip(".")) == 1
        assert len(set(options)) == len(options) <= 4
        assert len(options) >= 2


def test_what_stands_does_so_where_its_place_has_one_name() -> None:
    assert truth.has_clear_place(0.2, 0.5)
    assert truth.has_clear_place(0.5, 0.5)
    assert not truth.has_clear_place(0.25, 0.25)  # on the left, or at the top?
    assert not truth.has_clear_place(0.36, 0.5)  # on the left, or in the middle?
    stood = 0
    for seed in range(80):
        clip = world.sample_clip(np.random.default_rng(seed), duration_s=6.0)
        for actor in (actor for scene in clip.scenes for actor in scene.actors):
            if truth.fact_of(actor).place:
                stood += 1
                assert truth.has_clear_place(*actor.path[0][1:])
    assert stood > 100
