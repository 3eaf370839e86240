"""The dashboard: pages over the same functions that the API is made of.

A page is a module in `pages`: its context, one dataclass, its routes, and a template of its name. What changes
something while a page is open goes through the API's own routes, by scripts in `static/js`.
"""

from typing import Final

from api.dashboard.pages import (
    audit,
    golden,
    keys,
    library,
    operations,
    people,
    policies,
    policy,
    policy_sets,
    quality,
    queue,
    report,
    review,
    rules,
    settings,
    sign_in,
    static,
    video,
    webhooks,
)

PAGES: Final = (
    sign_in,
    queue,
    review,
    library,
    video,
    policies,
    policy,
    policy_sets,
    quality,
    golden,
    rules,
    report,
    operations,
    audit,
    people,
    keys,
    webhooks,
    settings,
    static,
)
