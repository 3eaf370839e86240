"""`vidlm admin ...`: people who sign in to the dashboard.

Heavy imports happen inside the commands, as in `vidlm.cli`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from vidlm.command_parts import settings_of_service
from vidlm.errors import SettingsError

if TYPE_CHECKING:
    from sqlmodel import Session

app = typer.Typer(help="People who sign in to the dashboard.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="What they sign in with.", show_default=False)]


@app.command("create-user")
def create_user(
    name: Name,
    role: Annotated[str, typer.Option(help="viewer, reviewer, lead or admin.")] = "reviewer",
    restricted: Annotated[bool, typer.Option("--restricted", help="May review child safety.")] = False,
) -> None:
    """Let somebody in, and print their password: it is kept nowhere, and shown only this once."""
    from vidlm.domain import Role  # noqa: PLC0415
    from vidlm.people import accounts  # noqa: PLC0415

    if role not in list(Role):
        raise SettingsError(f"--role: known are {', '.join(Role)}")

    def make(session: Session, password: str) -> None:
        accounts.create(session, name, password, role=Role(role), restricted=restricted)

    _print_password(make)


@app.command("reset-password")
def reset_password(name: Name) -> None:
    """Give somebody another password, sign them out everywhere, and print it, only this once."""
    from vidlm.people import accounts  # noqa: PLC0415
    from vidlm.store.keys import OPERATOR  # noqa: PLC0415

    def make(session: Session, password: str) -> None:
        person = accounts.by_name(session, name)
        if person is None:
            raise SettingsError(f"there is nobody called {name!r}")
        accounts.set_password(session, person, password, actor=OPERATOR)

    _print_password(make)


def _print_password(make: Callable[[Session, str], None]) -> None:
    from vidlm import operate, screen  # noqa: PLC0415
    from vidlm.people import passwords  # noqa: PLC0415

    password = passwords.make()
    with operate.opened(settings_of_service()) as database, database.write() as session:
        make(session, password)
    screen.out().print(password, markup=False, soft_wrap=True)
