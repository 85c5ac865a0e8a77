"""`python -m bench`: run the command, turn errors into one line and an exit code."""

from __future__ import annotations

import errno
import sys

from bench.errors import BenchError
from bench.results_folder import FULL
from techniques.registry import TechniqueError

BAD_USE = 2
_ADVICE = {
    **dict.fromkeys(FULL, "; free some, and the same command goes on: nothing is lost"),
    errno.EROFS: "; give a writable folder",
}


def main() -> None:
    """Run the command line; exits with 0, 1 (something failed or regressed), 2 (bad use) or 130."""
    from bench.cli import app

    try:
        app(prog_name="bench")
    except (BenchError, TechniqueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(BAD_USE)
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "")
        print(f"bench: {error.filename or 'system'}: {error.strerror or error}{advice}", file=sys.stderr)
        sys.exit(BAD_USE)


if __name__ == "__main__":
    main()
