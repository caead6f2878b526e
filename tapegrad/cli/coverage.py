"""``python -m tapegrad coverage``: what functions take and differentiate; and the page of the reference."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapegrad.cli.show import print_table

if TYPE_CHECKING:
    from tapegrad.testing.facts import Coverage

__all__ = ["page", "run"]

LETTERS = {"bool": "b", "int": "i", "float": "f", "complex": "c"}
FIRST = (  # sections, in the order of the page; others follow
    "arithmetic",
    "powers and roots",
    "exponentials and logarithms",
    "trigonometry",
    "hyperbolic functions",
    "error functions",
    "the gamma function",
    "activations",
    "signs and rounding",
    "choosing",
    "comparison",
    "logic and bits",
)
LAST = ("creation", "dtypes")
HEADING = 50  # letters
VALUES = "(values)"  # behind a name: without derivative
INTRODUCTION = """\
# Coverage

Every function, the dtypes it takes, its derivatives, and who else has it. Made from tapegrad's table of operations by
`python -m tapegrad coverage --write docs/reference`; do not edit. With `--peers` the functions are looked up in the
other libraries, which have to be installed: {libraries}, on {date}.

- **dtypes**: `b` booleans, `i` integers (both become float64 where the function needs it), `f` float32 and float64,
  `c` complex64 and complex128.
- **derivatives**: *any order*, by reverse and forward mode, in batches (`vmap`) and compiled; *by* names the operands,
  where not all of floating or complex dtype have them; a hyphen: none.
- **where there is none**: what the derivative is where the function has none. *infinite at*: it is infinite there, but
  a cotangent that is exactly zero contributes zero. *abs: ...* is the policy of an operation that the function is made of.
- **others**: ✓ has it under one of the names on the left, else its name there; *(values)* without derivative; a question
  mark: not looked up yet. The counts are of what is there, with derivatives where tapegrad has them.
"""  # noqa: E501
SPACES = {
    "linalg": "linear algebra, `tg.linalg`",
    "fft": "Fourier transforms, `tg.fft`",
    "special": "special functions, `tg.special`",
    "stats": "distributions, `tg.stats`",
}


def run(names: list[str], write: str | None, peers: bool) -> int:
    """Show the table, or write the page; return 0, or 1 if a name is unknown or a library is missing."""
    from tapegrad.testing.facts import coverage

    try:
        table = coverage(names or None)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if write is None:
        print_table(
            ("function", "dtypes", "derivatives", "where there is none", "what it is"),
            [(c.name, _dtypes(c), _derivatives(c), c.kink, c.doc) for c in table],
        )
        return 0
    folder = Path(write)
    if peers:
        try:
            answers = ask_peers(table)
        except ImportError as error:
            print(f"coverage: {error}; install tapegrad[bench]", file=sys.stderr)
            return 1
        (folder / "peers.json").write_text(json.dumps(answers, indent=1) + "\n")
    answers = json.loads((folder / "peers.json").read_text())
    (folder / "coverage.md").write_text(page(table, answers))
    print(f"wrote {folder / 'coverage.md'}: {len(table)} functions")
    return 0


def ask_peers(table: Sequence[Coverage]) -> dict[str, Any]:
    """Look every function up in the other libraries, which must be installed."""
    from tapegrad.testing.peers import PEERS, ask

    functions = {}
    for c in table:
        found = {peer: ask(peer, c.name, c.aliases) for peer in PEERS}
        functions[c.name] = {
            peer: f.path + (f" {VALUES}" if f.values_only and c.order else "")
            for peer, f in found.items()
            if f
        }
    versions = {peer: version(p.package).split("+")[0] for peer, p in PEERS.items()}
    return {"date": date.today().isoformat(), "versions": versions, "functions": functions}


# --- cells ----------------------------------------------------------------------------------------


def _dtypes(c: Coverage) -> str:
    return " ".join(LETTERS[kind] for kind in c.dtypes)


def _derivatives(c: Coverage) -> str:
    if not c.order:
        return "-"
    orders: dict[float, list[str]] = {}
    for name, order in c.by:
        orders.setdefault(order, []).append(name)
    parts = [
        f"{_order(order)} by {', '.join(names)}"
        for order, names in sorted(orders.items(), reverse=True)
        if order
    ]
    return "; ".join(parts) or _order(c.order)


def _order(order: float) -> str:
    return "any order" if order == float("inf") else f"order {order:g}"


def _at_peer(c: Coverage, found: str | None) -> str:
    """A mark if the counterpart has one of our names, else its own name."""
    if found is None:
        return ""
    path, _, rest = found.partition(" ")
    same = any(f".{path}".endswith(f".{name}") for name in (c.bare, *c.aliases))
    mark = "✓" if same else f"`{path}`"
    return f"{mark} {rest}".strip()


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(header)} |",
        f"|{'|'.join(['---'] * len(header))}|",
        *(f"| {' | '.join(row)} |".replace("|  |", "| |").replace("|  |", "| |") for row in rows),
    ]


# --- the page -------------------------------------------------------------------------------------


def _groups(table: Sequence[Coverage]) -> dict[str, list[Coverage]]:
    """Functions by the headings of the page, in its order."""
    found: dict[str, list[Coverage]] = {title: [] for title in FIRST}
    for c in table:
        if not c.home and c.section not in LAST:
            found.setdefault(_title(c.section), []).append(c)
    spaces = list(dict.fromkeys([*SPACES, *(c.home for c in table if c.home)]))
    for home in spaces:
        found[SPACES.get(home, home)] = [c for c in table if c.home == home]
    for section in LAST:
        found[section] = [c for c in table if c.section == section and not c.home]
    return {title: functions for title, functions in found.items() if functions}


def _title(section: str) -> str:
    """A heading from a section's title or from a docstring's first line."""
    text = section.split(":")[0].split(";")[0].replace("``", "`")
    if len(text) > HEADING:
        text = text.split(", and ")[0] if ", and " in text else text.split(",")[0]
    return text[0].lower() + text[1:]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def page(table: Sequence[Coverage], answers: dict[str, Any]) -> str:
    """The page of the reference, in Markdown.

    Parameters
    ----------
    table : sequence of Coverage
        What ``tapegrad.testing.coverage`` gives.
    answers : dict
        What `ask_peers` gave, on a machine that has the other libraries.
    """
    from tapegrad.testing.peers import PEERS

    known = answers["functions"]
    groups = _groups(table)
    titles = {peer: f"{p.title} {answers['versions'][peer]}" for peer, p in PEERS.items()}
    lines = [
        *INTRODUCTION.format(libraries=", ".join(titles.values()), date=answers["date"]).split("\n"),
        "| | functions | differentiable | " + " | ".join(titles.values()) + " |",
        "|---|" + "---|" * (2 + len(PEERS)),
    ]
    for title, functions in [*groups.items(), ("all", list(table))]:
        link = f"[{_capital(title)}](#{_anchor(title)})" if title != "all" else "**all**"
        counts = [len(functions), sum(bool(c.order) for c in functions)]
        answered = [known.get(c.name, {}) for c in functions]
        counts += [sum(VALUES not in there.get(peer, VALUES) for there in answered) for peer in PEERS]
        lines.append(f"| {link} | {' | '.join(map(str, counts))} |")
    header = ("function", "dtypes", "derivatives", "where there is none", *(p.title for p in PEERS.values()))
    for title, functions in groups.items():
        lines += ["", f"## {_capital(title)}", ""]
        also = [c for c in table if c.also and SPACES.get(c.also[0]) == title]
        if also:
            lines += [
                "Found here, too: " + ", ".join(f"`{c.bare}`" for c in also) + ".",
                "",
            ]
        rows = []
        for c in functions:
            names = ", ".join(f"`{n}`" for n in (c.bare, *c.aliases))
            there = known.get(c.name)
            others = [_at_peer(c, there.get(peer)) if there is not None else "?" for peer in PEERS]
            rows.append((names, _dtypes(c), _derivatives(c), c.kink, *others))
        lines += _markdown(header, rows)
    return "\n".join(lines) + "\n"


def _anchor(title: str) -> str:
    """GitHub's anchor of a heading."""
    kept = [ch for ch in title.lower() if ch.isalnum() or ch in " -_"]
    return "".join(kept).replace(" ", "-")
