"""`vidlm keys ...`: the API keys there are, and taking one back. `vidlm key` makes one.

Heavy imports happen inside the commands, as in `vidlm.cli`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from vidlm.command_parts import ACTOR, settings_of_service
from vidlm.errors import SettingsError

app = typer.Typer(help="The API keys there are, and taking one back.", no_args_is_help=True)


@app.command("list")
def list_keys() -> None:
    """Every key: id, role, when it was used last (to the hour), what it is for. Keys themselves are kept nowhere."""
    from rich.text import Text  # noqa: PLC0415

    from vidlm import operate, screen  # noqa: PLC0415
    from vidlm.store import keys  # noqa: PLC0415
    from vidlm.store.tables import DEFAULT_TENANT  # noqa: PLC0415

    with operate.opened(settings_of_service()) as database, database.read() as session:
        for row in keys.listed(session, DEFAULT_TENANT):
            used = "never" if row.used_at is None else f"{row.used_at:%Y-%m-%d %H:%M}Z"
            state = "revoked" if row.revoked_at is not None else row.role + (" restricted" if row.restricted else "")
            shown = Text(f"{row.id}  {state:<19}  {used:<17}  ") + screen.plain(row.name)
            screen.out().print(shown, soft_wrap=True)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="Its id, `key_...`.", show_default=False)]) -> None:
    """From now on the key opens nothing, for ever."""
    from vidlm import operate  # noqa: PLC0415
    from vidlm.store import keys  # noqa: PLC0415
    from vidlm.store.tables import DEFAULT_TENANT  # noqa: PLC0415

    with operate.opened(settings_of_service()) as database, database.write() as session:
        row = keys.find(session, DEFAULT_TENANT, key_id)
        if row is None:
            raise SettingsError(f"there is no key {key_id!r}")
        keys.revoke(session, row, actor=ACTOR)
