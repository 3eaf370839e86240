"""The command line as a person uses it: real processes, exit status, one-line errors, clean standard output."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from clips import H264, ffmpeg, numbered

from vidlm import cli

ROOT = Path(__file__).parents[2]
Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


def in_a_process(*arguments: object) -> Done:
    """`vidlm ...` in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VIDLM_")}
    command = [sys.executable, "-m", "vidlm.cli", *map(str, arguments)]
    env = clean | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=env)


@pytest.fixture
def vidlm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`vidlm ...` in this process, which has torch loaded already; `env` adds to the environment."""
    for name in [name for name in os.environ if name.startswith("VIDLM_")]:
        monkeypatch.delenv(name)

    def run(*arguments: object, env: dict[str, str] | None = None) -> Done:
        with monkeypatch.context() as patch:
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["vidlm", *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                cli.main()
        shown = capsys.readouterr()
        return Done(arguments, int(ended.value.code or 0), shown.out, shown.err)

    return run


@pytest.fixture(scope="module")
def checkpoint(tiny_random_checkpoint: Path) -> Path:
    return tiny_random_checkpoint


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered(tmp_path_factory.mktemp("clips") / "four.mp4", *H264, frames=40, fps=10).path


def refused(done: Done, code: str, status: int = 2) -> bool:
    """Whether it ended as bad input does: the status, nothing on standard output, one line `code: detail`."""
    lines = done.stderr.splitlines()
    return done.returncode == status and done.stdout == "" and len(lines) == 1 and lines[0].startswith(f"{code}: ")


def test_help_answers_at_once() -> None:
    in_a_process("--help")  # bytecode is compiled once
    best_s = 9.0
    for _ in range(3):
        start = time.perf_counter()
        done = in_a_process("--help")
        best_s = min(best_s, time.perf_counter() - start)
    assert done.returncode == 0
    assert all(
        name in done.stdout for name in ("analyze", "ask", "synth", "eval", "train", "serve", "worker", "migrate")
    )
    assert best_s < 1.5  # half a second alone on the machine


def test_analyze_json_is_the_document_and_nothing_else(clip: Path, checkpoint: Path, few_policies: Path) -> None:
    done = in_a_process("analyze", clip, "--json", "--model", checkpoint, "--policies", few_policies, "--fps", 1)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["video"]["filename"] == "four.mp4"
    assert document["provenance"]["sampling"]["fps"] == 1.0
    assert [list(segment["scores"]) for segment in document["segments"]] == [
        [f"things.thing_{n}" for n in range(3)]
    ] * len(document["segments"])
    assert done.stderr == ""


def test_analyze_shows_tables(vidlm: Run, clip: Path, checkpoint: Path, few_policies: Path) -> None:
    done = vidlm("analyze", clip, "--model", checkpoint, "--policies", few_policies)
    assert done.returncode == 0, done.stderr
    assert "four.mp4" in done.stdout
    assert "Verdict:" in done.stdout


def test_ask_answers_or_says_that_it_is_not_there(vidlm: Run, clip: Path, checkpoint: Path) -> None:
    done = vidlm("ask", clip, "What is it?", "--json", "--model", checkpoint)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["question"] == "What is it?"
    assert answer["conversation_id"] is None
    assert answer["abstained"] == (answer["evidence"] == [])


def test_several_questions_are_one_conversation(vidlm: Run, clip: Path, checkpoint: Path) -> None:
    questions = ("What is it?", "What colour is it?")
    done = vidlm("ask", clip, *questions, "--json", "--model", checkpoint)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert [answer["question"] for answer in answers] == list(questions)
    assert len({answer["conversation_id"] for answer in answers}) == 1
    assert answers[0]["conversation_id"].startswith("cnv_")
    shown = vidlm("ask", clip, *questions, "--model", checkpoint).stdout
    places = [shown.index(question) for question in questions]
    assert places[0] < shown.index("confidence") < places[1] < shown.rindex("confidence")


def test_every_question_is_checked_before_anything_is_loaded(vidlm: Run, clip: Path, tmp_path: Path) -> None:
    assert refused(vidlm("ask", clip, "What is it?", " ", "--model", tmp_path / "nothing"), "invalid_question")


def test_bad_files_are_one_line_with_a_code(vidlm: Run, checkpoint: Path, tmp_path: Path) -> None:
    text, sound = tmp_path / "notes.mp4", tmp_path / "sound.m4a"
    text.write_text("not a video\n" * 50)
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", str(sound))
    (tmp_path / "empty.mp4").touch()
    assert refused(vidlm("analyze", text, "--model", checkpoint), "not_a_video")
    assert refused(vidlm("analyze", text, "--json", "--model", checkpoint), "not_a_video")
    assert refused(vidlm("ask", text, "what?", "--model", checkpoint), "not_a_video")
    assert refused(vidlm("analyze", tmp_path / "empty.mp4", "--model", checkpoint), "not_a_video")
    assert refused(vidlm("analyze", sound, "--model", checkpoint), "no_video_stream")
    assert refused(vidlm("analyze", tmp_path / "missing.mp4", "--model", checkpoint), "file_not_found")
    assert refused(vidlm("analyze", tmp_path, "--model", checkpoint), "file_not_found")


def test_limits_come_from_the_settings(vidlm: Run, clip: Path, checkpoint: Path) -> None:
    too_long = vidlm("analyze", clip, "--model", checkpoint, env={"VIDLM_MAX_DURATION_S": "1"})
    too_large = vidlm("analyze", clip, "--model", checkpoint, env={"VIDLM_MAX_UPLOAD_BYTES": "100"})
    assert refused(too_long, "too_long")
    assert refused(too_large, "too_large")


def test_bad_settings_policies_and_questions_are_one_line(
    vidlm: Run, clip: Path, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "policies.yaml").write_text("policies: [{id: a.b}]")
    no_rate = vidlm("analyze", clip, "--fps", "0")
    assert refused(no_rate, "invalid_settings")
    assert no_rate.stderr == "invalid_settings: --fps: expected more than 0 and at most 30\n"
    assert refused(vidlm("analyze", clip, env={"VIDLM_DTYPE": "float7"}), "invalid_settings")
    bad_policy = vidlm("analyze", clip, "--model", checkpoint, "--policies", tmp_path / "policies.yaml")
    assert refused(bad_policy, "invalid_policy")
    assert "field `title` is missing" in bad_policy.stderr
    assert refused(vidlm("ask", clip, " ", "--model", checkpoint), "invalid_question")


def test_a_missing_checkpoint_is_not_the_inputs_fault(vidlm: Run, clip: Path, tmp_path: Path) -> None:
    assert refused(vidlm("analyze", clip, "--model", tmp_path / "nothing"), "checkpoint_invalid", status=1)


def test_control_characters_of_a_file_name_never_reach_the_terminal(
    clip: Path, checkpoint: Path, few_policies: Path, tmp_path: Path
) -> None:
    hostile = tmp_path / "[red]x\x1b[2J\u202e.mp4"
    hostile.write_bytes(clip.read_bytes())
    done = in_a_process("analyze", hostile, "--model", checkpoint, "--policies", few_policies)
    assert done.returncode == 0, done.stderr
    assert "[red]x\ufffd[2J\ufffd.mp4" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_synth_writes_clips_and_their_truth(vidlm: Run, tmp_path: Path) -> None:
    done = vidlm("synth", "--seed", 3, "--count", 2, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert len(truth["clips"]) == 2
    assert all((tmp_path / entry["file"]).stat().st_size > 0 for entry in truth["clips"])


def test_migrate_twice_is_once(vidlm: Run, tmp_path: Path) -> None:
    for _ in range(2):
        done = vidlm("migrate", env={"VIDLM_DATA": str(tmp_path)})
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "vidlm.db").stat().st_size > 0
