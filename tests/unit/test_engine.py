"""The engine: many threads, futures that always resolve, and what each would get if it were alone."""

import random
import threading
import time
from concurrent.futures import CancelledError, wait

import numpy as np
import pytest
import torch
from random_checkpoint import RECIPES, write

from vidlm.domain import FrameBatch
from vidlm.errors import DeadlineError, ModelError
from vidlm.model import video_model
from vidlm.model.engine import Engine, Priority, Prompt
from vidlm.model.prefix import VisualTokens
from vidlm.model.video_model import VideoModel

QUESTIONS = ["Is there a fire?", "Is there a knife?", "No", "Does this part show a person? Answer Yes or No.\n"]
REQUEST = "Describe this.<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("checkpoint") / "random", RECIPES["tied, flat config"])


@pytest.fixture
def model(folder):
    return VideoModel.load(str(folder), device="cpu")


@pytest.fixture
def engine(model):
    with Engine(model) as engine:
        yield engine


def noise(count, cells_h=2, cells_w=3, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, cells_h * 28, cells_w * 28, 3), dtype=np.uint8)
    return FrameBatch(pixels, np.arange(count) * 0.5)


def timed(visual):
    return [part for index, time_s in enumerate(visual.pair_times_s) for part in (f"<{time_s:.1f}s>", index)]


def prompt_of(visual):
    return Prompt(["<|im_start|>user\n", *timed(visual)], visual)


class Gate:
    """Holds the model at a call until it is opened, and keeps a record of the calls."""

    def __init__(self, monkeypatch, model, *names):
        self.opened, self.calls = threading.Event(), []
        for name in names:
            self._wrap(monkeypatch, model, name, getattr(model, name))

    def _wrap(self, monkeypatch, model, name, real):
        def call(*arguments):
            self.calls.append(name)
            assert self.opened.wait(30)
            return real(*arguments)

        monkeypatch.setattr(model, name, call)


def wait_for(condition):
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)


def test_every_kind_of_work_equals_the_model_alone(engine, model, folder):
    alone = VideoModel.load(str(folder), device="cpu")
    frames = noise(5)
    visual = engine.encode(frames).result(30)
    expected = alone.encode(frames)
    torch.testing.assert_close(visual.tokens, expected.tokens)
    assert visual.pair_times_s == expected.pair_times_s == (0.0, 1.0, 2.0)
    assert visual.last_times_s == (0.5, 1.5, 2.0)
    prompt, prefix = prompt_of(visual), alone.open(prompt_of(expected).parts, None)
    assert engine.score(prompt, QUESTIONS).result(30) == pytest.approx(alone.score(prefix, QUESTIONS), abs=1e-5)
    said = engine.caption(prompt, REQUEST, max_new_tokens=6).result(30)
    assert said == engine.answer(prompt, REQUEST, max_new_tokens=6).result(30)
    assert said.token_ids == alone.generate(prefix, REQUEST, max_new_tokens=6).token_ids
    assert engine.score(prompt, []).result(30) == []
    assert engine.info == model.info


def test_frames_of_one_size_share_the_tower_across_requests(engine, model, monkeypatch):
    gate = Gate(monkeypatch, model, "encode_pairs")
    first = engine.encode(noise(2, 1, 1))
    wait_for(lambda: gate.calls)
    rest = [engine.encode(noise(2 + index, seed=index)) for index in range(4)] + [engine.encode(noise(2, 1, 2))]
    gate.opened.set()
    assert [len(future.result(30)) for future in [first, *rest]] == [1, 1, 2, 2, 3, 1]
    assert len(gate.calls) == 3
    steps = engine.metrics().steps["encode"]
    assert (steps.steps, steps.items, steps.most_items) == (3, 10, 8)


def test_a_long_video_takes_the_tower_in_turns(engine, model, monkeypatch):
    monkeypatch.setitem(video_model.TOWER_PATCHES, "cpu", 48)  # two pairs of 4 x 6 patches
    frames = [noise(9, seed=1), noise(4, seed=2)]
    seen = [future.result(30) for future in [engine.encode(batch) for batch in frames]]
    for batch, visual in zip(frames, seen, strict=True):
        torch.testing.assert_close(visual.tokens, model.encode(batch).tokens)
    assert engine.metrics().steps["encode"].most_items == 2


def test_captions_that_are_asked_together_are_written_together(engine):
    prompts = [prompt_of(engine.encode(noise(2 + index, seed=index)).result(30)) for index in range(4)]
    alone = [engine.caption(prompt, REQUEST, max_new_tokens=5).result(30) for prompt in prompts]
    before = engine.metrics().steps["write"].steps
    futures = [engine.caption(prompt, REQUEST, max_new_tokens=5) for prompt in prompts]
    assert [future.result(30).token_ids for future in futures] == [said.token_ids for said in alone]
    steps = engine.metrics().steps["write"]
    assert steps.most_items == 4
    assert steps.steps - before < 4 * 5


def test_one_question_about_many_short_prompts_is_one_batch(engine, model, monkeypatch):
    visual = [engine.encode(noise(2 + index % 3, seed=index)).result(30) for index in range(6)]
    prompts = [prompt_of(own) for own in visual]
    expected = [model.score(model.open(prompt.parts, None), QUESTIONS[:1]) for prompt in prompts]
    gate = Gate(monkeypatch, model, "encode_pairs", "open_many", "score_tree")
    held = engine.encode(noise(2, 1, 1))
    wait_for(lambda: gate.calls)
    futures = [engine.score(prompt, QUESTIONS[:1]) for prompt in prompts]
    gate.opened.set()
    assert [future.result(30) for future in futures] == [pytest.approx(own, abs=1e-5) for own in expected]
    assert held.result(30)
    assert len(gate.calls) <= 5  # two lengths at most, each opened and scored once
    assert engine.metrics().steps["open"].most_items >= 3


def test_a_question_goes_before_batch_work_within_a_step(engine, model, monkeypatch):
    monkeypatch.setitem(video_model.TOWER_PATCHES, "cpu", 24)
    prompt = prompt_of(engine.encode(noise(2)).result(30))
    gate = Gate(monkeypatch, model, "encode_pairs", "open_many", "write")
    batch = engine.encode(noise(200, seed=3))
    wait_for(lambda: gate.calls)
    question = engine.answer(prompt, REQUEST, max_new_tokens=3)
    gate.opened.set()
    question.result(30)
    assert not batch.done()
    assert gate.calls[:3] == ["encode_pairs", "open_many", "write"]
    assert len(batch.result(60)) == 100


def test_a_question_goes_before_the_next_word_of_a_batch(engine):
    prompts = [prompt_of(engine.encode(noise(2, seed=seed)).result(30)) for seed in range(3)]
    long = [engine.caption(prompt, REQUEST, max_new_tokens=3000) for prompt in prompts]
    wait_for(lambda: "write" in engine.metrics().steps)
    assert 0 <= engine.score(prompts[0], QUESTIONS, priority=Priority.INTERACTIVE).result(30)[0] <= 1
    assert engine.answer(prompts[1], REQUEST, max_new_tokens=2).result(30).token_ids
    assert not any(future.done() for future in long)
    for future in long:
        assert future.cancel()
    wait_for(lambda: engine.metrics().waiting["batch"] == 0)


def test_prompts_are_opened_once_while_they_are_held(engine):
    visual = engine.encode(noise(4)).result(30)
    prompt = prompt_of(visual)
    for _ in range(3):
        engine.score(prompt, QUESTIONS).result(30)
    engine.caption(prompt, REQUEST, max_new_tokens=2).result(30)
    assert engine.metrics().steps["open"].items == 1
    engine.score(prompt_of(visual), QUESTIONS).result(30)  # the same words, another prompt
    assert engine.metrics().steps["open"].items == 2


def test_prompts_that_do_not_fit_are_opened_again(model):
    with Engine(model, kv_bytes=1) as engine:
        prompt = prompt_of(engine.encode(noise(4)).result(30))
        assert engine.score(prompt, QUESTIONS).result(30) == engine.score(prompt, QUESTIONS).result(30)
        assert engine.metrics().steps["open"].steps == 2


def test_deadlines(engine, model, monkeypatch):
    prompt = prompt_of(engine.encode(noise(2)).result(30))
    gate = Gate(monkeypatch, model, "score_tree")
    running = engine.score(prompt, QUESTIONS)
    wait_for(lambda: gate.calls)
    late = [engine.score(prompt, QUESTIONS, deadline_s=0.01), engine.encode(noise(2), deadline_s=0.0)]
    in_time = engine.score(prompt, QUESTIONS, deadline_s=60)
    time.sleep(0.05)
    gate.opened.set()
    for future in late:
        with pytest.raises(DeadlineError):
            future.result(30)
    assert running.result(30) == in_time.result(30)
    assert engine.metrics().requests["late"] == 2


def test_a_full_queue_makes_callers_wait(model, monkeypatch):
    gate = Gate(monkeypatch, model, "encode_pairs")
    with Engine(model, queue=2) as engine:
        futures = [engine.encode(noise(2, 1, 1 + index)) for index in range(2)]
        with pytest.raises(DeadlineError, match="full"):
            engine.encode(noise(2), deadline_s=0.05).result(30)
        urgent = engine.encode(noise(2), priority=Priority.INTERACTIVE)  # the other lane has room
        waiting = threading.Thread(target=lambda: futures.append(engine.encode(noise(2, 3, 1))))
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
        gate.opened.set()
        waiting.join(30)
        assert len(wait([*futures, urgent], 30).done) == 4


def test_cancelled_work_is_not_done(engine, model, monkeypatch):
    gate = Gate(monkeypatch, model, "encode_pairs")
    running = engine.encode(noise(2))
    wait_for(lambda: gate.calls)
    waiting = engine.encode(noise(2, 1, 1))
    assert waiting.cancel()
    assert running.cancel()  # in the middle: its step ends, its result is dropped
    gate.opened.set()
    assert wait([waiting, running], 30).not_done == set()  # whoever waits for several is told, too
    with pytest.raises(CancelledError):
        waiting.result(30)
    assert engine.encode(noise(2)).result(30)
    assert len(gate.calls) == 2
    assert engine.metrics().requests == {"cancelled": 2, "done": 1}


def out_of_memory_above(monkeypatch, model, name, most, size):
    real = getattr(model, name)

    def call(*arguments):
        if size(*arguments) > most:
            raise ModelError("the model ran out of memory", code="model_out_of_memory")
        return real(*arguments)

    monkeypatch.setattr(model, name, call)


def test_what_does_not_fit_is_halved_and_tried_again(engine, model, monkeypatch):
    frames = [noise(6, seed=seed) for seed in range(3)]
    visual = [engine.encode(batch).result(30) for batch in frames]
    prompts = [prompt_of(own) for own in visual]
    scores = [engine.score(prompt, QUESTIONS * 2).result(30) for prompt in prompts]
    texts = [engine.caption(prompt, REQUEST, max_new_tokens=4).result(30) for prompt in prompts]
    out_of_memory_above(monkeypatch, model, "encode_pairs", 1, len)
    out_of_memory_above(monkeypatch, model, "score_tree", 60, lambda prefixes, tree: len(tree) * len(prefixes))
    out_of_memory_above(monkeypatch, model, "write", 1, len)
    for again, own in zip([engine.encode(batch) for batch in frames], visual, strict=True):
        torch.testing.assert_close(again.result(30).tokens, own.tokens)
    futures = [engine.score(prompt, QUESTIONS * 2) for prompt in prompts]
    assert [future.result(30) for future in futures] == [pytest.approx(own, abs=1e-5) for own in scores]
    writing = [engine.caption(prompt, REQUEST, max_new_tokens=4) for prompt in prompts]
    assert [future.result(30).token_ids for future in writing] == [said.token_ids for said in texts]
    assert engine.metrics().out_of_memory >= 3


def test_what_never_fits_is_a_named_error(engine, model, monkeypatch):
    prompt = prompt_of(engine.encode(noise(2)).result(30))
    for name in ("encode_pairs", "open_many", "score_tree", "write"):
        with monkeypatch.context() as patch:
            out_of_memory_above(patch, model, name, 0, lambda *_: 1)
            for future in (
                engine.encode(noise(3)),
                engine.score(prompt_of(engine_tokens()), QUESTIONS),
                engine.caption(prompt, REQUEST, max_new_tokens=3),
            ):
                if (error := future.exception(30)) is not None:
                    assert isinstance(error, ModelError)
                    assert error.code == "model_out_of_memory"
    assert engine.score(prompt, QUESTIONS).result(30)
    assert engine.metrics().requests["failed"] >= 4


def engine_tokens(width=48):
    return VisualTokens(torch.randn(1, 6, width), (0.0,), (4, 6))


def test_only_the_culprit_fails(engine):
    good = prompt_of(engine.encode(noise(2)).result(30))
    alien = prompt_of(engine_tokens(width=47))  # another model's tokens
    hollow = VisualTokens(torch.full((1, 6, 48), float("nan")), (0.0,), (4, 6))
    futures = [engine.caption(prompt, REQUEST, max_new_tokens=4) for prompt in (good, alien, prompt_of(hollow), good)]
    assert futures[0].result(30) == futures[3].result(30)
    with pytest.raises(ModelError, match="failed"):
        futures[1].result(30)
    with pytest.raises(ModelError) as caught:
        futures[2].result(30)
    assert caught.value.code == "model_not_finite"
    with pytest.raises(ModelError) as caught:
        engine.score(prompt_of(hollow), QUESTIONS).result(30)
    assert caught.value.code == "model_not_finite"
    again = engine.caption(good, REQUEST, max_new_tokens=4).result(30)
    assert again.token_ids == futures[0].result().token_ids


def test_a_fault_of_ours_leaves_no_future_behind(engine, model, monkeypatch):
    def broken(*_):
        raise KeyError("oops")

    with monkeypatch.context() as patch:
        patch.setattr(model, "encode_pairs", broken)
        with pytest.raises(ModelError, match="KeyError"):
            engine.encode(noise(2)).result(30)
    assert engine.encode(noise(2)).result(30)


def test_impossible_work_is_refused_at_the_door(engine):
    visual = engine.encode(noise(2)).result(30)
    prompt = prompt_of(visual)
    for wrong in (
        lambda: engine.score(prompt, ["fine", ""]),
        lambda: engine.caption(prompt, "", max_new_tokens=3),
        lambda: engine.answer(prompt, "fine", max_new_tokens=0),
        lambda: Prompt([5], visual),
        lambda: Prompt([0]),
        lambda: Prompt([]),
        lambda: Prompt([""]),
        lambda: engine.encode(FrameBatch(np.zeros((2, 30, 30, 3), np.uint8), np.arange(2.0))).result(30),
    ):
        with pytest.raises(ValueError):
            wrong()


def test_closing(model, monkeypatch):
    gate = Gate(monkeypatch, model, "encode_pairs")
    engine = Engine(model)
    running = engine.encode(noise(2))
    wait_for(lambda: gate.calls)
    waiting = engine.encode(noise(2, 1, 1))
    closing = threading.Thread(target=engine.close)
    closing.start()
    gate.opened.set()
    closing.join(30)
    assert running.result(0)
    with pytest.raises(ModelError) as caught:
        waiting.result(0)
    assert caught.value.code == "engine_closed"
    with pytest.raises(ModelError, match="closed"):
        engine.encode(noise(2))
    engine.close()
    with Engine(model) as other:
        futures = [other.encode(noise(2, 1, 1 + index)) for index in range(3)]
        other.close(drain=True)
        assert all(future.result(0) for future in futures)


def test_a_thousand_requests_from_eight_threads(model):
    visual = [model.encode(noise(2 + index, seed=index)) for index in range(4)]
    prompts = [prompt_of(own) for own in visual]
    prefixes = [model.open(prompt.parts, None) for prompt in prompts]
    scores = [model.score(prefix, QUESTIONS) for prefix in prefixes]
    texts = [model.generate(prefix, REQUEST, max_new_tokens=4).token_ids for prefix in prefixes]
    wrong: list[str] = []
    ends: list[str] = []

    def check(kind, which, result):
        if kind == "encode":
            return torch.allclose(result.tokens, visual[which].tokens, atol=1e-5)
        if kind == "score":
            return result == pytest.approx(scores[which], abs=1e-5)
        return result.token_ids == texts[which]

    def ask(engine, dice):
        kind, which = dice.choice(["encode", "score", "caption", "answer"]), dice.randrange(4)
        deadline_s = dice.choice([None, None, None, 60.0, 0.0, 0.002])
        if kind == "encode":
            future = engine.encode(
                noise(2 + which, seed=which), priority=dice.choice(list(Priority)), deadline_s=deadline_s
            )
        elif kind == "score":
            priority = dice.choice(list(Priority))
            future = engine.score(prompts[which], QUESTIONS, priority=priority, deadline_s=deadline_s)
        else:
            write = engine.caption if kind == "caption" else engine.answer
            future = write(prompts[which], REQUEST, max_new_tokens=4, deadline_s=deadline_s)
        return kind, which, future

    def work(seed):
        dice = random.Random(seed)
        asked = []
        for _ in range(125):
            asked.append(ask(engine, dice))
            if dice.random() < 0.1:
                dice.choice(asked)[2].cancel()
        for kind, which, future in asked:
            try:
                result = future.result(120)
            except CancelledError:
                ends.append("cancelled")
            except DeadlineError:
                ends.append("late")
            else:
                ends.append("done")
                if not check(kind, which, result):
                    wrong.append(kind)

    with Engine(model, queue=64) as engine:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counted = engine.metrics()
    assert not wrong
    assert len(ends) == 1000
    assert {kind: ends.count(kind) for kind in counted.requests} == counted.requests
    assert counted.requests["done"] > 500
    assert counted.waiting == {"interactive": 0, "batch": 0}
    assert counted.steps["write"].most_items > 1
    assert 0 < counted.waited_mean_s <= counted.waited_most_s
