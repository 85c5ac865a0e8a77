"""Tables of scores as Markdown, as they stand in the documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], say: Callable[[str], None] = print
) -> None:
    """Print rows under headings as a Markdown table, each row as soon as it is there."""
    say(f"| {' | '.join(headings)} |")
    say("|---" * len(headings) + "|")
    for row in rows:
        say(f"| {' | '.join(row)} |")
