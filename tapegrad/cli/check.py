"""``python -m tapegrad check``: every derivative against finite differences."""

from __future__ import annotations

import sys

from tapegrad.cli.show import print_table, progress

__all__ = ["run"]


def run(names: list[str], order: int, seed: int) -> int:
    """Check the table; return 0 if everything agrees, else 1."""
    from tapegrad import testing
    from tapegrad.ops.table import PUBLIC, Kind, rows

    total = len(names) or len({r.name for r in rows if r.kind is Kind.ELEMENTWISE} | PUBLIC.keys())
    results = []
    try:
        with progress("checking", total) as update:
            for result in testing.check_table(names or None, order=order, seed=seed):
                results.append(result)
                update(len(results), result.name)
    except ValueError as error:
        print(f"check: {error}", file=sys.stderr)
        return 1
    failures = [result for result in results if result.failed]
    print_table(
        ("operation", "kind", "checks", "largest error", "result"),
        [(r.name, r.kind, r.checks, f"{r.error:.1e}", "FAILED" if r.failed else r.status) for r in results],
    )
    for failure in failures:
        print(f"\n{failure.name}: {failure.status}")
    print(f"\n{len(results) - len(failures)} of {len(results)} operations passed, up to order {order}.")
    return 1 if failures else 0
