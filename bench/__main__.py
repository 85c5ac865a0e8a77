"""`python -m bench`: run the command, turn errors into one line and an exit code."""

from __future__ import annotations

import errno
import io
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from bench.errors import BenchError
from bench.execution.platform import require_linux
from bench.formatting import one_line, visible
from techniques.registry import TechniqueError

BAD_USE = 2
INTERNAL = 70
"""An error of this program, as sysexits.h has it: not 1, which a check takes for a regression."""

_ANYWHERE = {"--help", "--version"}


def main() -> None:
    """Run the command line.

    Exits with 0, 1 (something failed or regressed), 2 (bad use), 3 (can't tell), 70 (an error of this
    program) or 130 (interrupted).
    """
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal's encoding lacks is escaped instead of ending the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        _check_system(sys.argv[1:])
        from bench.cli import app

        sys.exit(app(prog_name="bench", standalone_mode=False) or 0)
    except (BenchError, TechniqueError) as error:
        _complain(f"bench: {error}")
        sys.exit(BAD_USE)
    except OSError as error:
        _complain(f"bench: {error.filename or 'system'}: {error.strerror or error}{_advice(error)}")
        sys.exit(BAD_USE)
    except Exception as error:
        # Typer may bring its own copy of click, so its errors are recognized by their methods.
        if not hasattr(error, "format_message"):
            traceback.print_exc()
            sys.exit(INTERNAL)
        text = _usage_text(error)
        # Without a command, the text is the whole help.
        print(
            visible(text) if error.__class__.__name__ == "NoArgsIsHelpError" else one_line(text),
            file=sys.stderr,
        )
        sys.exit(BAD_USE)


def _check_system(words: Sequence[str]) -> None:
    """Raise BenchError if the command requires Linux and this is another system; help and `list` do not."""
    command = next((word for word in words if not word.startswith("-")), "list")
    if command != "list" and not _ANYWHERE & set(words):
        require_linux()


def _advice(error: OSError) -> str:
    from bench.results.folder import FULL

    if error.errno in FULL:
        return "; free some and run the same command again: nothing is lost"
    return "; choose a writable folder" if error.errno == errno.EROFS else ""


def _complain(text: str) -> None:
    print(one_line(text), file=sys.stderr)


def _usage_text(error: Any) -> str:
    """Return what is wrong with the command line in one line; the help where there is no command at all."""
    message = str(error.format_message()).strip()
    place = error.ctx.command_path if getattr(error, "ctx", None) else "bench"
    return message if "\n" in message else f"{place}: {message.rstrip('.')}; see `{place} --help`"


if __name__ == "__main__":
    main()
