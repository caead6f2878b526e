"""``python -m tapegrad demo``: a logistic regression, trained with recorded gradients."""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import numpy as np

from tapegrad.cli.show import heading, print_table, progress

__all__ = ["breast_cancer", "load_table", "run", "simulate", "split"]

SEED = 2026
TEST_SHARE = 0.3
RATE, MOMENTUM, PENALTY = 0.5, 0.9, 1e-3


CLINIC = "Wisconsin diagnostic breast cancer data, 569 tumours, class 1 is benign"
CITATION = "Wolberg, Mangasarian, Street & Street, 1995; UCI Machine Learning Repository, CC BY 4.0"


def breast_cancer() -> tuple[np.ndarray, np.ndarray]:
    """Thirty measurements of cell nuclei from each of 569 tumours, and whether the tumour is benign.

    The Wisconsin diagnostic breast cancer data (W. H. Wolberg, O. L. Mangasarian, N. Street, W. Street,
    1995, UCI Machine Learning Repository, doi 10.24432/C5DW2B, licence CC BY 4.0), in the copy that
    scikit-learn distributes.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    """
    from sklearn.datasets import load_breast_cancer  # type: ignore[import-not-found,import-untyped,unused-ignore]

    x, y = load_breast_cancer(return_X_y=True)
    return x, y.astype(np.float64)


def default_data() -> tuple[tuple[np.ndarray, np.ndarray], str]:
    """The real data if they are at hand, else simulated ones; and what to call them."""
    try:
        return breast_cancer(), f"{CLINIC}\n      ({CITATION})"
    except ImportError:
        return simulate(), "simulated (install scikit-learn, or the extra 'demo', to use real data)"


def simulate(n: int = 1000, d: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Draw cases whose class depends on a hidden weighting of correlated measurements.

    Returns
    -------
    x : ndarray of float64, shape (n, d)
        The measurements.
    y : ndarray of float64, shape (n,)
        The class of each case, 0 or 1.
    """
    rng = np.random.default_rng(SEED)
    x = rng.normal(size=(n, d)) @ (np.eye(d) + 0.3 * rng.normal(size=(d, d)))
    weights = rng.normal(size=d)
    score = 2.5 * (x @ weights) / np.std(x @ weights)
    return x, (rng.random(n) < 1 / (1 + np.exp(-score))).astype(np.float64)


def load_table(path: str, label: int = -1) -> tuple[np.ndarray, np.ndarray]:
    """Read a CSV file of numbers with one column of classes; a heading line is skipped.

    Raises
    ------
    ValueError
        If the column does not hold exactly two classes, or another entry is not a number.
    """
    with Path(path).open(newline="") as file:
        lines = [line for line in csv.reader(file) if line]
    if not lines or not -len(lines[0]) <= label < len(lines[0]):
        raise ValueError(f"{path}: no column {label}")
    for start in (0, 1):  # with and without a heading
        classes = [line[label] for line in lines[start:]]
        others = [line[:label] + line[label:][1:] for line in lines[start:]]
        try:
            x = np.array(others, dtype=np.float64)
        except ValueError:
            continue
        names = sorted(set(classes))
        if len(names) != 2:
            raise ValueError(f"{path}: column {label} must hold two classes, not {len(names)}")
        return x, np.array([float(c == names[1]) for c in classes])
    raise ValueError(f"{path}: every column but {label} must hold numbers, in rows of equal length")


def split(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Split off test cases (always the same ones) and standardise by the training cases' statistics.

    Returns
    -------
    x_train, y_train, x_test, y_test : ndarray
    """
    order = np.random.default_rng(SEED).permutation(len(x))
    k = max(1, round(TEST_SHARE * len(x)))
    test, train = order[:k], order[k:]
    mean, scale = x[train].mean(axis=0), x[train].std(axis=0)
    z = (x - mean) / np.where(scale > 0, scale, 1.0)
    return z[train], y[train], z[test], y[test]


def run(steps: int, data: str | None, label: int, tape_lines: int) -> int:
    """Run the demo; return the exit status."""
    begin = time.perf_counter()
    try:
        table, source = default_data() if data is None else (load_table(data, label), data)
    except (OSError, ValueError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    x_train, y_train, x_test, y_test = split(*table)
    print(f"Data: {source};")
    print(f"      {x_train.shape[1]} measurements of each case,")
    print(f"      {len(x_train)} cases to learn from and {len(x_test)} others to test what was learned.")
    print("Model: the chance of class 1 is sigmoid(x @ w + b); training follows the gradient downhill.\n")

    start = time.perf_counter()
    import tapegrad as tg
    from tapegrad._jit import CACHE_DIR
    from tapegrad.tape import current

    if CACHE_DIR is None or next(CACHE_DIR.glob("*.kernel"), None) is None:
        print("Compiling kernels, which takes a while. Later runs find them in the cache.\n", flush=True)

    x, y = tg.as_tensor(x_train), tg.as_tensor(y_train)
    w = tg.zeros(x.shape[1], requires_grad=True)
    b = tg.zeros((), requires_grad=True)

    def loss_of(w: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
        score = x @ w + b
        return tg.mean(tg.softplus(score) - y * score) + PENALTY * tg.sum(w * w)

    speed_w, speed_b = tg.zeros_like(w), tg.zeros_like(b)
    first, later, losses, excerpt = 0.0, [0.0], [], ""
    with progress("training", steps) as update:
        for step in range(steps):
            tick = time.perf_counter()
            position = len(current.tape)
            loss = loss_of(w, b)
            if step == 0:
                excerpt = current.tape.format(position)
            loss.backward()
            losses.append(loss.item())
            tock = time.perf_counter()
            if step == 0:
                first = tock - start
            else:
                later.append(tock - tick)
            with tg.no_grad():
                speed_w = MOMENTUM * speed_w - RATE * w.grad
                speed_b = MOMENTUM * speed_b - RATE * b.grad
                w += speed_w
                b += speed_b
            w.grad = b.grad = None
            if step % max(1, steps // 50) == 0 or step == steps - 1:
                update(step + 1, f"loss {losses[-1]:.4f}")

    with tg.no_grad():
        right = ((tg.as_tensor(x_test) @ w + b > 0.0) == (tg.as_tensor(y_test) > 0.5)).numpy()
        learned = ((x @ w + b > 0.0) == (y > 0.5)).numpy()

    heading("What it learned")
    print_table(
        ("", "value"),
        [
            ("loss before training", f"{losses[0]:.4f}"),
            ("loss after training", f"{losses[-1]:.4f}"),
            ("right on training cases", f"{learned.mean():.1%}"),
            ("right on test cases", f"{right.mean():.1%}"),
        ],
    )
    heading("How long it took")
    print_table(
        ("", "value"),
        [
            ("import to first gradient", f"{first:.2f} s"),
            ("each later loss and gradient", f"{1e6 * np.median(later):.0f} us"),
            ("everything", f"{time.perf_counter() - begin:.2f} s"),
        ],
    )
    lines = excerpt.splitlines()
    heading(f"The tape of one step: {len(lines)} instructions")
    print("Each line is one operation: its result, its operands, and the line of Python that recorded it.\n")
    print("\n".join(lines[:tape_lines]))
    if len(lines) > tape_lines:
        print(f"... and {len(lines) - tape_lines} more")
    return 0


# The tape names the user's lines and passes over tapegrad's own; here the demo is the user.
__name__ = "demo"
