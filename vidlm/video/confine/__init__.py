"""What stands between a decoder and the machine: limits, namespaces, Landlock and seccomp, put on before it starts.

This package runs as a program of its own in the child (`__main__.py`) and imports the standard library only, so that
starting it takes milliseconds. Each layer is put on alone and says by an exception that the kernel does not have it.
"""

from typing import Final

NAMESPACES: Final = "namespaces"
LANDLOCK: Final = "landlock"
SECCOMP: Final = "seccomp"
LAYERS: Final = (NAMESPACES, LANDLOCK, SECCOMP)
"""In the order in which they are put on: each needs calls that the next ones take away."""

CANNOT_START: Final = 127
"""Exit status of a child that could not be confined as it was told, or whose program could not be started."""
