"""The training command, for seconds instead of hours: both stages, going on where it stopped, a model that loads."""

from dataclasses import replace
from pathlib import Path

import torch

from vidlm.model.video_model import VideoModel
from vidlm.toyworld.train import Run, TrainConfig, train

ONE_STEP_MINUTES = 0.001  # the clock is looked at after a step, so this is enough for just one


def steps_of(config: TrainConfig) -> int:
    run = Run(config, torch.device("cpu"))
    run.start(resume=True)
    return run.step


def test_both_stages_resume_and_export(tmp_path: Path) -> None:
    first = TrainConfig(
        stage=1, minutes=ONE_STEP_MINUTES, out=tmp_path, pairs_per_batch=8, accumulate=1, workers=0, threads=1
    )
    second = replace(first, stage=2, accumulate=2)
    train(first, resume=False)
    train(second, resume=False)
    assert steps_of(second) == 1
    train(second, resume=True)  # its time is over: nothing is trained twice
    assert steps_of(second) == 1
    train(replace(second, minutes=10 * second.minutes + steps_minutes(second)), resume=True)
    assert steps_of(second) > 1
    info = VideoModel.load(str(tmp_path / "model")).info
    assert info.toy
    assert (tmp_path / "metrics.jsonl").read_text().count('"exact"') >= 2


def steps_minutes(config: TrainConfig) -> float:
    """Minutes the run has trained so far."""
    run = Run(config, torch.device("cpu"))
    run.start(resume=True)
    return run.elapsed_s / 60
