"""The training command, for seconds instead of hours: every stage, killed and gone on with, and what ships loads."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, CLIPModel, Qwen2VLForConditionalGeneration

from vidlm.model.video_model import VideoModel
from vidlm.toyworld import train as training
from vidlm.toyworld.card import release
from vidlm.toyworld.run_folder import Asked, plan_of
from vidlm.toyworld.stages import TrainConfig
from vidlm.toyworld.train import Run, train

pytestmark = pytest.mark.slow  # two minutes of two cores

ONE_STEP_MINUTES = 0.001  # the clock is looked at after a step, so this is enough for just one


def run_of(config: TrainConfig) -> Run:
    run = Run(config, torch.device("cpu"))
    run.start(resume=True)
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step a stage."""
    out = tmp_path_factory.mktemp("run")
    for stage in (1, 2, 3, 4):
        train(
            TrainConfig(stage=stage, minutes=ONE_STEP_MINUTES, out=out, pairs_per_batch=8, accumulate=1, processes=0),
            resume=False,
        )
    return out


def test_stages_that_are_over_are_left_alone_and_longer_ones_go_on(finished: Path) -> None:
    second = TrainConfig(stage=2, minutes=ONE_STEP_MINUTES, out=finished, pairs_per_batch=8, accumulate=1, processes=0)
    assert run_of(second).step == 1
    train(second, resume=True)
    assert run_of(second).step == 1
    longer = replace(second, minutes=second.minutes + run_of(second).elapsed_s / 60)
    train(longer, resume=True)
    assert run_of(longer).step == 2


def test_a_stage_killed_at_its_very_end_ships_when_it_goes_on(finished: Path, tmp_path: Path) -> None:
    """Its state says that it is over only once what it learnt has been shown and shipped."""
    for name in ("tokenizer.json", "stage2.pt"):
        shutil.copy(finished / name, tmp_path / name)
    config = TrainConfig(stage=3, minutes=ONE_STEP_MINUTES, out=tmp_path, pairs_per_batch=8, accumulate=1, processes=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "take_place", _killed)
        with pytest.raises(KeyboardInterrupt):
            train(config, resume=False)
    assert not (tmp_path / "model").exists()
    assert (tmp_path / "metrics.jsonl").read_text().count("exact") == 1
    train(config, resume=True)
    assert VideoModel.load(str(tmp_path / "model")).info.toy
    assert (tmp_path / "metrics.jsonl").read_text().count("exact") == 1  # lines of lost steps are gone
    assert run_of(config).progress == 1
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_run_can_go_on_from_a_model_that_ships(finished: Path, tmp_path: Path) -> None:
    for number in (2, 3):
        (finished / "model" / f"training-stage{number}.json").write_text((finished / f"stage{number}.json").read_text())
    begin, out = finished / "model", tmp_path / "run"
    (begin / "metrics.jsonl").write_text('{"stage": 2, "step": 1, "minutes": 1.0}\n')
    config = TrainConfig(stage=2, minutes=ONE_STEP_MINUTES, out=out, pairs_per_batch=8, accumulate=1, processes=0)
    plan_of(out, Asked(begin=begin), resume=False, all_stages=(1, 2, 3, 4), minutes=1.0)
    config = replace(config, begin=begin)
    there = Qwen2VLForConditionalGeneration.from_pretrained(begin, dtype=torch.float32).state_dict()
    begun = run_of(config).learner
    mine = begun["model"].state_dict()
    assert mine.keys() == there.keys()
    assert all(torch.equal(mine[name], weight) for name, weight in there.items())
    train(config, resume=True)
    after = run_of(config).learner  # a step later: the heads, which are new, move first
    assert all(torch.equal(weight, there[name]) for name, weight in after["model"].state_dict().items())
    moved = [
        not torch.equal(weight, begun["towers"].state_dict()[n]) for n, weight in after["towers"].state_dict().items()
    ]
    assert any(moved)
    spared = run_of(replace(config, out=tmp_path / "spared", rate=0.1))
    spared.update()  # and at full rate, whatever rate spares what is learnt
    assert all(group["lr"] == group["initial_lr"] for moves in spared.optimizers for group in moves.param_groups)
    record = json.loads((out / "stage2.json").read_text())
    assert [before["stage"] for before in record["after"]] == [2, 3]
    lines = (out / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"stage": 2, "step": 1, "minutes": 1.0}
    figures = tmp_path / "figures.json"
    figures.write_text(json.dumps({"seed": 3, "count": 2, "rows": []}))
    (tiny,) = release(out, figures, tmp_path / "checkpoints")
    card = (tiny / "README.md").read_text()
    assert card.index("minutes by stage: stage 2 0, stage 3 0.") < card.index("Then `./run train --begin`")


def test_a_run_ships_models_with_cards(finished: Path, tmp_path: Path) -> None:
    info = VideoModel.load(str(finished / "model")).info
    assert info.toy
    figures = tmp_path / "figures.json"
    row = {"name": "policy_auroc", "value": 0.5, "low": 0.25, "high": 0.75, "bar": 0.995, "at_least": True, "n": 4}
    figures.write_text(json.dumps({"seed": 3, "count": 2, "rows": [row]}))
    tiny, clip = release(finished, figures, tmp_path / "checkpoints")
    card = (tiny / "README.md").read_text()
    assert "| built-in policies, AUROC | 0.500 | 0.250 to 0.750 | >= 0.995 | 4 |" in card
    assert "--seed 3 --count 2" in card
    assert "knows that world and nothing else" in " ".join((clip / "README.md").read_text().split())
    assert {path.stat().st_mode & 0o777 for path in (*tiny.iterdir(), *clip.iterdir())} == {0o644}
    assert VideoModel.load(str(tiny)).info.toy
    assert sum(path.stat().st_size for path in tiny.iterdir()) < 16e6
    model, loading = CLIPModel.from_pretrained(clip, output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    tokens = AutoTokenizer.from_pretrained(clip)("a red circle", return_tensors="pt")
    with torch.inference_mode():
        pooled = model.get_text_features(**tokens)
    assert (pooled if isinstance(pooled, torch.Tensor) else pooled.pooler_output).shape == (1, 128)


def test_gradients_of_processes_are_those_of_one(tmp_path: Path) -> None:
    """Two lanes' batches, summed, are what one process would have summed."""
    config = TrainConfig(stage=1, minutes=1, out=tmp_path, pairs_per_batch=8, accumulate=2, processes=2)
    alone = Run(config, torch.device("cpu"))
    for lane in range(2):
        batches = training._batches(config, 0, 0, lane)
        alone.course.descent(alone.learner, torch.device("cpu"), batches, 0.5)()
    expected = {
        name: weight.grad.clone() for name, weight in alone.learner.named_parameters() if weight.grad is not None
    }
    together = Run(config, torch.device("cpu"))
    with training._lanes(together) as descend:
        figures = descend(2)
        assert len(figures) == 2
        found = {name: weight.grad for name, weight in together.learner.named_parameters() if weight.grad is not None}
        assert found.keys() == expected.keys()
        # products in bfloat16 are summed in another order with another number of threads
        one = torch.cat([expected[name].flatten() for name in sorted(expected)])
        other = torch.cat([found[name].flatten() for name in sorted(expected)])
        assert float(torch.cosine_similarity(one, other, dim=0)) > 0.995
        assert float(other.norm() / one.norm()) == pytest.approx(1.0, abs=0.03)


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """SIGKILL in the middle of a stage, then --resume: no step is lost that was kept, and no process stays behind."""
    program = (
        "from pathlib import Path; from vidlm.toyworld import train as t; t.SAVE_EVERY_S = 0.0; t.LOG_EVERY = 1;"
        f"t.train(t.TrainConfig(stage=1, minutes=60, out=Path({str(tmp_path)!r}), pairs_per_batch=8, accumulate=2,"
        " processes=2), resume=True)"
    )
    files_before, output = files_in_memory(), tmp_path / "output.txt"
    for _ in range(2):
        with output.open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, "-c", program], stdout=said, stderr=said, start_new_session=True
            )
        before = steps_kept(tmp_path)
        deadline = time.monotonic() + 120
        while steps_kept(tmp_path) < before + 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 30
        while others_alive(process.pid):
            assert time.monotonic() < deadline, "the lanes outlive their trainer"
            time.sleep(0.2)
    assert steps_kept(tmp_path) >= 4
    assert files_in_memory() <= files_before
    assert "Traceback" not in output.read_text()
    config = TrainConfig(stage=1, minutes=60, out=tmp_path, pairs_per_batch=8, accumulate=2)
    assert run_of(config).step == steps_kept(tmp_path)


def steps_kept(folder: Path) -> int:
    path = folder / "stage1.pt"
    return int(torch.load(path, weights_only=True)["step"]) if path.exists() else 0


def files_in_memory() -> set[Path]:
    """What trainers share with their lanes, as far as it has names."""
    return {path for folder in ("/dev/shm", tempfile.gettempdir()) for path in Path(folder).glob("vidlm-train-*")}


def others_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
