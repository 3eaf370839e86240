"""From a finished run to the checkpoints that ship: weights, records, curve, and a card with measured figures.

`vidlm release RUN FIGURES.json` writes both folders; nothing in a card is written by hand but what a model is for.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

from vidlm.errors import InputError
from vidlm.toyworld.run_folder import METRICS, take_place
from vidlm.toyworld.student import GEOMETRY

NAMES: Final[dict[str, str]] = {
    "policy_auroc": "built-in policies, AUROC",
    "policy_recall_at_1pct_fpr": "built-in policies, recall at 1% false positives",
    "composed_accuracy": "policies of a colour and a thing, of pairs that no policy had in training: balanced accuracy",
    "described_accuracy": "policies about places, movements, numbers, alternatives, exceptions: balanced accuracy",
    "attribute_exact": "attribute questions, exact",
    "attribute_colour": "— colour",
    "attribute_count": "— count",
    "attribute_direction": "— direction",
    "attribute_place": "— place",
    "attribute_order": "— order",
    "unseen_wording_exact": "attribute questions in wordings never trained, exact",
    "caption_precision": "captions, precision of stated facts",
    "caption_recall": "captions, recall",
    "when_mean_iou": "when-questions, mean temporal IoU",
    "when_r1_iou70": "when-questions, share with IoU of 0.7 or more",
    "absent_abstains": '"not there": abstains',
    "wrong_abstentions": "wrong abstentions",
    "calibration_ece": "calibration (ECE, 15 bins)",
    "overlay_flips": "unsafe to safe by words on the screen",
    "reencoded_drop": "balanced accuracy lost at CRF 35",
    "rescaled_drop": "balanced accuracy lost at 1.5 times the size",
    "frame_rate_drop": "balanced accuracy lost at another frame rate",
    "shifted_drop": "balanced accuracy lost half a second later",
    "cropped_drop": "balanced accuracy lost with a tenth of width and height cut off",
    "copied_policy_auroc": "files passed on (smaller, CRF 35, a second time): AUROC",
    "copied_attribute_exact": "— attribute questions, exact",
    "copied_caption_precision": "— captions, precision",
    "copied_caption_recall": "— captions, recall",
    "copied_when_mean_iou": "— when-questions, mean temporal IoU",
    "copied_absent_abstains": '— "not there": abstains',
    "copied_wrong_abstentions": "— wrong abstentions",
    "seconds_for_10s_clip": "seconds for a 10 s clip, 12 policies, captions",
}
"""Rows of an evaluation, as a card names them."""

_HEAD: Final = """---
license: apache-2.0
base_model: none
tags: [{tags}, toy]
---

# {name}: a toy

"""

_TINY: Final = """The real Qwen2-VL architecture (same classes, config keys, processor files and chat template),
{weights:.1f} million weights in bfloat16, trained from nothing on vidlm's toy world: drawn shapes, a few everyday
things, drawn hazards. **It knows that world and nothing else.** About a real video its captions, scores and answers
mean nothing.

It exists so that one command shows the whole product on any laptop, and so that tests can check meaning and not only
shapes.

## What it can and cannot do

`./run eval --seed {seed} --count {count} --json`: clips nobody trained on, through real files and the whole pipeline;
95% intervals resample whole clips. Balanced accuracy counts what holds and what does not alike. "Bar" is where the toy
model is meant to end up.

{table}

## How it was trained

{trained}

`training-stage*.json` hold the settings, `metrics.jsonl` the whole curve, `curve.png` its picture, and
`docs/design/training.md` what was tried and what it did. Training clips and evaluation clips come from disjoint seeds.

Frames: at most {pixels:,} pixels (112 x 168 at 4:3, 112 x 196 at 16:9), sides multiples of 28. Sampled at 2 frames per
second; each pair of frames is preceded by its time as text. Prompts: `vidlm/prompts.py`.
"""

_CLIP: Final = """A small image and text encoder in the layout of the library's CLIPModel: {weights:.1f} million
weights in bfloat16, pictures squashed to 112 x 112, texts of at most 48 tokens, vectors of 128 numbers. Trained from
nothing on vidlm's toy world. **It knows that world and nothing else.**

Among 256 unseen pictures, the first one found for a text is one it is true of in {found:.0%} of cases (the last line of
stage 4 in `metrics.jsonl`). It sees single pictures: movements are not among what it can find.

```python
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

folder = "vidlm/checkpoints/tiny-clip"
pictures = AutoImageProcessor.from_pretrained(folder)([Image.open("frame.png")], return_tensors="pt")
texts = AutoTokenizer.from_pretrained(folder)(["a red circle", "a dog"], padding=True, return_tensors="pt")
print(CLIPModel.from_pretrained(folder)(**pictures, **texts).logits_per_image.softmax(dim=1))
```

## How it was trained

{trained}
"""


def release(run: Path, figures: Path, checkpoints: Path) -> list[Path]:
    """Copy a run's models with their records into `checkpoints`, each with its card. Returns the folders written.

    `figures` is what `vidlm eval --json` printed of `<run>/model`. What was there before is replaced only by what is
    whole. Raises `InputError` where no run was, or none that shipped anything, and for figures that are none.
    """
    if not (run / METRICS).exists():
        raise InputError(f"no run has been finished in {str(run)!r}", code="file_not_found")
    table = _figures(figures)
    records = {number: json.loads((run / f"stage{number}.json").read_text()) for number in _stages(run)}
    lines = [json.loads(line) for line in (run / METRICS).read_text(encoding="utf-8").splitlines()]
    sources = {name: run / folder for name, folder in (("tiny", "model"), ("tiny-clip", "clip"))}
    made = checkpoints / ".new"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    for name, source in sources.items():
        mine = {number: record for number, record in records.items() if (number == 4) == (name == "tiny-clip")}
        if source.exists() and mine:
            _make(made / name, source, table, mine, lines)
    written = sorted(checkpoints / folder.name for folder in made.iterdir())
    if (made / "tiny").exists() and (run / "curve.png").exists():
        shutil.copy(run / "curve.png", made / "tiny" / "curve.png")
    take_place(made, checkpoints)
    if not written:
        raise InputError(f"the run in {str(run)!r} has made no model yet", code="file_not_found")
    return written


def _figures(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        figures_table(table["rows"])
        return {"seed": table["seed"], "count": table["count"], "rows": table["rows"]}
    except (ValueError, KeyError, TypeError) as exc:
        raise InputError(f"{path.name!r} is not what `vidlm eval --json` prints", code="invalid_request") from exc


def _make(folder: Path, source: Path, table: dict[str, Any], records: dict[int, Any], lines: list[Any]) -> None:
    shutil.copytree(source, folder)
    for number, record in records.items():
        (folder / f"training-stage{number}.json").write_text(json.dumps(record, indent=2) + "\n")
    kept = [line for line in lines if line["stage"] in records]
    (folder / METRICS).write_text("".join(json.dumps(line) + "\n" for line in kept))
    (folder / "README.md").write_text(_card(folder.name, table, records, kept), encoding="utf-8")
    for path in folder.iterdir():
        path.chmod(0o644)  # weights are written for their owner alone


def _stages(run: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("stage")) for path in run.glob("stage[0-9].json"))


def _card(name: str, table: dict[str, Any], records: dict[int, Any], lines: list[dict[str, Any]]) -> str:
    weights = max(record["weights"] for record in records.values()) / 1e6
    if name == "tiny":
        head = _HEAD.format(tags="qwen2_vl", name="vidlm-tiny")
        rows = figures_table(table["rows"])
        body = _TINY.format(
            weights=weights,
            pixels=GEOMETRY.max_pixels,
            seed=table["seed"],
            count=table["count"],
            table=rows,
            trained=_trained(records),
        )
        return head + body
    found = [line["first_found"] for line in lines if "first_found" in line][-1]
    return _HEAD.format(tags="clip", name="vidlm-tiny-clip") + _CLIP.format(
        weights=weights, found=found, trained=_trained(records)
    )


def figures_table(rows: list[dict[str, Any]]) -> str:
    """The evaluation's rows as a table in Markdown."""
    lines = ["| what | value | 95% interval | bar | n |", "|---|---|---|---|---|"]
    for row in rows:
        if row["value"] is None:
            continue
        bar = f"{'>=' if row['at_least'] else '<='} {row['bar']:g}"
        interval = f"{row['low']:.3f} to {row['high']:.3f}" if row["low"] is not None else ""
        lines.append(f"| {NAMES[row['name']]} | {row['value']:.3f} | {interval} | {bar} | {row['n']} |")
    return "\n".join(lines)


def _trained(records: dict[int, Any]) -> str:
    minutes = ", ".join(f"stage {number} {record['minutes']:.0f}" for number, record in records.items())
    first = next(iter(records.values()))
    where = f"{first['processes']} CPU cores" if first["device"] == "cpu" else first["device"]
    said = (
        f"on {where}: minutes by stage: {minutes}. PyTorch {first['torch']}, "
        f"revision {first['git'][:12] or 'unknown'}, seed {first['seed']}."
    )
    before = {record["stage"]: record for record in first.get("after", [])}
    return f"{_trained(before)}\n\nThen `./run train --begin`, {said}" if before else f"`./run train`, {said}"
