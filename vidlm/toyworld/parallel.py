"""Gradients from several processes at once: Python's threads would get in each other's way at steps this small.

    weights   one file, mapped into every process      the trainer writes it, lanes read it
    grads     one file a lane                          the lane writes it, the trainer sums them

A step: the trainer tells every lane how many batches to take, waits for all of them, and moves the weights while they
wait. Knows modules and processes; not what is learnt.
"""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import torch
from torch import Tensor, nn

Descend = Callable[[], dict[str, float]]
"""Adds one batch's gradients to those gathered so far and returns figures about it."""
Build = Callable[[int], tuple[nn.Module, Descend]]
"""What a lane does, by its number: a learner of the trainer's shape, and how it descends. Has to be picklable."""


class Lanes:
    """Processes that compute gradients of the trainer's learner. A context manager: they end with it.

    They also end when the trainer does, however it does. Their files have no names any more once every lane has mapped
    them, so a run that is killed leaves nothing behind. Raises `RuntimeError` if a lane dies before that.
    """

    def __init__(self, learner: nn.Module, count: int, build: Build) -> None:
        self._parameters = list(learner.parameters())
        self._size = sum(weight.numel() for weight in self._parameters)
        self._pipes: list[Connection] = []
        self._processes = []
        room = 4 * self._size * (count + 1)
        with tempfile.TemporaryDirectory(prefix="vidlm-train-", dir=_memory(room)) as name:
            folder = Path(name)
            weights = _mapped(folder / "weights", self._size)
            weights.copy_(torch.cat([weight.detach().cpu().flatten() for weight in self._parameters]))
            _lay_over(self._parameters, weights)
            self._grads = [_mapped(folder / f"grads{number}", self._size) for number in range(count)]
            context = multiprocessing.get_context("spawn")  # a fork would inherit thread pools in an unknown state
            for number in range(count):
                mine, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, build, number, folder, self._size), daemon=True)
                process.start()
                theirs.close()
                self._pipes.append(mine)
                self._processes.append(process)
            for pipe in self._pipes:
                _heard(pipe)

    def descend(self, batches: int) -> list[dict[str, float]]:
        """The summed gradients of `batches` batches, as `.grad` of the learner's weights, and each batch's figures.

        Weights that no batch reached have none. Raises `RuntimeError` if a lane has died.
        """
        lanes = len(self._pipes)
        figures: list[dict[str, float]] = []
        reached = [False] * len(self._parameters)
        for number, pipe in enumerate(self._pipes):
            _tell(pipe, batches // lanes + (number < batches % lanes))
        for pipe in self._pipes:
            found, touched = _heard(pipe)
            figures += found
            reached = [one or other for one, other in zip(reached, touched, strict=True)]
        total = self._grads[0].clone() if lanes == 1 else torch.stack(self._grads).sum(0)
        for weight, grad, there in zip(self._parameters, _parts(self._parameters, total), reached, strict=True):
            weight.grad = grad if there else None
        return figures

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(timeout=10)


_DEAD: Final = "a training process has died; --resume goes on from the last state kept"


def _tell(pipe: Connection, batches: int) -> None:
    try:
        pipe.send(batches)
    except BrokenPipeError as error:
        raise RuntimeError(_DEAD) from error


def _heard(pipe: Connection) -> Any:
    """What a lane says next."""
    try:
        return pipe.recv()
    except (EOFError, ConnectionResetError) as error:
        raise RuntimeError(_DEAD) from error


def _work(pipe: Connection, build: Build, number: int, folder: Path, size: int) -> None:
    """A lane's life: until the trainer closes the pipe or is gone."""
    torch.set_num_threads(1)
    learner, descend = build(number)
    parameters = list(learner.parameters())
    _lay_over(parameters, _mapped(folder / "weights", size))
    grads = _parts(parameters, _mapped(folder / f"grads{number}", size))
    with suppress(EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):  # nobody is there any more
        pipe.send("mapped")
        while True:
            figures = [descend() for _ in range(pipe.recv())]
            touched = [weight.grad is not None for weight in parameters]
            for weight, grad in zip(parameters, grads, strict=True):
                grad.zero_() if weight.grad is None else grad.copy_(weight.grad)
            learner.zero_grad(set_to_none=True)
            pipe.send((figures, touched))


def _memory(room: int) -> str | None:
    """A folder in memory with `room` bytes to spare, so that nothing waits for a disk; None where there is none."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() and shutil.disk_usage(shared).free > 2 * room else None


def _mapped(path: Path, size: int) -> Tensor:
    """float32 `[size]`, the file's bytes: what one process writes the others see."""
    return torch.from_file(str(path), shared=True, size=size, dtype=torch.float32)


def _parts(parameters: list[nn.Parameter], flat: Tensor) -> list[Tensor]:
    sizes = [weight.numel() for weight in parameters]
    return [part.view(weight.shape) for weight, part in zip(parameters, torch.split(flat, sizes), strict=True)]


def _lay_over(parameters: list[nn.Parameter], flat: Tensor) -> None:
    """Let the weights live in `flat`."""
    for weight, part in zip(parameters, _parts(parameters, flat), strict=True):
        weight.data = part
