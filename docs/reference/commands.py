"""The page of the command line, from typer."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_origin

from bench.commands import Group
from bench.matrix.described import type_name
from docs.reference.markdown import assemble, code, prose, table

INTRODUCTION = """Call the command line as `bench`, or as `python -m bench` with the same arguments.
`bench COMMAND --help` prints the text below.

Exit codes: 0, all is well; 1, something was measured and is not well (a failed stage, a regression, a broken
limit); 2, the command was wrong, and one line says why; 3, with `--strict`, nothing got worse but something
can't be told; 130, you pressed Ctrl-C."""


def find_commands() -> Iterator[tuple[str, str, Any]]:
    """Yield every command's group, its name with its parent's, and typer's object for it."""
    from typer.main import get_command

    from bench.cli import PARENTS, app

    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        if name in PARENTS:
            for child, grandchild in command.commands.items():
                yield PARENTS[name][0], f"{name} {child}", grandchild
        else:
            yield command.rich_help_panel, name, command


def page() -> str:
    """Return the page."""
    groups: dict[str, list[str]] = {group: [] for group in get_args(Group)}
    for group, name, command in find_commands():
        groups[group].append(_section(name, command))
    parts = [f"## {group}\n\n" + "\n\n".join(sections) for group, sections in groups.items() if sections]
    return assemble("The command line", INTRODUCTION, _options_of_all(), *parts)


def own_options() -> list[Any]:
    """Return the options that stand before a command."""
    from typer.main import get_command

    from bench.cli import app

    return [parameter for parameter in get_command(app).params if parameter.name != "help"]


def _options_of_all() -> str:
    rows = [(_names(parameter), prose(parameter.help or "")) for parameter in own_options()]
    return "These stand before the command, as in `bench --version`:\n\n" + table(("option", ""), rows)


def _section(name: str, command: Any) -> str:
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
    options = [parameter for parameter in shown if parameter.param_type_name == "option"]
    words = [name, *map(_metavar, arguments), *(["[OPTIONS]"] if options else [])]
    hints = typing.get_type_hints(_function(command))
    rows = [_row(parameter, hints[parameter.name]) for parameter in (*arguments, *options)]
    header = ("argument or option", "type", "default", "what it does")
    text = "\n\n".join(" ".join(part.split()) for part in prose(command.help or "").split("\n\n"))
    parts = [
        f"### bench {name}",
        f"`bench {' '.join(words)}`",
        text,
        *([table(header, rows)] if rows else []),
    ]
    return "\n\n".join(parts)


def _function(command: Any) -> Callable[..., Any]:
    found = command.callback
    while hasattr(found, "__wrapped__"):
        found = found.__wrapped__
    return found


def _names(option: Any) -> str:
    return ", ".join(code(word) for word in (*option.opts, *option.secondary_opts))


def _metavar(argument: Any) -> str:
    name = argument.name.upper()
    return name if argument.required else f"[{name}]"


def _row(parameter: Any, hint: Any) -> tuple[str, str, str, str]:
    is_argument = parameter.param_type_name == "argument"
    names = code(_metavar(parameter)) if is_argument else _names(parameter)
    default = parameter.default
    unsaid = default is None or default is False or callable(default)
    shown = "required" if parameter.required else "" if unsaid else code(default)
    kind = (
        "flag"
        if hint is bool
        else f"{type_name(_once(hint))}, repeatable"
        if parameter.multiple
        else type_name(hint)
    )
    return names, kind, shown, prose(parameter.help or "")


def _once(hint: Any) -> Any:
    """Return the type of one value of a repeatable option, of `list[str] | None` for example."""
    lists = [part for part in (hint, *get_args(hint)) if get_origin(part) is list]
    return get_args(lists[0])[0] if lists else hint
