"""Every page shows one frozen value: templates read nothing else of it, and nothing of it is made in vain."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from types import ModuleType

from jinja2 import nodes

from api.dashboard import contexts, pages, rendering


def modules() -> list[ModuleType]:
    names = [found.name for found in pkgutil.iter_modules(pages.__path__)]
    return [contexts, *(importlib.import_module(f"api.dashboard.pages.{name}") for name in names)]


def shown() -> dict[str, type]:
    """The dataclasses that pages and parts are made from, by name."""
    found = {}
    for module in modules():
        for name, value in vars(module).items():
            ours = inspect.isclass(value) and value.__module__ == module.__name__
            if ours and dataclasses.is_dataclass(value):
                found[f"{module.__name__}.{name}"] = value
    return found


def read(of: str | None = None) -> set[str]:
    """Every X that a template reads as `of.X`; of anything where that is None."""
    environment = rendering.environment()
    found: set[str] = set()
    for name in environment.list_templates(["html"]):
        assert environment.loader is not None
        source, *_ = environment.loader.get_source(environment, name)
        for node in environment.parse(source).find_all(nodes.Getattr):
            if of is None or (isinstance(node.node, nodes.Name) and node.node.name == of):
                found.add(node.attr)
    return found


def test_contexts_are_frozen_and_hold_what_they_say() -> None:
    assert len(shown()) >= 15
    for name, value in shown().items():
        assert value.__dataclass_params__.frozen, name  # type: ignore[attr-defined]
        assert "__slots__" in vars(value), name


def test_templates_read_only_what_some_context_has() -> None:
    known = {name for value in shown().values() for name in dir(value) if not name.startswith("_")}
    assert read("page") - known == set()


def test_nothing_is_made_in_vain() -> None:
    for name, value in shown().items():
        if not name.endswith(("Page", "Part")):
            continue  # parts of pages may serve their routes alone
        made = {field.name for field in dataclasses.fields(value)}
        source = inspect.getsource(value)
        used = {field for field in made if f"self.{field}" in source or f"page.{field}" in source}
        assert made - read() - used == set(), name
