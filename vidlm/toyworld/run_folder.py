"""A training run's folder: what was asked for, what was measured, and files that are whole or not there.

    run.json         what the run is, so that --resume goes on with that and nothing else
    stageN.pt        a stage's whole state            stageN.json   its settings, code and size
    metrics.jsonl    figures, a line each             curve.png     their picture
    tokenizer.json   trained at the first start       model, clip   what ships, with averaged weights

Whatever is written here is written beside its place first: a kill leaves the old one or the new one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vidlm.errors import InputError
from vidlm.toyworld.world import TRAIN_SEEDS

METRICS: Final = "metrics.jsonl"
_RUN: Final = "run.json"
_FIRST_FILES: Final = ("tokenizer.json", "clip-tokenizer.json", METRICS)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is: its stages, the minutes of all of them together, and where it begins."""

    stages: tuple[int, ...]
    minutes: float
    seed: int
    begin: Path | None

    def lengths(self, shares: Mapping[int, float]) -> dict[int, float]:
        """Each stage's minutes, by its share of a whole run."""
        total = sum(shares[stage] for stage in self.stages)
        return {stage: self.minutes * shares[stage] / total for stage in self.stages}


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asks of a run; None where they say nothing."""

    stage: int | None = None
    minutes: float | None = None
    seed: int | None = None
    begin: Path | None = None


def plan_of(out: Path, asked: Asked, *, resume: bool, all_stages: tuple[int, ...], minutes: float) -> Plan:
    """The run that is asked for, kept in its folder; to `resume` means what is kept there, with more or fewer minutes.

    `minutes`: of a run that nobody gave any. Raises `InputError` for what cannot be trained, for a folder that holds
    another run already, and for a resumed run that is asked to be another one.
    """
    kept = _kept(out) if resume else None
    seed = asked.seed if asked.seed is not None else kept.seed if kept else 0
    begin = asked.begin.resolve() if asked.begin is not None else kept.begin if kept else None
    if kept and (seed, begin) != (kept.seed, kept.begin):
        begun = f" --begin {kept.begin}" if kept.begin else ""
        raise _wrong(f"the run in {str(out)!r} is one of --seed {kept.seed}{begun}: --resume goes on with that one")
    if asked.stage is not None:
        stages: tuple[int, ...] = (asked.stage,)
    elif kept:
        stages = kept.stages
    else:
        stages = (2, 3) if begin else all_stages
    given = asked.minutes if asked.minutes is not None else minutes
    if kept and asked.minutes is None and stages == kept.stages:
        given = kept.minutes
    plan = Plan(stages, given, seed, begin)
    _check(plan)
    if not resume:
        _make_room(out, plan)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise _wrong(f"{str(out)!r} cannot be a run's folder: {exc.strerror}") from exc
    kept_as = {"stages": stages, "minutes": given, "seed": seed, "begin": str(begin) if begin else None}
    write_whole(out / _RUN, json.dumps(kept_as) + "\n")
    if begin is not None:
        for name in ("tokenizer.json", METRICS):
            if (begin / name).exists() and not (out / name).exists():
                write_whole(out / name, (begin / name).read_text(encoding="utf-8"))
    return plan


def _kept(out: Path) -> Plan | None:
    path = out / _RUN
    if not path.exists():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    begin = Path(kept["begin"]) if kept["begin"] else None
    return Plan(tuple(kept["stages"]), kept["minutes"], kept["seed"], begin)


def _check(plan: Plan) -> None:
    if plan.minutes <= 0:
        raise _wrong("--minutes is more than 0")
    if plan.seed not in TRAIN_SEEDS:
        raise _wrong(f"seeds from {TRAIN_SEEDS.stop} on are for evaluation")
    if plan.begin is None:
        return
    if not set(plan.stages) <= {2, 3}:
        raise _wrong("--begin is for stages 2 and 3: the others begin from nothing")
    config = plan.begin / "config.json"
    kind = json.loads(config.read_text(encoding="utf-8")).get("model_type") if config.exists() else None
    if kind != "qwen2_vl":
        raise _wrong(f"{str(plan.begin)!r} is no model that ./run train made")


def _make_room(out: Path, plan: Plan) -> None:
    """A new run's folder: another run that keeps something there is left alone; what one left that did not goes."""
    states = {path.stem for path in out.glob("stage[0-9].pt")}
    if states & {f"stage{stage}" for stage in plan.stages}:
        raise _wrong(f"{str(out)!r} holds a run already: --resume goes on with it, --out takes another folder")
    first = [path for name in _FIRST_FILES if (path := out / name).exists()]
    if not states and first and not (out / _RUN).exists():
        raise _wrong(f"{str(out)!r} holds something else than a run: --out takes another folder")
    for path in first if not states else ():
        path.unlink()


def _wrong(detail: str) -> InputError:
    return InputError(detail, code="invalid_request")


class Metrics:
    """`metrics.jsonl`: the mean of every figure over some steps, and held-out figures at every look."""

    def __init__(self, out: Path, stage: int, size: int | None) -> None:
        """`size`: bytes there were when the stage's state was kept that the run goes on from: later lines of that stage
        are of lost steps."""
        path = out / METRICS
        if size is not None and path.exists():
            before, after = path.read_bytes()[:size].decode(), path.read_bytes()[size:].decode().splitlines()
            others = [line for line in after if _stage_of(line) not in (stage, None)]
            write_whole(path, before + "".join(f"{line}\n" for line in others))
        self._file = path.open("a", encoding="utf-8")
        self._seen: dict[str, list[float]] = defaultdict(list)

    @property
    def size(self) -> int:
        return self._file.tell()

    def add(self, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self._seen[name].append(value)

    def write_means(self, at: dict[str, Any]) -> None:
        self.write(at, {name: round(sum(values) / len(values), 4) for name, values in self._seen.items()})
        self._seen.clear()

    def write(self, at: dict[str, Any], figures: dict[str, Any]) -> None:
        line = json.dumps({**at, **figures})
        print(line, flush=True)
        self._file.write(line + "\n")
        self._file.flush()


def _stage_of(line: str) -> int | None:
    """The stage that a line of metrics is of; None for what a kill left of one."""
    try:
        return int(json.loads(line)["stage"])
    except (ValueError, KeyError, TypeError):
        return None


def revision() -> str:
    """The code's git revision; empty where there is no git, or no repository."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    except OSError:
        return ""
    return found.stdout.strip()


def write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def take_place(made: Path, out: Path) -> None:
    """Every folder in `made` takes the place of the one of its name in `out`; `made` is gone then."""
    for new in made.iterdir():
        old = out / new.name
        aside = out / f".{new.name}.old"
        shutil.rmtree(aside, ignore_errors=True)
        if old.exists():
            old.rename(aside)
        new.rename(old)
        shutil.rmtree(aside, ignore_errors=True)
    made.rmdir()
