"""Why a result is what it is: model, versions and sampling, as every analysis and answer carries them."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from typing import TYPE_CHECKING, Final

from vidlm.config import Settings
from vidlm.domain import PIPELINE_VERSION, Provenance, Sampling
from vidlm.model.folder import identify, locate
from vidlm.model.preprocess import FrameGeometry
from vidlm.moderation.policies import PolicySet
from vidlm.prompts import PROMPT_VERSION

if TYPE_CHECKING:
    from vidlm.model.engine import Engine

LIBRARIES: Final = ("vidlm", "torch", "transformers", "decord2", "av", "imageio-ffmpeg", "numpy")
"""Packages whose versions a result carries, where they are installed as packages."""

NO_MODEL: Final = "none"


def provenance(
    sampling: Sampling, engine: Engine, policies: PolicySet | None, second_look: Sampling | None = None
) -> Provenance:
    """Everything needed to say later why a result is what it is; `policies` is None where none were asked, and
    `second_look` where nothing was looked at again."""
    return Provenance(
        model_id=engine.info.model_id,
        model_revision=engine.info.revision,
        toy_model=engine.info.toy,
        pipeline_version=PIPELINE_VERSION,
        prompt_version=PROMPT_VERSION,
        policy_set_version=policies.version if policies else "",
        sampling=sampling,
        libraries=_versions(),
        second_look=second_look,
    )


def unseen_provenance(sampling: Sampling) -> Provenance:
    """Of a result that no model had a part in: an earlier decision that holds again."""
    return Provenance(
        model_id=NO_MODEL,
        model_revision="",
        toy_model=False,
        pipeline_version=PIPELINE_VERSION,
        prompt_version=PROMPT_VERSION,
        policy_set_version="",
        sampling=sampling,
        libraries=_versions(),
    )


def recipe(settings: Settings, policies: PolicySet) -> str:
    """A digest of all that decides what comes of a file: the same bytes and recipe give the same analysis.

    Needs no torch. Raises `CheckpointError`.
    """
    folder = locate(settings.model_path, weights=False)
    identity = identify(settings.model_path, folder)
    parts = [
        identity.model_id,
        identity.revision,
        PIPELINE_VERSION,
        PROMPT_VERSION,
        policies.version,
        settings.sample_fps,
        settings.max_frame_pixels,
        settings.segment_min_s,
        settings.segment_max_s or FrameGeometry.from_checkpoint(folder).segment_max_s,
    ]
    if settings.second_look_s > 0:
        parts += [settings.second_look_s, settings.second_look_fps, settings.second_look_pixels]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _versions() -> dict[str, str]:
    return {name: version for name in LIBRARIES if (version := _version(name))}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
