"""`python -m api`: serve the API on `VIDLM_HOST`:`VIDLM_PORT`, or on a listening socket handed over with `--fd`."""

import argparse
import gc
import socket
import sys

import uvicorn

from api.main import create_app
from vidlm import crash, logs
from vidlm.config import load_settings
from vidlm.errors import VidlmError


def main() -> int:
    """Serve until a signal. Exit status 2, and one line, for settings that cannot work."""
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--fd", type=int, help="a listening socket inherited from the parent")
    fd: int | None = parser.parse_args().fd
    logs.configure("api")
    crash.arm()
    try:
        settings = load_settings()
        app = create_app(settings)
    except VidlmError as exc:
        print(f"vidlm: {exc.detail}", file=sys.stderr)
        return 2
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    # what is loaded by now stays: to look through it again for garbage would stop every request for 0.15 s at a time
    gc.collect()
    gc.freeze()
    uvicorn.Server(config).run(sockets=None if fd is None else [socket.socket(fileno=fd)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
