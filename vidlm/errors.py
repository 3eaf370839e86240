"""Every error vidlm raises on purpose, drawn once.

    VidlmError                      carries `code`, machine readable, and `detail`, one sentence for a person
    |-- InputError                  the input's fault: never retried, the job ends `rejected(code)`
    |   |-- MediaError              a video that cannot be analysed (see MEDIA_CODES)
    |   |-- PolicyError             a policy file or policy text that does not make sense
    |   |-- QuestionError           a question that cannot be asked (empty, too long)
    |   |-- DatasetError            labels or a benchmark's files that cannot be used: which file, which line, why
    |-- ConflictError               what was asked does not fit how things stand: cancelling what has ended
    |-- ServiceError                ours: retried, then the job ends `failed(code)`
    |   |-- ToolError               ffmpeg or a child process failed for a reason that is not the file's
    |   |-- CheckpointError         a model folder that cannot be loaded (missing, incomplete, another architecture)
    |   |-- ModelError              the model failed while running
    |   |-- DeadlineError           what was asked of the model was not done in time
    |   |-- StorageError            disk or blob storage failed
    |-- SettingsError               the service was configured wrongly; said at start, in one line
    |-- LeaseLost                   another worker owns this row now: drop the work, write nothing

Foreign errors are translated where they enter (`video/frames.py` for decord, `video/sandbox.py` for ffmpeg and PyAV,
`model/checkpoint.py` for transformers), always with `raise ... from exc`. An error's `detail` never holds a path of the
host, because it is shown to whoever uploaded the file.
"""

from typing import Final

MEDIA_CODES: Final = frozenset(
    {
        "not_a_video",
        "truncated",
        "no_video_stream",
        "no_frames",
        "container_not_allowed",
        "too_large_dimensions",
        "too_long",
        "too_large",
        "invalid_metadata",
        "encrypted",
        "decode_timeout",
        "decode_failed",
    }
)


class VidlmError(Exception):
    """Base of every deliberate error.

    `code` is stable and machine readable; `detail` is one sentence that may be shown to anybody.
    """

    code: str = "internal"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class InputError(VidlmError):
    """The input cannot be processed, and trying again will not help."""

    code = "invalid_input"


class MediaError(InputError):
    """A file that is not a video vidlm can analyse. `code` is one of `MEDIA_CODES`."""

    def __init__(self, code: str, detail: str) -> None:
        if code not in MEDIA_CODES:
            raise ValueError(f"unknown media error code {code!r}")
        super().__init__(detail, code=code)


class PolicyError(InputError):
    """A policy that cannot be used: `detail` says which field of which policy, and why."""

    code = "invalid_policy"


class QuestionError(InputError):
    """A question that cannot be asked."""

    code = "invalid_question"


class DatasetError(InputError):
    """Labels or a benchmark's files that cannot be used: `detail` says which file and line, and why."""

    code = "invalid_dataset"


class ConflictError(VidlmError):
    """What was asked does not fit how things stand; `code` says which rule it met."""

    code = "conflict"


class ServiceError(VidlmError):
    """Our fault or the machine's; the same input may succeed later."""

    code = "service_error"


class ToolError(ServiceError):
    """A child process (ffmpeg, probe) failed for a reason that is not the file's."""

    code = "tool_failed"


class CheckpointError(ServiceError):
    """A checkpoint folder that cannot be loaded."""

    code = "checkpoint_invalid"


class ModelError(ServiceError):
    """The model failed while running.

    `code` may say more: `model_out_of_memory`, `model_not_finite` (the weights give no number), `engine_closed`.
    """

    code = "model_failed"


class DeadlineError(ServiceError):
    """What was asked for was not done by its deadline."""

    code = "deadline_exceeded"


class StorageError(ServiceError):
    """Disk or blob storage failed; nothing half written is visible."""

    code = "storage_failed"


class SettingsError(VidlmError):
    """A setting has a value that cannot work."""

    code = "invalid_settings"


class LeaseLost(VidlmError):  # noqa: N818  no fault, a fact
    """The row's lease moved to another worker while this one was at work."""

    code = "lease_lost"
