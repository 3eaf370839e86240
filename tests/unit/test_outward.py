"""Nothing inside this network can be reached through an address that somebody else named, and no receiver holds us up.

All receivers are real sockets on the loopback. Only name servers are played: no test asks a real one.
"""

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from vidlm import outward
from vidlm.outward import OutwardError, is_global, named_inside, post

GLOBAL_V4, GLOBAL_V6 = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

HOSTILE = [
    "http://127.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://127.8.9.10:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.0.0.1:{port}/",
    "http://017700000001:{port}/",
    "http://0177.0.0.01:{port}/",
    "http://0.0.0.0:{port}/",
    "http://0:{port}/",
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[fe80::1%25lo]:{port}/",
    "http://[fe80::1]:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1:{port}/",
    "http://100.64.0.1:{port}/",
    "http://224.0.0.1:{port}/",
    "http://255.255.255.255:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "https://localhost:{port}/",
    "http://inside.example:{port}/",
    "http://both.example:{port}/",
    "http://six.example:{port}/",
    "http://hooks.example@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@hooks.example/",
    "http://hooks.example:x@localhost:{port}/",
    "http://127.0.0.1\\@hooks.example:{port}/",
    "http://127.0.0.1:{port}\\.hooks.example/",
    "http://\uff11\uff12\uff17.0.0.1:{port}/",
    "http://①②⑦。0。0。1:{port}/",
    "http://127.0.0.1%00.hooks.example:{port}/",
    "http://127.0.0.1:{port}#@hooks.example/",
    "http:///127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/_x",
    "file:///etc/passwd",
    "unix:///tmp/x.sock",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:99999/",
    "http://[::1/",
    "http://" + "a" * 64 + ".example:{port}/",
    "",
]

NAMES = {
    "hooks.example": [GLOBAL_V4],
    "inside.example": ["127.0.0.1"],
    "both.example": [GLOBAL_V4, "127.0.0.1"],
    "six.example": [GLOBAL_V6, "::1"],
    "localhost": ["127.0.0.1"],
}


@pytest.fixture(autouse=True)
def name_server(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Answers for the names of `NAMES` alone, and for what is written in numbers. Tests may change its answers."""
    names = dict(NAMES)
    real = socket.getaddrinfo

    def look_up(host: str, port: Any, *_: Any, **__: Any) -> list[Any]:
        numeric = names.get(host, [host])
        return [found for one in numeric for found in real(one, port, type=socket.SOCK_STREAM,
                                                           flags=socket.AI_NUMERICHOST)]  # fmt: skip

    monkeypatch.setattr(outward.socket, "getaddrinfo", look_up)
    return names


@contextmanager
def receiver(answer: Callable[[socket.socket], None]) -> Iterator[tuple[int, list[socket.socket]]]:
    """A listener on every address of this machine, IPv4 and IPv6: its port, and the connections it has taken."""
    taken: list[socket.socket] = []
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                taken.append(connection)
                with connection, suppress(OSError):
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], taken
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def read_request(connection: socket.socket) -> bytes:
    """A whole request with a body of two bytes."""
    got = b""
    while not got.endswith(b"\r\n\r\n{}"):
        more = connection.recv(65536)
        if not more:
            break
        got += more
    return got


def said(*parts: bytes, pause_s: float = 0.0) -> Callable[[socket.socket], None]:
    """A receiver that takes a request and says so much."""

    def answer(connection: socket.socket) -> None:
        read_request(connection)
        for part in parts:
            connection.sendall(part)
            time.sleep(pause_s)

    return answer


def reason(url: str, **more: Any) -> str:
    with pytest.raises(OutwardError) as caught:
        post(url, b"{}", {}, **more)
    return caught.value.code


def test_hostile_addresses_are_never_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    dialled: list[Any] = []

    class Wire(socket.socket):
        def connect(self, address: Any) -> None:
            dialled.append(address)
            super().connect(address)

    monkeypatch.setattr(outward.socket, "socket", Wire)
    assert len(HOSTILE) >= 50
    with receiver(said(OK)) as (port, taken):
        for url in HOSTILE:
            assert reason(url.format(port=port), deadline_s=5.0) in ("address_not_allowed", "unresolvable"), url
        time.sleep(0.1)
        assert (taken, dialled) == ([], [])
        for host in ("127.0.0.1", "[::1]", "0x7f.1", "localhost"):  # and both would have noticed
            assert post(f"http://{host}:{port}/", b"{}", {}, private=True) == 200
        assert (len(taken), len(dialled)) == (4, 4)


def test_every_answer_of_a_name_server_counts(name_server: dict[str, list[str]]) -> None:
    for inside in ("10.1.2.3", "::1", "fd00::2", "169.254.169.254", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe"):
        name_server["hooks.example"] = [GLOBAL_V4, GLOBAL_V6, inside]
        assert reason("http://hooks.example/") == "address_not_allowed", inside


def test_a_name_is_resolved_once_and_the_answer_is_what_is_connected_to(
    monkeypatch: pytest.MonkeyPatch, name_server: dict[str, list[str]]
) -> None:
    """A name server that answers otherwise the second time is not asked a second time."""
    asked: list[str] = []
    connected: list[Any] = []
    look_up = outward.socket.getaddrinfo

    def rebinding(host: str, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        found = look_up(host, *rest, **more)
        name_server["hooks.example"] = ["127.0.0.1"]
        return found

    class Wire(socket.socket):
        def connect(self, address: Any) -> None:
            connected.append(address[:2])
            raise ConnectionRefusedError

    monkeypatch.setattr(outward.socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(outward.socket, "socket", Wire)
    assert reason("http://hooks.example:8080/") == "refused"
    assert (asked, connected) == (["hooks.example"], [(GLOBAL_V4, 8080)])


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (GLOBAL_V4, True),
        ("8.8.8.8", True),
        (GLOBAL_V6, True),
        (f"::ffff:{GLOBAL_V4}", True),
        (f"64:ff9b::{GLOBAL_V4}", True),
        ("2002:0808:0808::1", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("192.0.0.8", False),
        ("192.0.2.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("::", False),
        ("::1", False),
        ("::127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b:1::8.8.8.8", False),
        ("2002:0a00:0001::1", False),
        ("2001::1", False),
        ("2001:db8::1", False),
        ("3fff::1", False),
        ("fc00::1", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("5f00::1", False),
    ],
)
def test_what_is_global(address: str, expected: bool) -> None:
    assert is_global(address) is expected


def test_an_address_that_plainly_leads_inside_is_known_without_a_name_server() -> None:
    inside = ["http://127.0.0.1/", "http://2130706433/x", "https://[::1]:8/", "http://localhost/", "http://a.LocalHost./",
              "http://10.0.0.1.:80/"]  # fmt: skip
    outside = [f"http://{GLOBAL_V4}/", "https://hooks.example/", "http://localhost.example/"]
    assert [named_inside(url) for url in inside] == [True] * len(inside)
    assert [named_inside(url) for url in outside] == [False] * len(outside)


def test_what_is_sent_is_one_whole_request() -> None:
    got: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        got.append(read_request(connection))
        connection.sendall(OK)

    with receiver(answer) as (port, _):
        assert post(f"http://127.0.0.1:{port}/a b?c=é&d=%20#e", b"{}", {"webhook-id": "evt_1"}, private=True) == 200
    head, body = got[0].split(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    assert (line, body) == ("POST /a%20b?c=%C3%A9&d=%20 HTTP/1.1", b"{}")
    assert {"webhook-id: evt_1", "content-length: 2", "connection: close", f"host: 127.0.0.1:{port}"} <= set(fields)


@pytest.mark.parametrize("status", [200, 204, 301, 302, 307, 400, 410, 500])
def test_every_status_is_an_answer_and_no_redirect_is_followed(status: int) -> None:
    with receiver(said(b"HTTP/1.1 %d X\r\nLocation: http://127.0.0.1:1/\r\n\r\n" % status)) as (port, taken):
        assert post(f"http://127.0.0.1:{port}/", b"{}", {}, private=True) == status
        assert len(taken) == 1


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 99 X\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 " + b"a" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
        b"\0" * 70_000,
    ],
    ids=range(10),
)
def test_what_is_not_http_is_said_so(reply: bytes) -> None:
    with receiver(said(reply)) as (port, _):
        assert reason(f"http://127.0.0.1:{port}/", private=True) == "bad_reply"


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver(said(OK)) as (port, taken), receiver(said(OK)) as (proxy, asked):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        assert post(f"http://127.0.0.1:{port}/", b"{}", {}, private=True) == 200
        assert (len(taken), asked) == (1, [])


def drip(head: bytes) -> Callable[[socket.socket], None]:
    """A receiver that says so much at once, and then a byte every tenth of a second for ever."""

    def answer(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head)
        while True:
            connection.sendall(b"x")
            time.sleep(0.1)

    return answer


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nx: "], ids=["status", "header"])
def test_a_receiver_that_drips_is_left_at_the_deadline(head: bytes) -> None:
    with receiver(drip(head)) as (port, _):
        began_s = time.monotonic()
        assert reason(f"http://127.0.0.1:{port}/", private=True, deadline_s=1.0) == "timeout"
        assert 0.9 < time.monotonic() - began_s < 3


def test_a_status_counts_though_the_body_never_ends() -> None:
    with receiver(drip(b"HTTP/1.1 200 OK\r\n\r\n")) as (port, _):
        began_s = time.monotonic()
        assert post(f"http://127.0.0.1:{port}/", b"{}", {}, private=True, deadline_s=1.0) == 200
        assert time.monotonic() - began_s < 3


def test_of_a_long_reply_so_much_is_read_and_no_more() -> None:
    sent = 0

    def answer(connection: socket.socket) -> None:
        nonlocal sent
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while sent < 1 << 30:
            sent += connection.send(b"x" * 65536)

    with receiver(answer) as (port, _):
        assert post(f"http://127.0.0.1:{port}/", b"{}", {}, private=True) == 200
    assert sent < 32 << 20  # what the kernel's buffers hold


def test_a_receiver_that_says_nothing_is_left_at_the_deadline() -> None:
    done = threading.Event()
    with receiver(lambda _: done.wait(5) and None) as (port, _):
        assert reason(f"http://127.0.0.1:{port}/", private=True, deadline_s=0.5) == "timeout"
        done.set()


def test_a_name_server_that_says_nothing_is_left_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    monkeypatch.setattr(outward.socket, "getaddrinfo", lambda *_, **__: done.wait(5) and [])
    began_s = time.monotonic()
    assert reason("http://hooks.example/", deadline_s=0.5) == "timeout"
    assert time.monotonic() - began_s < 3
    done.set()


def test_a_closed_port_and_an_unknown_name_are_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert reason(f"http://127.0.0.1:{port}/", private=True) == "refused"
    assert reason("http://unknown.example/") == "unresolvable"


def test_the_next_address_is_tried_where_one_takes_no_connection(name_server: dict[str, list[str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        name_server["two.example"] = ["::1", "127.0.0.1"]  # nobody listens on the first
        thread = threading.Thread(target=lambda: said(OK)(listener.accept()[0]))
        thread.start()
        assert post(f"http://two.example:{port}/", b"{}", {}, private=True) == 200
        thread.join()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for hooks.example that nobody but the tests trusts."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    key = path.with_name("key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-days", "2", "-subj", "/CN=x", "-addext", "subjectAltName=DNS:hooks.example",
               "-keyout", str(key), "-out", str(path)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + key.read_text())
    return path


def over_tls(certificate: Path, names: list[str | None]) -> Callable[[socket.socket], None]:
    """A receiver behind TLS, which notes the names it is asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: names.append(name)

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            said(OK)(secured)

    return answer


def test_tls_is_checked_against_the_name(
    monkeypatch: pytest.MonkeyPatch, certificate: Path, name_server: dict[str, list[str]]
) -> None:
    names: list[str | None] = []
    name_server |= {"hooks.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]}
    with receiver(over_tls(certificate, names)) as (port, _):
        assert reason(f"https://hooks.example:{port}/", private=True) == "tls_failed"  # signed by nobody we trust
        trusting = ssl.create_default_context(cafile=str(certificate))
        monkeypatch.setattr(outward, "_tls", lambda: trusting)
        assert post(f"https://hooks.example:{port}/", b"{}", {}, private=True) == 200
        assert reason(f"https://other.example:{port}/", private=True) == "tls_failed"
        assert reason(f"https://127.0.0.1:{port}/", private=True) == "tls_failed"
    assert names[:3] == ["hooks.example", "hooks.example", "other.example"]


def test_plain_http_where_tls_is_asked_for_fails() -> None:
    with receiver(lambda connection: connection.sendall(OK)) as (port, _):
        assert reason(f"https://127.0.0.1:{port}/", private=True) == "tls_failed"
    with receiver(lambda _: time.sleep(2)) as (port, _):
        assert reason(f"https://127.0.0.1:{port}/", private=True, deadline_s=0.5) == "timeout"
