"""Discovery of the slices' modules by file name, such as `router.py`, `models.py` and `cli.py`.

So a slice can be added or deleted without registering it anywhere.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

KERNEL = "app.accounts"
FEATURES = "app.features"


def slices() -> list[str]:
    """Return the import names of all slices."""
    features = iter_modules(import_module(FEATURES).__path__, f"{FEATURES}.")
    return [KERNEL, *sorted(module.name for module in features if module.ispkg)]


def discover(name: str) -> Iterator[ModuleType]:
    """Import and yield the modules of that name, from the slices that have one."""
    for slice_ in slices():
        if find_spec(f"{slice_}.{name}"):
            yield import_module(f"{slice_}.{name}")


@cache
def declared(module: str, name: str) -> Sequence[Any]:
    """Return what the slices declare in the lists of that name, in their modules `module`."""
    return [each for found in discover(module) for each in getattr(found, name, ())]


def optional(name: str) -> ModuleType | None:
    """Import a module that can be deleted; return None where it was."""
    return import_module(name) if find_spec(name) else None


def folders(name: str) -> Iterator[Path]:
    """Yield the folders of that name, such as `templates/mail`, of the slices that have one."""
    for slice_ in slices():
        for path in import_module(slice_).__path__:
            if (folder := Path(path) / name).is_dir():
                yield folder
