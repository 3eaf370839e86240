"""A run's folder says what the run is, loses nothing to a kill, and is never another run's by mistake."""

import json
from pathlib import Path

import pytest

from vidlm.errors import InputError
from vidlm.toyworld.run_folder import Asked, Metrics, Plan, plan_of, revision, take_place, write_whole
from vidlm.toyworld.world import EVAL_SEEDS

ALL = (1, 2, 3, 4)
NOTHING = Asked()


def planned(out: Path, asked: Asked = NOTHING, *, resume: bool = False) -> Plan:
    return plan_of(out, asked, resume=resume, all_stages=ALL, minutes=180.0)


@pytest.fixture
def begin(tmp_path: Path) -> Path:
    """As much of a model as a plan looks at."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2_vl"}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "metrics.jsonl").write_text('{"stage": 2}\n')
    return folder


def test_a_whole_run_is_all_stages_and_one_that_begins_from_a_model_is_two(tmp_path: Path, begin: Path) -> None:
    assert planned(tmp_path / "a") == Plan(ALL, 180.0, 0, None)
    assert planned(tmp_path / "b", Asked(stage=2, minutes=5.0, seed=3)) == Plan((2,), 5.0, 3, None)
    assert planned(tmp_path / "c", Asked(begin=begin)) == Plan((2, 3), 180.0, 0, begin)
    assert (tmp_path / "c" / "metrics.jsonl").read_text() == '{"stage": 2}\n'
    assert Plan((2, 3), 60.0, 0, None).lengths({1: 0.2, 2: 0.6, 3: 0.2}) == {2: pytest.approx(45), 3: pytest.approx(15)}


def test_what_goes_on_is_the_run_that_was_begun(tmp_path: Path, begin: Path) -> None:
    """Nobody has to remember with what."""
    first = planned(tmp_path / "run", Asked(minutes=90.0, seed=5, begin=begin))
    assert planned(tmp_path / "run", resume=True) == first
    assert planned(tmp_path / "run", Asked(minutes=120.0), resume=True).minutes == 120.0
    assert planned(tmp_path / "run", resume=True).minutes == 120.0
    for other in (Asked(seed=6), Asked(begin=tmp_path)):
        with pytest.raises(InputError, match="--seed 5 --begin"):
            planned(tmp_path / "run", other, resume=True)
    assert planned(tmp_path / "new", resume=True) == Plan(ALL, 180.0, 0, None)  # nothing there to go on with


def test_a_run_is_not_written_over(tmp_path: Path) -> None:
    planned(tmp_path)
    (tmp_path / "tokenizer.json").write_text("of a run that kept nothing else")
    planned(tmp_path, Asked(seed=1))  # killed before it kept anything
    assert not (tmp_path / "tokenizer.json").exists()
    (tmp_path / "stage1.pt").touch()
    (tmp_path / "tokenizer.json").write_text("of this run")
    with pytest.raises(InputError, match="--resume goes on with it"):
        planned(tmp_path)
    planned(tmp_path, Asked(stage=2))  # the next stage of the same run, by hand
    assert (tmp_path / "tokenizer.json").read_text() == "of this run"


def test_what_is_no_run_is_left_alone(begin: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="something else"):
        planned(begin)
    assert (begin / "tokenizer.json").exists()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be a run's folder"):
        planned(tmp_path / "file")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked(minutes=0), "more than 0"),
        (Asked(seed=EVAL_SEEDS.start), "evaluation"),
        (Asked(stage=1, begin=Path("tiny")), "from nothing"),
        (Asked(begin=Path("nowhere")), "no model"),
    ],
)
def test_what_cannot_be_trained_is_said_at_once(tmp_path: Path, asked: Asked, said: str) -> None:
    with pytest.raises(InputError, match=said):
        planned(tmp_path / "run", asked)
    assert not (tmp_path / "run").exists()


def test_figures_of_lost_steps_are_gone(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path, 2, None)
    metrics.add({"loss": 2.0})
    metrics.add({"loss": 1.0})
    metrics.write_means({"stage": 2, "step": 20})
    kept = metrics.size
    metrics.write({"stage": 2, "step": 40}, {"loss": 0.5})
    metrics.write({"stage": 4, "step": 20}, {"loss": 3.0})  # another stage has been through since
    with (tmp_path / "metrics.jsonl").open("a") as torn:
        torn.write('{"stage": 2, "step": 60, "lo')
    again = Metrics(tmp_path, 2, kept)
    again.write({"stage": 2, "step": 40}, {"loss": 0.6})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"], line["loss"]) for line in lines] == [(2, 20, 1.5), (4, 20, 3.0), (2, 40, 0.6)]
    assert again.size == (tmp_path / "metrics.jsonl").stat().st_size


def test_folders_and_files_take_their_place_whole(tmp_path: Path) -> None:
    made, out = tmp_path / "run" / ".new", tmp_path / "run"
    for folder, said in ((out / "model", "old"), (made / "model", "new"), (made / "clip", "first")):
        folder.mkdir(parents=True)
        (folder / "weights").write_text(said)
    (out / "model" / "left over").touch()
    take_place(made, out)
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob("*"))
    assert found == ["clip", "clip/weights", "model", "model/weights"]
    assert (out / "model" / "weights").read_text() == "new"
    write_whole(out / "run.json", "{}")
    assert [path.name for path in out.iterdir() if path.is_file()] == ["run.json"]


def test_without_git_there_is_no_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(revision()) in (0, 40)
    monkeypatch.setenv("PATH", "/nowhere")
    assert revision() == ""
