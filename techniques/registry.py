"""Techniques: their names, their tables, and whether they can run here.

A technique is written `name`, `name:argument` or `name:argument,key=value`; values are read as the type
of the setting's default. Rows name their implementation instead of importing it, so that listing what
there is costs no import of torch.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Generic, TypeVar

from techniques.settings import Setting, in_range, quote, read_setting, spell, split, unquote

_MAX_KNOWN = 12

NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


class TechniqueError(ValueError):
    """An unknown technique or setting, or a row that is wrong."""


class CannotApply(TechniqueError):
    """A technique that this model or machine does not support: its stage is skipped, not failed."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known word, else the first few known words.

    Of words about as near it is the one of the same length: swapped letters are the most common typo.
    """
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if close:
        alike = {name: difflib.SequenceMatcher(None, name, word).ratio() for name in close}
        near = [name for name in close if alike[name] > max(alike.values()) - 0.1]
        return f"; did you mean {min(near, key=lambda name: abs(len(name) - len(word)))!r}?"
    return f"; known: {first_few(known)}" if known else ""


def first_few(words: Sequence[str]) -> str:
    """Join the words in one line; of many, name the first and count the rest."""
    more = f" and {len(words) - _MAX_KNOWN} more" if len(words) > _MAX_KNOWN else ""
    return ", ".join(words[:_MAX_KNOWN]) + more


@dataclass(frozen=True)
class Obstacle:
    """Why a technique cannot run here, and what would change that.

    `command` adds what is missing; `hardware` is what no command can add.
    """

    reason: str
    command: str = ""
    hardware: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.command}" if self.command else self.reason


@dataclass(frozen=True)
class Row:
    """One technique: what it is, what implements it, its settings with their defaults, what it needs.

    `implementation` is `package.module:attribute` or `path/to/file.py:attribute`. `argument` names the
    setting that bare text after the colon sets. `ranges` bound settings, each as `[0, 1)`; those of
    words list them, as `fast, exact`. `needs` are modules, looked for without importing them; `install` is
    the command that adds them. `check` refers to a light function that returns an `Obstacle`, or only its
    reason as text, or None; it is asked even where `needs` are missing.
    """

    name: str
    implementation: str
    about: str
    defaults: Mapping[str, Setting] = field(default_factory=dict)
    argument: str | None = None
    needs: tuple[str, ...] = ()
    install: str = ""
    check: str | None = None
    ranges: Mapping[str, str] = field(default_factory=dict)

    def check_traits(self) -> None:
        """Raise ValueError where a trait is wrong."""
        if "{" not in self.implementation:  # a workload's may be one of its settings
            split_reference(self.implementation)
        for key, value in self.defaults.items():
            if not isinstance(value, bool | int | float | str):
                raise ValueError(
                    f"the default of {key!r} is {value!r}; it must be a string, a number or a bool"
                )
        for key in [*self.ranges, *([self.argument] if self.argument else [])]:
            if key not in self.defaults:
                raise ValueError(f"{key!r} has no default")
            self.read(key, spell(self.defaults[key]))

    def read(self, key: str, text: str) -> Setting:
        """Read a setting's value; raises ValueError that says what would be right."""
        value = read_setting(text, self.defaults[key])
        range_ = self.ranges.get(key)
        if range_ and isinstance(value, str):
            choices = [choice.strip() for choice in range_.split(",")]
            if value not in choices:
                raise ValueError(f"{text!r} must be one of {range_}")
        elif range_ and not in_range(value, range_):
            raise ValueError(f"{text!r} is out of its range {range_}")
        return value

    def obstacle(self) -> Obstacle | None:
        """Say what keeps this from running here, or None; missing hardware first: no command adds it."""
        found = load_reference(self.check)() if self.check else None
        unmet = found if isinstance(found, Obstacle) else Obstacle(str(found)) if found else None
        if unmet is not None and unmet.hardware:
            return unmet
        missing = [module for module in self.needs if importlib.util.find_spec(module) is None]
        if missing:
            return Obstacle(f"requires the package {', '.join(missing)}", self.install)
        return unmet

    def unavailable(self) -> str | None:
        """Say in one line why this cannot run here and what would change that, or None where it can."""
        obstacle = self.obstacle()
        return str(obstacle) if obstacle else None


RowT = TypeVar("RowT", bound=Row)

REFERENCED: set[str] = set()
"""Names of the modules that references were looked up in; clear it to learn what is used from then on."""

_FOLDERS: set[str] = set()


@dataclass(frozen=True)
class Technique(Generic[RowT]):
    """A row with every setting filled in."""

    row: RowT
    settings: Mapping[str, Setting]

    @property
    def name(self) -> str:
        """Return the row's name."""
        return self.row.name

    @cached_property
    def text(self) -> str:
        """The canonical spelling: the argument always, other settings where they differ from defaults."""
        parts = []
        if self.row.argument:
            parts.append(_written(self.settings[self.row.argument], "="))
        parts += [
            f"{key}={_written(value)}"
            for key, value in self.settings.items()
            if key != self.row.argument and value != self.row.defaults[key]
        ]
        return f"{self.row.name}:{','.join(parts)}" if parts else self.row.name

    def load(self) -> Any:
        """Import and return what implements this technique; raises as `load_reference` does."""
        return load_reference(self.row.implementation)

    def create(self, *arguments: Any) -> Any:
        """Call what implements this technique with the arguments and the technique's settings."""
        return self.load()(*arguments, **self.settings)


class Registry(Generic[RowT]):
    """The table of one axis. Third parties add rows through the entry-point group or a plug-in file."""

    def __init__(self, axis: str, row_type: type[RowT], entry_points: str) -> None:
        self.axis = axis
        self._row_type = row_type
        self._entry_points = entry_points
        self._rows: dict[str, RowT] = {}
        self._third_parties_loaded = False

    def add(self, name: str, implementation: str, *, about: str, **traits: Any) -> RowT:
        """Add a row. Raises TechniqueError on a name that is taken or cannot be written in a matrix."""
        if not NAME.fullmatch(name):
            raise TechniqueError(f"{self.axis} {name!r}: a name has only a-z, 0-9, '.' and '-'")
        if name in self._rows:
            raise TechniqueError(f"{self.axis} {name!r} is already registered: {self._rows[name].about}")
        known = [entry.name for entry in fields(self._row_type)]
        for trait in traits:
            if trait not in known:
                raise TechniqueError(f"{self.axis} {name!r}: unknown trait {trait!r}{nearest(trait, known)}")
        row = self._row_type(name=name, implementation=implementation, about=about, **traits)
        try:
            row.check_traits()
        except ValueError as error:
            raise TechniqueError(f"{self.axis} {name!r}: {error}") from None
        self._rows[name] = row
        return row

    def rows(self) -> Mapping[str, RowT]:
        """Return every row by its name, in the order they were added."""
        if not self._third_parties_loaded:
            self._third_parties_loaded = True
            for entry in entry_points(group=self._entry_points):
                entry.load()(self)
        return MappingProxyType(self._rows)

    def get(self, name: str) -> RowT:
        """Return the row of that name; raises TechniqueError that names the nearest one."""
        rows = self.rows()
        if name not in rows:
            raise TechniqueError(f"unknown {self.axis} {name!r}{nearest(name, rows)}")
        return rows[name]

    def parse(self, text: str) -> Technique[RowT]:
        """Read `name[:argument][,key=value...]`, fill in the defaults, check names and types.

        A value with one of `,=+|` stands in double quotes; a file of that name may be the argument without.
        Raises TechniqueError for an unknown name or setting, a setting given twice, and a value of another
        type or out of its range.
        """
        name, _, rest = text.strip().partition(":")
        row = self.get(name.strip())
        settings = dict(row.defaults)
        given: set[str] = set()
        for position, part in enumerate(piece for piece in split(rest, ",") if piece):
            key, *values = split(part, "=", 1)
            value = "".join(values)
            if not values or (key not in settings and position == 0 and Path(part).exists()):
                if position or row.argument is None:
                    known = nearest("", settings)
                    raise TechniqueError(f"{self.axis} {text!r}: {part!r} must be key=value{known}")
                key, value = row.argument, part
            if key not in settings:
                known = f"{nearest(key, settings)}; a name with ',' or '=' in it stands in double quotes"
                raise TechniqueError(f"{self.axis} {text!r}: unknown setting {key!r}{known}")
            if key in given:
                raise TechniqueError(f"{self.axis} {text!r}: {key} is given twice")
            given.add(key)
            try:
                settings[key] = row.read(key, unquote(value))
            except ValueError as error:
                raise TechniqueError(f"{self.axis} {text!r}: {key}: {error}") from None
        return Technique(row, MappingProxyType(settings))

    def default(self, name: str) -> Technique[RowT]:
        """Return the technique at its default settings; raises TechniqueError for an unknown name."""
        return Technique(self.get(name), MappingProxyType(dict(self.get(name).defaults)))


def _written(value: Setting, also: str = "") -> str:
    return quote(value, also) if isinstance(value, str) else spell(value)


def split_reference(reference: str) -> tuple[str, str]:
    """Split `module:attribute` or `file.py:attribute` into place and attribute.

    Raises TechniqueError for text of another form.
    """
    place, colon, attribute = reference.rpartition(":")
    if not colon or not place or not attribute:
        raise TechniqueError(f"{reference!r} must be package.module:name or file.py:name")
    return place, attribute


def load_reference(reference: str) -> Any:
    """Import what `module:attribute` or `file.py:attribute` names.

    Raises TechniqueError for a file or attribute that does not exist, ImportError for a missing module.
    """
    place, attribute = split_reference(reference)
    module = load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    REFERENCED.add(module.__name__)
    if not hasattr(module, attribute):
        known = [name for name in vars(module) if not name.startswith("_")]
        raise TechniqueError(f"{place} has no {attribute!r}{nearest(attribute, known)}")
    return getattr(module, attribute)


def load_file(path: Path) -> ModuleType:
    """Import a Python file by its path, once for each content.

    As for a script, its imports are searched in its own folder first. Raises TechniqueError where there is no
    such file, and whatever its code raises.
    """
    if not path.is_file():
        raise TechniqueError(f"{path}: no such file")
    path = path.resolve()
    digest = hashlib.sha256(os.fsencode(path) + b"\0" + path.read_bytes()).hexdigest()
    name = f"{re.sub(r'[^0-9a-zA-Z]', '_', path.stem)}_{digest[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TechniqueError(f"{path}: not a Python file")
    _look_first_in(path.parent)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _look_first_in(folder: Path) -> None:
    """Put a folder first on `sys.path`, and forget modules of the same names from such folders."""
    place = str(folder)
    _FOLDERS.add(place)
    sys.path[:] = [place, *(entry for entry in sys.path if entry != place)]
    importlib.invalidate_caches()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        own = Path(file).parent if isinstance(file, str) else None
        if "." in name or own is None or own == folder or not {str(own), str(own.parent)} & _FOLDERS:
            continue
        if (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file():
            _forget(name)


def _forget(package: str) -> None:
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
