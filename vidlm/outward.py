"""The one door to addresses that somebody else named: bytes are POSTed there, and nowhere inside this network.

A name is resolved once. Unless every address it has is a global one nothing is connected to; then one of the very
addresses that were looked at is, so no second answer of a name server leads elsewhere. No redirect is followed, no
proxy asked. Knows sockets and TLS; not what is sent, nor why.
"""

from __future__ import annotations

import http.client
import io
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final
from urllib.parse import quote, urlsplit

from vidlm.errors import ServiceError

DEADLINE_S: Final = 10.0
MAX_REPLY_BYTES: Final = 64 << 10
MAX_ADDRESSES: Final = 4
"""Of one name, how many are tried at most."""

_HOST: Final = re.compile(r"[0-9a-z._-]{1,253}")
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_MAPPED, _NAT64, _6TO4 = IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"), IPv6Network("2002::/16")
_NEVER: Final = (
    IPv4Network("192.0.0.0/24"),  # protocol assignments
    IPv4Network("192.88.99.0/24"),  # relays of 6to4, long given up
    IPv6Network("3fff::/20"),  # documentation; Python learned of it late
)

_Found = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
"""What `getaddrinfo` gives: family, type, protocol, name, address."""


class OutwardError(ServiceError):
    """No HTTP status came back. `code` says why:

    `address_not_allowed`, `unresolvable`, `timeout`, `refused` (no connection), `tls_failed`, `bad_reply`.
    """

    code = "refused"


@dataclass(frozen=True, slots=True)
class _Target:
    """A URL taken apart. `host` is ASCII in lower case, `path` holds the query too."""

    tls: bool
    host: str
    port: int
    path: str


class _Deadline:
    """So much time for everything together."""

    def __init__(self, seconds: float) -> None:
        self._end_s = time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds left, more than 0. Raises `OutwardError`."""
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise OutwardError("no answer came in time", code="timeout")
        return left_s


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, private: bool = False, deadline_s: float = DEADLINE_S
) -> int:
    """POST `body` to an http(s) address and return the HTTP status that was answered, whichever it is.

    `deadline_s` bounds all of it, from the name's look-up on. `private` allows addresses that are not global.
    Raises `OutwardError`.
    """
    deadline = _Deadline(deadline_s)
    target = _target(url)
    found = _resolve(target, deadline)
    if not private and not all(is_global(info[4][0]) for info in found):
        raise OutwardError("the address is not one of the public internet", code="address_not_allowed")
    with _connect(found, deadline) as plain, _secured(plain, target, deadline) as connection:
        try:
            return _exchange(connection, _request(target, body, headers), deadline)
        except TimeoutError as exc:
            raise OutwardError("no answer came in time", code="timeout") from exc
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise OutwardError("what was answered is not HTTP, or nothing was", code="bad_reply") from exc


def named_inside(url: str) -> bool:
    """Whether a URL plainly leads inside: it names an address that is not global, in any notation, or this machine.

    No name server is asked, so another name may lead inside too: `post` finds out. Raises `OutwardError`
    (`address_not_allowed`) for what is no http(s) URL.
    """
    host = _target(url).host.rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except OSError:
        return False
    return not all(is_global(str(info[4][0])) for info in found)


def is_global(address: str) -> bool:
    """Whether a numeric address is one of the public internet. IPv6 forms that carry an IPv4 address are as it is."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        carried = _carried(ip)
        if carried is not None:
            return is_global(str(carried))
        if ip.scope_id is not None or ip not in _GLOBAL_V6:
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NEVER)


def _carried(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a translator or a tunnel would make of this one."""
    if ip in _MAPPED or ip in _NAT64:
        return IPv4Address(ip.packed[12:])
    return IPv4Address(ip.packed[2:6]) if ip in _6TO4 else None


def _target(url: str) -> _Target:
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode("ascii"), parts.port
    except ValueError as exc:  # a port that is no number, brackets that do not match, a label that is too long
        raise OutwardError("this is no address", code="address_not_allowed") from exc
    host = host.lower()
    if ":" in host:
        host = _spelled(host)
    elif _HOST.fullmatch(host) is None:
        host = ""
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or not host or port == 0:
        raise OutwardError("this is no address", code="address_not_allowed")
    tls = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Target(tls, host, port or (443 if tls else 80), quote(path, safe="/%:=&?~+!$,;'@()*[]"))


def _spelled(host: str) -> str:
    """An IPv6 address in its one short spelling; nothing where it is none."""
    try:
        return str(IPv6Address(host))
    except ValueError:
        return ""


def _resolve(target: _Target, deadline: _Deadline) -> list[_Found]:
    """Every address of the host. The look-up has no timeout of its own, so it runs beside us and may be left behind."""
    answers: queue.SimpleQueue[list[_Found] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(list(socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as exc:
            answers.put(exc)

    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    try:
        found = answers.get(timeout=deadline.left_s())
    except queue.Empty:
        raise OutwardError("the name server did not answer in time", code="timeout") from None
    if isinstance(found, Exception):
        raise OutwardError("there is no such host", code="unresolvable") from found
    return found


def _connect(found: list[_Found], deadline: _Deadline) -> socket.socket:
    """A connection to the first address that takes one; each gets its share of the time."""
    tried = found[:MAX_ADDRESSES]
    failure: OSError | None = None
    for index, (family, kind, protocol, _, address) in enumerate(tried):
        try:
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(deadline.left_s() / (len(tried) - index))
                connection.connect(address)
            except BaseException:
                connection.close()
                raise
            return connection
        except OSError as exc:
            failure = exc
    if isinstance(failure, TimeoutError):
        raise OutwardError("no connection came about in time", code="timeout") from failure
    raise OutwardError("no connection was taken", code="refused") from failure


def _secured(connection: socket.socket, target: _Target, deadline: _Deadline) -> socket.socket:
    """For https, the connection under TLS with a certificate that is valid for the host's name."""
    if not target.tls:
        return connection
    try:
        connection.settimeout(deadline.left_s())
        return _tls().wrap_socket(connection, server_hostname=target.host.rstrip("."))
    except TimeoutError as exc:
        raise OutwardError("no answer came in time", code="timeout") from exc
    except (OSError, ValueError) as exc:
        raise OutwardError("no trusted TLS connection came about", code="tls_failed") from exc


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _request(target: _Target, body: bytes, headers: Mapping[str, str]) -> bytes:
    host = f"[{target.host}]" if ":" in target.host else target.host
    usual = 443 if target.tls else 80
    fields = {
        "host": host if target.port == usual else f"{host}:{target.port}",
        "user-agent": "vidlm",
        "content-length": str(len(body)),
        "connection": "close",
    }
    lines = [f"POST {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in (fields | dict(headers)).items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def _exchange(connection: socket.socket, request: bytes, deadline: _Deadline) -> int:
    """Send, and read the status. The status counts once the reply's head is whole; its body is read for politeness."""
    rest = memoryview(request)
    while rest:
        connection.settimeout(deadline.left_s())
        rest = rest[connection.send(rest) :]
    source = _Bounded(connection, deadline)
    reply = http.client.HTTPResponse(source, method="POST")  # type: ignore[arg-type]
    reply.begin()
    source.may_end = True
    with suppress(OSError, OutwardError, http.client.HTTPException, ValueError):
        reply.read(MAX_REPLY_BYTES)
    return reply.status


class _Bounded(io.RawIOBase):
    """What `HTTPResponse` reads from: a socket that ends at the deadline and after `MAX_REPLY_BYTES`.

    Until it `may_end` its end is an error: a head that breaks off would pass for one that is whole.
    """

    def __init__(self, connection: socket.socket, deadline: _Deadline) -> None:
        self._connection, self._deadline = connection, deadline
        self._left_bytes = MAX_REPLY_BYTES
        self.may_end = False

    def makefile(self, _mode: str) -> io.BufferedReader:
        """The way in for `HTTPResponse`."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = 0
        if self._left_bytes > 0:
            self._connection.settimeout(self._deadline.left_s())
            count = self._connection.recv_into(memoryview(buffer)[: self._left_bytes])
            self._left_bytes -= count
        if count == 0 and not self.may_end:
            raise ConnectionError("the reply broke off")
        return count
