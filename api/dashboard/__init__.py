"""The dashboard: pages over the same functions that the API is made of.

A page is a module in `pages`: its context, one dataclass, its routes, and a template of its name. What changes
something while a page is open goes through the API's own routes, by scripts in `static/js`.
"""

from typing import Final

from api.dashboard.pages import queue, review, settings, sign_in, static

PAGES: Final = (sign_in, queue, review, settings, static)
