"""Settings of a vidlm process: read from `VIDLM_*` once, by an entry point, and passed down; never read at import."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from vidlm.errors import SettingsError

EMBEDDED_MODEL = Path(__file__).parent / "checkpoints" / "tiny"


class Settings(BaseSettings):
    """Every setting, its unit and its default. The environment name is the field's in capitals after `VIDLM_`."""

    model_config = SettingsConfigDict(env_prefix="VIDLM_", extra="ignore", frozen=True)

    data: Annotated[Path, Field(description="The one folder that holds all state.")] = Path(".vidlm")
    database_url: Annotated[str | None, Field(description="SQLAlchemy URL; SQLite in the data folder when unset.")] = (
        None
    )
    redis_url: Annotated[
        str | None, Field(description="Redis or Valkey; an embedded Valkey is started when unset.")
    ] = None

    model: Annotated[
        str | None, Field(description="Checkpoint folder or hub id; the embedded toy model when unset.")
    ] = None
    device: Annotated[str, Field(description="auto, cpu, cuda or cuda:N.")] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    sample_fps: Annotated[float, Field(gt=0, le=30, description="Frames sampled per second of video.")] = 2.0
    max_frame_pixels: Annotated[
        int, Field(ge=3136, description="Pixels of a sampled frame at most; the checkpoint's own limit holds too.")
    ] = 200_704
    segment_min_s: Annotated[float, Field(gt=0)] = 2.0
    segment_max_s: Annotated[
        float | None, Field(gt=0, description="Longest segment; when unset, what suits the checkpoint, 10 s for most.")
    ] = None
    answer_confidence: Annotated[
        float | None,
        Field(ge=0, lt=1, description="Answers less sure than this abstain; when unset, what suits the checkpoint."),
    ] = None
    span_s: Annotated[float, Field(gt=0, description="Seconds of video one GPU task analyses.")] = 60.0

    second_look_s: Annotated[
        float,
        Field(ge=0, description="Seconds of a video whose doubtful scores are looked at again at most; 0: none."),
    ] = 120.0
    second_look_fps: Annotated[float, Field(gt=0, le=30, description="Frames a second of such a look, or more.")] = 4.0
    second_look_pixels: Annotated[
        int, Field(ge=3136, description="Pixels of a frame of such a look; the checkpoint's own limit holds too.")
    ] = 401_408

    token_bytes: Annotated[
        int, Field(ge=0, description="Visual tokens kept on disk at most, for later questions; 0 keeps none.")
    ] = 20 * 1024**3

    max_upload_bytes: Annotated[int, Field(gt=0)] = 4 * 1024**3
    max_duration_s: Annotated[float, Field(gt=0)] = 4 * 3600.0
    max_source_pixels: Annotated[int, Field(gt=0, description="Pixels of a source frame at most.")] = 35_389_440
    max_source_side: Annotated[int, Field(gt=0)] = 8192
    max_source_frames: Annotated[int, Field(gt=0, description="18 hours at 60 a second.")] = 4_000_000
    max_source_streams: Annotated[int, Field(gt=0, description="Of any sort: video, audio, subtitles.")] = 64
    max_question_chars: Annotated[int, Field(gt=0)] = 2000

    reuse_results: Annotated[
        bool, Field(description="Give a file that was analysed before the results it had, instead of new ones.")
    ] = False
    carry_over: Annotated[
        Literal["evidence", "decide"],
        Field(description="What it means that a video was decided about before: evidence, or the same decision again."),
    ] = "evidence"
    match_mirrored: Annotated[bool, Field(description="Whether known videos are known in a mirror too.")] = True
    keep_originals_s: Annotated[
        float | None,
        Field(gt=0, description="Seconds after a job's end that the file is kept; unset: always."),
    ] = None
    keep_proxies_s: Annotated[float | None, Field(gt=0, description="The same for preview, frames and thumbnails.")] = (
        None
    )
    keep_tokens_s: Annotated[
        float | None, Field(gt=0, description="The same for visual tokens, from their last use on.")
    ] = None
    keep_results_s: Annotated[
        float | None, Field(gt=0, description="The same for everything: the video is deleted, a tombstone stays.")
    ] = None
    upload_patience_s: Annotated[
        float, Field(gt=0, description="Seconds a resumable upload may take before it expires.")
    ] = 24 * 3600.0
    audit_anchor: Annotated[
        Path | None,
        Field(description="File, best on another machine, to which the sweeper adds the audit's heads once an hour."),
    ] = None
    audit_anchor_url: Annotated[
        str | None,
        Field(description="Address, best somebody else's, to which the sweeper POSTs the audit's heads once an hour."),
    ] = None
    webhook_private: Annotated[
        bool, Field(description="Whether webhooks may go to private addresses, such as this machine's.")
    ] = False

    sandbox: Annotated[
        Literal["best-effort", "require"],
        Field(description="Whether to refuse to work where the kernel cannot confine decoders."),
    ] = "best-effort"

    policies: Annotated[Path | None, Field(description="YAML file of policies; the built-in taxonomy when unset.")] = (
        None
    )

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    workers: Annotated[int, Field(ge=1, description="Worker processes `vidlm serve` starts.")] = 1

    lease_s: Annotated[float, Field(gt=0, description="A claim's lease; renewed three times as often.")] = 30.0
    max_attempts: Annotated[int, Field(ge=1)] = 3
    sweep_every_s: Annotated[float, Field(gt=0)] = 15.0

    @property
    def sql_url(self) -> str:
        """The database's SQLAlchemy URL."""
        return self.database_url or f"sqlite:///{(self.data / 'vidlm.db').resolve()}"

    @property
    def model_path(self) -> str:
        """A checkpoint folder or a hub id."""
        return self.model or str(EMBEDDED_MODEL)


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment, `overrides` first. Raises `SettingsError` in one readable line."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as exc:
        problems = "; ".join(f"VIDLM_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in exc.errors())
        raise SettingsError(problems) from exc
