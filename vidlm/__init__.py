"""vidlm watches video so that people don't have to watch all of it.

    from vidlm import analyze, ask

    analysis = analyze("clip.mp4")
    print(analysis.verdict, [segment.caption for segment in analysis.segments])
    print(ask(analysis, "What colour is the car?").text)

The names are imported when they are first used, so `import vidlm` costs nothing and needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from vidlm.answer import ask, converse
    from vidlm.domain import Analysis, Answer, Policy
    from vidlm.local import analyze

__all__ = ["Analysis", "Answer", "Policy", "analyze", "ask", "converse"]
__version__ = "0.1.0"

_HOME: Final = {
    "Analysis": "vidlm.domain",
    "Answer": "vidlm.domain",
    "Policy": "vidlm.domain",
    "analyze": "vidlm.local",
    "ask": "vidlm.answer",
    "converse": "vidlm.answer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
