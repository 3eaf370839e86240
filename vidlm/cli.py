"""`vidlm ...` on the command line: one small function per command, which calls the library and shows the result.

Exit status: 0 done, 1 our fault or the machine's, 2 the input's or the command line's. Errors are one line on standard
error, `code: detail`. Heavy imports happen inside the commands, so that `vidlm --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vidlm import commands
from vidlm.errors import InputError, SettingsError, VidlmError

app = typer.Typer(
    help="Video understanding and moderation on your own machines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

File = Annotated[Path, typer.Argument(help="A video file.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print the document and nothing else.")]
Model = Annotated[str | None, typer.Option(help="Checkpoint folder or hub id; the embedded toy model when absent.")]
Policies = Annotated[Path | None, typer.Option(help="YAML file of policies; the built-in taxonomy when absent.")]


def _above_zero(fps: float | None) -> float | None:
    if fps is not None and not 0 < fps <= 30:
        raise SettingsError("--fps: expected more than 0 and at most 30")
    return fps


Fps = Annotated[
    float | None, typer.Option(help="Frames sampled per second of video, at most 30.", callback=_above_zero)
]
Seed = Annotated[int, typer.Option(help="The clips' random seed.", min=0)]
Count = Annotated[int, typer.Option(help="How many clips.", min=1)]


@app.command()
def analyze(file: File, json: Json = False, model: Model = None, policies: Policies = None, fps: Fps = None) -> None:
    """Caption, summarise and score one video."""
    from vidlm import local, screen  # noqa: PLC0415

    settings = _settings(sample_fps=fps, model=model, policies=policies)
    with screen.progress_bar("loading") as report:
        analysis = local.analyze(_existing(file), settings=settings, on_progress=report)
    if json:
        screen.print_json(screen.document_of(analysis))
    else:
        screen.print_analysis(analysis)


@app.command()
def ask(
    file: File,
    question: Annotated[list[str], typer.Argument(help="One question, or a conversation.", show_default=False)],
    json: Json = False,
    model: Model = None,
    fps: Fps = None,
) -> None:
    """Ask one video a question; the answer comes with the seconds it rests on.

    Of several questions each may say "it" of what those before it were about; --json then prints a list.
    """
    from vidlm import answer, screen  # noqa: PLC0415

    settings = _settings(sample_fps=fps, model=model)
    with screen.progress_bar("loading") as report:
        if len(question) == 1:
            said = [answer.ask(_existing(file), question[0], settings=settings, on_progress=report)]
        else:
            said = list(answer.converse(_existing(file), question, settings=settings, on_progress=report))
    if json:
        documents = [screen.document_of(one) for one in said]
        screen.print_json(documents if len(documents) > 1 else documents[0])
    else:
        screen.print_answers(said)


@app.command()
def synth(
    out: Annotated[Path, typer.Option(help="Folder for the clips and truth.json.")],
    seed: Seed = 0,
    count: Count = 8,
    longest: Annotated[float, typer.Option(help="Seconds of the longest clip, at most.", min=4)] = 20.0,
) -> None:
    """Make toy-world clips whose truth is known."""
    from vidlm import screen  # noqa: PLC0415
    from vidlm.toyworld import files  # noqa: PLC0415

    with screen.progress_bar("drawing clips", count, counted=True) as report:
        files.write_clips(seed, count, out, lambda done, _all: report("drawing clips", done), max_duration_s=longest)
    screen.out().print(f"{count} clips and truth.json in {out}", markup=False)


@app.command("eval")
def evaluate(
    *,
    seed: Seed = 0,
    count: Count = 40,
    labels: Annotated[Path | None, typer.Option(help="CSV file of your own labelled videos.")] = None,
    precision: Annotated[float, typer.Option(help="With --labels: find the threshold that keeps it.")] = 0.9,
    recall: Annotated[float, typer.Option(help="With --labels: find the threshold that keeps it.")] = 0.95,
    diagram: Annotated[Path | None, typer.Option(help="With --labels: SVG file for a reliability diagram.")] = None,
    benchmark: Annotated[
        str | None, typer.Option(help="video-mme, mvbench, tempcompass or charades-sta, lying in --folder.")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="The benchmark's folder.")] = None,
    limit: Annotated[int | None, typer.Option(help="Questions of a benchmark to ask, at most.", min=1)] = None,
    pairs: Annotated[int, typer.Option(help="Frame pairs shown with a question of a benchmark.", min=1)] = 16,
    skip_missing: Annotated[bool, typer.Option("--skip-missing", help="Leave out videos that are not there.")] = False,
    each: Annotated[
        Path | None, typer.Option(help="File for every single thing asked and what came of it, a line of JSON each.")
    ] = None,
    json: Json = False,
    model: Model = None,
    policies: Policies = None,
    fps: Fps = None,
) -> None:
    """Measure a model: on unseen toy-world clips, on your own labelled videos, or on a public benchmark."""
    if (labels and benchmark) or (benchmark is None) != (folder is None) or (diagram and not labels):
        if benchmark and not labels and not diagram:
            raise SettingsError("--benchmark lies in a folder: name it with --folder")
        raise SettingsError("eval takes --labels (with or without --diagram), or --benchmark and --folder, or neither")
    if benchmark is None and (limit or skip_missing):
        raise SettingsError("--limit and --skip-missing are for --benchmark")
    if not 0 < precision <= 1 or not 0 < recall <= 1:
        raise SettingsError("--precision and --recall are shares, above 0 and at most 1")
    from vidlm import measure  # noqa: PLC0415
    from vidlm.evaluation.labelled import Wanted  # noqa: PLC0415

    settings = _settings(model=model, policies=policies, sample_fps=fps)
    if labels is not None:
        wanted = Wanted(precision, recall)
        measure.on_labels(settings, labels, wanted, diagram=diagram, each=each, json=json)
    elif benchmark is not None and folder is not None:
        measure.on_benchmark(
            settings, benchmark, folder, limit=limit, pairs=pairs, skip_missing=skip_missing, each=each, json=json
        )
    else:
        measure.on_toy_clips(settings, seed, count, each=each, json=json)


@app.command()
def train(
    *,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/train"),
    minutes: Annotated[float | None, typer.Option(help="Minutes of training in all.", min=0)] = None,
    stage: Annotated[int | None, typer.Option(help="Only this stage, 1 to 4.", min=1, max=4)] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the run in that folder stopped, if one is there.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Other clips, other first weights. With --begin, take a new one.", min=0)
    ] = None,
    begin: Annotated[
        Path | None, typer.Option(help="Go on from this model's weights: stages 2 and 3 once more.")
    ] = None,
) -> None:
    """Train the embedded models, from nothing or once more: 180 minutes on a CPU, 20 on a GPU, unless told."""
    from vidlm.toyworld import run_folder  # noqa: PLC0415
    from vidlm.toyworld import train as training  # noqa: PLC0415

    if begin is not None:
        _existing(begin / "model.safetensors")
    training.main(out, run_folder.Asked(stage, minutes, seed, begin), resume=resume)


@app.command()
def release(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)],
    figures: Annotated[Path, typer.Argument(help="What `eval --json` printed of its model.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Folder of checkpoints; vidlm's own by default.")] = None,
) -> None:
    """Put what was trained where vidlm ships it, with its records and a card of its figures."""
    from vidlm import screen  # noqa: PLC0415
    from vidlm.config import EMBEDDED_MODEL  # noqa: PLC0415
    from vidlm.toyworld.card import release as put  # noqa: PLC0415

    for folder in put(run, _existing(figures), out or EMBEDDED_MODEL.parent):
        screen.out().print(f"{folder}", markup=False)


@app.command()
def demo(
    leave: Annotated[bool, typer.Option("--exit", help="Stop everything when all is shown.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write what was shown to this file.")] = None,
) -> None:
    """A few drawn clips through the whole service; exit status 0 if every one was analysed."""
    from vidlm.demo import run_demo  # noqa: PLC0415

    if not run_demo(_settings(), stay=not leave, json_file=json):
        raise typer.Exit(1)


@app.command()
def serve() -> None:
    """The service: API, workers, and a database and a queue where the settings name none."""
    from vidlm import launch, logs, screen  # noqa: PLC0415
    from vidlm.video import sandbox  # noqa: PLC0415

    logs.configure("serve")
    settings = _settings()

    def announce(service: launch.Service) -> None:
        toy = settings.model is None
        screen.announce(service.url, service.api_key, service.first_password, unconfined=sandbox.missing(), toy=toy)

    launch.serve(settings, announce)


@app.command()
def worker(
    queues: Annotated[str, typer.Option(help="What to take, the most urgent first.")] = "interactive,gpu,cpu",
) -> None:
    """One more worker process, for VIDLM_DATABASE_URL and VIDLM_REDIS_URL of a running service."""
    from vidlm.launch import worker_command  # noqa: PLC0415
    from vidlm.queue import Queue  # noqa: PLC0415

    try:
        wanted = [Queue(name.strip()) for name in queues.split(",")]
    except ValueError as exc:
        raise SettingsError(f"--queues: {exc}; known are {', '.join(Queue)}") from exc
    command = worker_command(wanted)
    os.execv(command[0], command)


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema; nothing happens when it is there."""
    from vidlm.store.engine import migrate as upgrade  # noqa: PLC0415

    upgrade(_settings().sql_url)


app.add_typer(commands.app)


def main() -> None:
    """The console script: errors raised on purpose become one line and an exit status."""
    try:
        app()
    except VidlmError as error:
        from vidlm.screen import print_error  # noqa: PLC0415

        print_error(error)
        sys.exit(2 if isinstance(error, (InputError, SettingsError)) else 1)
    except BrokenPipeError:  # whoever read our output has gone: nothing is left to say, not even at exit
        sys.stdout = None
        sys.exit(1)


def _settings(**given: Any) -> Any:
    """Settings of the environment with what the command line gave."""
    from vidlm.config import load_settings  # noqa: PLC0415

    return load_settings(**{name: value for name, value in given.items() if value is not None})


def _existing(file: Path) -> Path:
    """The file, or an `InputError` that names it as it was given."""
    if not file.is_file():
        reason = "is not a file" if file.exists() else "does not exist"
        raise InputError(f"{str(file)!r} {reason}", code="file_not_found")
    return file


if __name__ == "__main__":
    main()
