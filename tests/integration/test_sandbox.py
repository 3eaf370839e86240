"""The child that reads untrusted bytes: bounded, alone, blind to the machine, and gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vidlm.errors import SettingsError, ToolError
from vidlm.video import sandbox
from vidlm.video.confine import LANDLOCK, LAYERS, NAMESPACES, SECCOMP
from vidlm.video.scratch import scratch_folder

HIDING = [layer for layer in (NAMESPACES, LANDLOCK) if layer in sandbox.layers()]
needs_seccomp = pytest.mark.skipif(SECCOMP not in sandbox.layers(), reason="this kernel has no seccomp filter for us")


def python(code: str, folder: Path, **limits: float) -> sandbox.Finished:
    confinement = sandbox.Confinement(**{"deadline_s": 20.0, **limits})  # type: ignore[arg-type]
    return sandbox.run([sys.executable, "-I", "-c", code], folder=folder, confinement=confinement)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The sandbox with one layer alone, as on a machine that has no other."""
    layer = str(request.param)
    monkeypatch.setattr(sandbox, "layers", lambda: (layer,))
    return layer


class TestEverywhere:
    """What holds on every system, whatever its kernel has."""

    def test_it_inherits_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VIDLM_SECRET", "x")
        code = (
            "import os, sys, json; print(json.dumps([dict(os.environ), os.getcwd(), sys.stdin.read(), os.getsid(0)]))"
        )
        environment, cwd, stdin, session = json.loads(python(code, tmp_path).stdout)
        assert not set(environment) - {"LC_CTYPE"}  # Python itself sets it
        assert (Path(cwd), stdin) == (tmp_path, "")
        assert session != os.getsid(0)

    def test_a_hanging_family_dies_at_the_deadline(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sandbox, "layers", lambda: ())  # seccomp would not let it have a family
        code = "import os, time; open('pid', 'w').write(str(os.fork() or os.getpid())); time.sleep(60)"
        started = time.monotonic()
        finished = python(code, tmp_path, deadline_s=1.0)
        assert finished.timed_out
        assert time.monotonic() - started < 4
        states = subprocess.run(
            ["ps", "-o", "stat=", "-p", (tmp_path / "pid").read_text()], capture_output=True, check=False
        )
        assert not states.stdout.strip() or states.stdout.strip().startswith(b"Z")  # an orphan is init's to reap

    def test_memory_files_and_processor_are_limited(self, tmp_path: Path) -> None:
        assert "MemoryError" in python("bytes(10**9)", tmp_path, memory_bytes=2**29).stderr
        assert "MemoryError" in python("bytearray(3 << 30)", tmp_path).stderr
        assert python("open('x', 'wb').write(bytes(10**6))", tmp_path, file_bytes=10**5).code != 0
        assert python("while True: pass", tmp_path, deadline_s=0.3).timed_out

    def test_it_can_write_into_its_folder_and_start_threads(self, tmp_path: Path) -> None:
        code = (
            "import os, threading; t = threading.Thread(target=lambda: open('a', 'w').write('x')); t.start(); t.join();"
            "os.replace('a', 'b') if False else None; print(os.listdir('.')); os.remove('a')"
        )
        finished = python(code, tmp_path)
        assert finished.stdout == b"['a']\n", finished.stderr
        assert not list(tmp_path.iterdir())

    def test_what_cannot_start_is_our_fault(self, tmp_path: Path) -> None:
        with pytest.raises(ToolError, match="cannot start nothing"):
            sandbox.run(["/nowhere/nothing"], folder=tmp_path, confinement=sandbox.Confinement(deadline_s=5))


@pytest.mark.parametrize("only", HIDING, indirect=True)
class TestFiles:
    """Namespaces and Landlock each keep the machine's files away by themselves."""

    def test_only_what_was_granted_can_be_read(self, only: str, tmp_path: Path) -> None:
        granted, database = tmp_path / "granted", tmp_path / "vidlm.db"
        granted.write_text("for you")
        database.write_text("not for you")
        work = tmp_path / "work"
        work.mkdir()
        code = (
            "import sys\n"
            "for path in sys.argv[1:]:\n"
            "    try: print(open(path).read(7))\n"
            "    except OSError as exc: print(type(exc).__name__)\n"
        )
        program = [sys.executable, "-I", "-c", code, str(granted), str(database), "/etc/passwd"]
        confinement = sandbox.Confinement(deadline_s=20, read=(granted,))
        finished = sandbox.run(program, folder=work, confinement=confinement)
        refusal = "FileNotFoundError" if only == NAMESPACES else "PermissionError"
        assert finished.stdout.decode().split("\n")[:3] == ["for you", refusal, refusal], finished.stderr

    @pytest.mark.usefixtures("only")
    def test_nothing_outside_its_folder_can_be_written(self, tmp_path: Path) -> None:
        granted, work = tmp_path / "granted", tmp_path / "work"
        granted.write_text("for you")
        work.mkdir()
        places = [str(granted), str(tmp_path / "new"), f"{sys.prefix}/new", "/new"]
        code = (
            "import sys\n"
            "for path in sys.argv[1:]:\n"
            "    try: open(path, 'a').write('x'); print('written')\n"
            "    except OSError: print('refused')\n"
        )
        finished = sandbox.run(
            [sys.executable, "-I", "-c", code, *places],
            folder=work,
            confinement=sandbox.Confinement(deadline_s=20, read=(granted,)),
        )
        assert finished.stdout.split() == [b"refused"] * len(places), finished.stderr
        assert granted.read_text() == "for you"


class TestNetworkAndProcesses:
    """What seccomp refuses by itself, and a network namespace as well."""

    CONNECT = "import socket; socket.create_connection(('127.0.0.1', {port}), 2); print('connected')"

    @pytest.mark.parametrize(
        "only", [layer for layer in (NAMESPACES, SECCOMP) if layer in sandbox.layers()], indirect=True
    )
    def test_it_cannot_connect(self, only: str, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            finished = python(self.CONNECT.format(port=listener.getsockname()[1]), tmp_path)
        assert finished.code == 1, only
        assert b"connected" not in finished.stdout

    @needs_seccomp
    @pytest.mark.parametrize("only", [SECCOMP], indirect=True)
    @pytest.mark.parametrize(
        "code",
        [
            "import os; os.fork()",
            "import subprocess; subprocess.run(['/bin/true'])",
            "import os; os.kill(os.getppid(), 0)",
            "import os; os.setsid()",
            "import os; os.chmod('.', 0o777)",
            "import ctypes, os; l = ctypes.CDLL(None, use_errno=True); l.ptrace(0, 0, 0, 0) and 1 / 0",
        ],
    )
    def test_it_has_no_company_and_changes_nothing(self, only: str, code: str, tmp_path: Path) -> None:
        finished = python(code, tmp_path)
        assert finished.code == 1, only
        assert "PermissionError" in finished.stderr or "ZeroDivisionError" in finished.stderr

    @needs_seccomp
    def test_a_fork_bomb_does_not_go_off(self, tmp_path: Path) -> None:
        started = time.monotonic()
        finished = python("import os\nwhile True: os.fork()", tmp_path)
        assert finished.code == 1
        assert time.monotonic() - started < 10


class TestRequire:
    """`VIDLM_SANDBOX=require` is satisfied by enough layers and says what is missing."""

    @pytest.mark.parametrize(
        ("have", "enough"),
        [
            (LAYERS, True),
            ((LANDLOCK, SECCOMP), True),
            ((NAMESPACES, SECCOMP), True),
            ((NAMESPACES, LANDLOCK), False),
            ((SECCOMP,), False),
            ((), False),
        ],
    )
    def test_what_is_enough(self, have: tuple[str, ...], enough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sandbox, "layers", lambda: have)
        monkeypatch.setattr(sandbox, "_trial", lambda _: "Operation not permitted")
        if enough:
            sandbox.require()
            return
        with pytest.raises(SettingsError, match="Operation not permitted") as caught:
            sandbox.require()
        assert all(layer in caught.value.detail for layer in LAYERS if layer not in have)

    def test_a_layer_that_was_planned_and_fails_keeps_the_program_from_starting(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sandbox, "layers", lambda: (NAMESPACES,))
        monkeypatch.setattr(sandbox, "_PROCESSES", "many")  # no such limit
        with pytest.raises(ToolError, match="cannot start python"):
            python("print('started')", tmp_path)


class TestScratch:
    """Work folders go with whoever made them."""

    def test_it_is_gone_afterwards_also_after_an_error(self, tmp_path: Path) -> None:
        def fail() -> None:
            with scratch_folder("work-", tmp_path) as folder:
                (folder / "file").write_text("x")
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert not list(tmp_path.iterdir())

    def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(self, tmp_path: Path) -> None:
        code = (
            "import sys, time\nfrom pathlib import Path\nfrom vidlm.video.scratch import scratch_folder\n"
            "with scratch_folder('work-', Path(sys.argv[1])) as folder:\n"
            "    (folder / 'file').write_text('x'); print('made', flush=True); time.sleep(60)\n"
        )
        children = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
            )
            for _ in range(2)
        ]
        try:
            for child in children:
                assert child.stdout is not None
                assert child.stdout.readline() == b"made\n"
            left = {int(folder.stat().st_ino) for folder in tmp_path.iterdir()}
            for folder in tmp_path.iterdir():  # as if it had been made long ago
                os.utime(folder, (1, 1))
            children[0].send_signal(signal.SIGKILL)
            children[0].wait()
            with scratch_folder("work-", tmp_path) as mine:
                others = {int(folder.stat().st_ino) for folder in tmp_path.iterdir() if folder != mine}
                assert len(others) == 1
                assert others < left
        finally:
            for child in children:
                child.kill()
                child.wait()
                assert child.stdout is not None
                child.stdout.close()
