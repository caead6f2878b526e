"""Progress bars and tables: by rich where it is installed, in plain text otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

__all__ = ["heading", "print_table", "progress"]

BAR = 30


def _rich() -> bool:
    try:
        import rich  # noqa: F401
    except ImportError:
        return False
    return True


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """Show a progress bar.

    Yields ``update(done, note)``; the note appears behind the bar.  Where the output is no terminal, only
    the finished bar is printed.
    """
    if sys.stdout.isatty() and _rich():
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(BAR),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns) as bar:
            task = bar.add_task(label, total=total, note="")

            def advance(done: int, note: str = "") -> None:
                bar.update(task, completed=done, note=note)

            yield advance
        return

    line = _bar(label, 0, total, "")

    def draw(done: int, note: str = "") -> None:
        nonlocal line
        line = _bar(label, done, total, note)
        if sys.stdout.isatty():
            print("\r" + line, end="", flush=True)

    try:
        yield draw
    finally:
        print(("\r" if sys.stdout.isatty() else "") + line)


def _bar(label: str, done: int, total: int, note: str) -> str:
    filled = BAR * done // max(total, 1)
    return f"{label} [{'#' * filled}{'.' * (BAR - filled)}] {done}/{total} {note}".ljust(78)


def heading(text: str) -> None:
    """Print a heading after an empty line."""
    print(f"\n{text}\n{'-' * len(text)}")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows of values in columns."""
    words = [[str(v) for v in row] for row in rows]
    if sys.stdout.isatty() and _rich():
        from rich.console import Console
        from rich.table import Table

        table = Table(*columns)
        for row in words:
            table.add_row(*row)
        Console().print(table)
        return
    widths = [max(len(row[k]) for row in [list(columns), *words]) for k in range(len(columns))]
    for row in [list(columns), ["-" * w for w in widths], *words]:
        print("  ".join(word.ljust(w) for word, w in zip(row, widths, strict=True)).rstrip())
