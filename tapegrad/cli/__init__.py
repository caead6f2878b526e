"""The command line: ``python -m tapegrad demo | info | coverage | warmup | check``."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

__all__ = ["build_parser", "main"]


def build_parser() -> argparse.ArgumentParser:
    """Describe the commands and their options."""
    parser = argparse.ArgumentParser(
        prog="tapegrad",
        description="Automatic differentiation for NumPy users. Start with: python -m tapegrad demo",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    demo = commands.add_parser(
        "demo",
        help="train a small model and show what happened",
        description=(
            "Train a logistic regression with gradients from tapegrad, then show how well it predicts, how "
            "long a gradient took, and the tape that one training step recorded."
        ),
    )
    demo.add_argument("--steps", type=_positive, default=300, help="training steps (default: %(default)s)")
    demo.add_argument(
        "--data",
        metavar="FILE.csv",
        help="train on your own table: numbers, one row per case",
    )
    demo.add_argument(
        "--label",
        metavar="COLUMN",
        type=int,
        default=-1,
        help="with --data: the column with the two classes, counted from 0 (default: the last)",
    )
    demo.add_argument(
        "--tape-lines", type=_positive, default=20, help="tape lines shown (default: %(default)s)"
    )

    commands.add_parser(
        "info",
        help="show versions, CPU, cache folder and threads",
        description="Show what a bug report needs: versions, CPU features, the kernel cache, threads.",
    )

    warmup = commands.add_parser(
        "warmup",
        help="compile kernels now, so that the first use need not",
        description="Compile kernels into the cache folder now. Kernels found there are loaded instead.",
    )
    warmup.add_argument(
        "--dtype",
        action="append",
        choices=["float64", "float32"],
        dest="dtypes",
        help="may be repeated (default: float64)",
    )

    check = commands.add_parser(
        "check",
        help="check derivatives against finite differences",
        description=(
            "Compare the derivative of every operation (or of those named) with finite differences, on this "
            "machine. Exits with 1 if any differs."
        ),
    )
    check.add_argument("names", nargs="*", metavar="NAME", help="operations (default: all)")
    check.add_argument(
        "--order", type=_positive, default=2, help="highest derivative checked (default: %(default)s)"
    )
    check.add_argument("--seed", type=int, default=0, help="of the points checked (default: %(default)s)")

    coverage = commands.add_parser(
        "coverage",
        help="show what functions take, and which derivatives they have",
        description=(
            "Show which dtypes functions take (b booleans, i integers, f floating, c complex), which "
            "derivatives they have, and what these are where there is none. With --write: the page of the "
            "reference."
        ),
    )
    coverage.add_argument("names", nargs="*", metavar="NAME", help="functions (default: all)")
    coverage.add_argument(
        "--write", metavar="FOLDER", help="write coverage.md there, other libraries from its peers.json"
    )
    coverage.add_argument(
        "--peers",
        action="store_true",
        help="with --write: look functions up in PyTorch, JAX, autograd and MyGrad, and write peers.json",
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status (0 success, 1 failure, 2 usage, 130 interrupted)."""
    arguments = vars(build_parser().parse_args(argv))
    command = importlib.import_module(f"tapegrad.cli.{arguments.pop('command')}")
    try:
        return command.run(**arguments)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (head, less) has seen enough
        sys.stderr.close()
        return 0
