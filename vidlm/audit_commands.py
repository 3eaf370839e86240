"""`vidlm audit ...`: prove that nobody changed the audit, anchor it elsewhere, hand it out.

Heavy imports happen inside the commands, as in `vidlm.cli`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vidlm.command_parts import ACTOR, made_whole, settings_of_service, time_of
from vidlm.errors import SettingsError

app = typer.Typer(help="Prove that nobody changed the audit, anchor it elsewhere, export it.", no_args_is_help=True)

Tenant = Annotated[str | None, typer.Option(help="Only this tenant's rows.", show_default=False)]


@app.command()
def verify(
    tenant: Tenant = None,
    anchor: Annotated[
        Path | None, typer.Option(help="File of anchors: what they vouch for must still be there.", show_default=False)
    ] = None,
) -> None:
    """Hash every row anew; names the first bad row of each chain, then ends with status 1."""
    from vidlm import operate, screen  # noqa: PLC0415
    from vidlm.audit import anchors, verifying  # noqa: PLC0415

    kept = anchors.read(anchor) if anchor is not None else []
    with operate.opened(settings_of_service()) as database:
        report = verifying.verify(database, tenant, kept)
    out = screen.out()
    for fault in report.faults:
        row = f"number {fault.number}" + (f" (id {fault.id})" if fault.id is not None else "")
        out.print(screen.plain(f"{row} of {fault.tenant_id} {fault.detail}"), soft_wrap=True)
    looked = f"{report.rows:,} rows of {report.tenants} {'tenant' if report.tenants == 1 else 'tenants'}"
    said = "verified" if not report.faults else f"looked at, {len(report.faults)} of them with a bad row,"
    out.print(f"{looked} {said} in {report.seconds:.2f} s", soft_wrap=True)
    if report.faults:
        raise typer.Exit(1)


@app.command()
def anchor(
    to: Annotated[
        Path | None, typer.Option(help="The file; VIDLM_AUDIT_ANCHOR when absent.", show_default=False)
    ] = None,
    post: Annotated[str | None, typer.Option(help="An address to send them to instead.", show_default=False)] = None,
) -> None:
    """Add where every chain ends to a file; status 1 if one has lost rows since the file's last anchor."""
    from vidlm import operate, screen  # noqa: PLC0415
    from vidlm.audit import anchors  # noqa: PLC0415

    settings = settings_of_service()
    if post is not None:
        with operate.opened(settings) as database:
            count = anchors.send(database, post, private=settings.webhook_private)
        screen.out().print(f"the ends of {count} {'chain' if count == 1 else 'chains'} were sent", soft_wrap=True)
        return
    path = to or settings.audit_anchor
    if path is None:
        raise SettingsError("anchor takes --to FILE or --post URL, or VIDLM_AUDIT_ANCHOR names a file")
    with operate.opened(settings) as database:
        done = anchors.write(database, path)
    out = screen.out()
    for tenant_id in done.went_back:
        out.print(screen.plain(f"the chain of {tenant_id} is not what it was when last anchored"), soft_wrap=True)
    out.print(f"{done.written} of {done.chains} chains had moved on and were anchored", soft_wrap=True)
    if done.went_back:
        raise typer.Exit(1)


@app.command()
def export(
    form: Annotated[str, typer.Option("--format", help="csv or json (a line for each row).")] = "csv",
    since: Annotated[
        str | None, typer.Option("--from", help="ISO time; what was done then or later.", show_default=False)
    ] = None,
    until: Annotated[str | None, typer.Option(help="ISO time; what was done before.", show_default=False)] = None,
    tenant: Tenant = None,
    output: Annotated[Path | None, typer.Option(help="A file, made when it is whole; else standard output.")] = None,
) -> None:
    """Write the audit's rows; that this was done is written to the audit, too."""
    from vidlm import operate, screen  # noqa: PLC0415
    from vidlm.audit.export import Format, Wanted  # noqa: PLC0415
    from vidlm.audit.export import export as write  # noqa: PLC0415

    if form not in list(Format):
        raise SettingsError(f"--format: known are {', '.join(Format)}")
    wanted = Wanted(tenant, time_of("--from", since), time_of("--until", until))
    with operate.opened(settings_of_service()) as database:
        if output is None:
            write(database, sys.stdout, Format(form), wanted, actor=ACTOR)
            return
        with made_whole(output) as file:
            count = write(database, file, Format(form), wanted, actor=ACTOR)
    screen.err().print(f"{count:,} rows")
