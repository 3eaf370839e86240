"""A 5x7 bitmap font for words on the screen: capitals, digits, space and . ! ?

Each letter is seven rows of five dots, '#' for ink. Knows letters; not where they go.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_ROWS = """
 ABCDEFGHIJKLM
..... .###. ####. .###. ####. ##### ##### .###. #...# .###. ..### #...# #.... #...#
..... #...# #...# #...# #...# #.... #.... #...# #...# ..#.. ...#. #..#. #.... ##.##
..... #...# #...# #.... #...# #.... #.... #.... #...# ..#.. ...#. #.#.. #.... #.#.#
..... ##### ####. #.... #...# ####. ####. #.### ##### ..#.. ...#. ##... #.... #...#
..... #...# #...# #.... #...# #.... #.... #...# #...# ..#.. ...#. #.#.. #.... #...#
..... #...# #...# #...# #...# #.... #.... #...# #...# ..#.. #..#. #..#. #.... #...#
..... #...# ####. .###. ####. ##### #.... .###. #...# .###. .##.. #...# ##### #...#
NOPQRSTUVWXYZ
#...# .###. ####. .###. ####. .###. ##### #...# #...# #...# #...# #...# #####
##..# #...# #...# #...# #...# #...# ..#.. #...# #...# #...# #...# #...# ....#
#.#.# #...# #...# #...# #...# #.... ..#.. #...# #...# #...# .#.#. .#.#. ...#.
#..## #...# ####. #...# ####. .###. ..#.. #...# #...# #.#.# ..#.. ..#.. ..#..
#...# #...# #.... #.#.# #.#.. ....# ..#.. #...# #...# #.#.# .#.#. ..#.. .#...
#...# #...# #.... #..#. #..#. #...# ..#.. #...# .#.#. ##.## #...# ..#.. #....
#...# .###. #.... .##.# #...# .###. ..#.. .###. ..#.. #...# #...# ..#.. #####
0123456789.!?
.###. ..#.. .###. .###. ...#. ##### .###. ##### .###. .###. ..... ..#.. .###.
#...# .##.. #...# #...# ..##. #.... #.... ....# #...# #...# ..... ..#.. #...#
#..## ..#.. ....# ....# .#.#. ####. #.... ...#. #...# #...# ..... ..#.. ....#
#.#.# ..#.. ...#. ..##. #..#. ....# ####. ..#.. .###. .#### ..... ..#.. ...#.
##..# ..#.. ..#.. ....# ##### ....# #...# ..#.. #...# ....# ..... ..#.. ..#..
#...# ..#.. .#... #...# ...#. #...# #...# ..#.. #...# ....# .##.. ..... .....
.###. .###. ##### .###. ...#. .###. .###. ..#.. .###. .###. .##.. ..#.. ..#..
"""


def _load() -> dict[str, npt.NDArray[np.bool_]]:
    lines = _ROWS.strip("\n").split("\n")
    glyphs: dict[str, npt.NDArray[np.bool_]] = {}
    for first in range(0, len(lines), 8):
        rows = [line.split() for line in lines[first + 1 : first + 8]]
        for index, letter in enumerate(lines[first]):
            glyphs[letter] = np.array([[dot == "#" for dot in row[index]] for row in rows])
    return glyphs


GLYPHS = _load()


def bitmap(text: str) -> npt.NDArray[np.bool_]:
    """The text on one line as dots, bool [7, 6 n - 1]; small letters become capitals.

    Raises ValueError for an empty text or a letter the font has not.
    """
    capitals = text.upper()
    unknown = sorted(set(capitals) - GLYPHS.keys())
    if unknown or not text:
        raise ValueError(f"no letters for {''.join(unknown)!r}" if unknown else "no text")
    gap = np.zeros((7, 1), bool)
    return np.hstack([column for letter in capitals for column in (GLYPHS[letter], gap)])[:, :-1]
