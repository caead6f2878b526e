"""Fifty functions whose Python control flow depends on values, each smooth almost everywhere.

``f(xp, *arguments)`` runs on tapegrad and on NumPy alike.  A value that Python looked at (``if``, ``int()``,
``float()``, an index, ...) only ever decides the path, so that the derivative along a path is the derivative.
Samplers draw inputs on every path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
    f: Callable[..., Any]
    sample: Callable[[np.random.Generator], tuple]
    wrt: tuple[int, ...]  # arguments to differentiate by
    exact: bool  # looks at floating-point values as such, so that other inputs have another path


CASES: dict[str, Case] = {}


def case(sample, wrt=(0,), exact=False):
    def register(f):
        CASES[f.__name__] = Case(f, sample, wrt, exact)
        return f

    return register


def normal(*shape, scale=1.0):
    return lambda rng: (scale * rng.normal(size=shape),)


def uniform(low, high, *shape):
    return lambda rng: (rng.uniform(low, high, size=shape),)


def number(low, high):
    return lambda rng: (float(rng.uniform(low, high)),)


def together(*samples):
    return lambda rng: tuple(argument for sample in samples for argument in sample(rng))


def integers(low, high, *shape):
    return lambda rng: (rng.integers(low, high, size=shape) if shape else int(rng.integers(low, high)),)


# --- if, elif, else -------------------------------------------------------------------------------


@case(normal(4))
def sign_of_sum(xp, x):
    if x.sum() > 0:
        return (x * x).sum()
    return xp.sin(x).sum()


@case(number(-3, 3))
def huber(xp, x):
    if abs(x) <= 1.0:
        return 0.5 * x * x
    return abs(x) - 0.5


@case(uniform(-2, 2, 2))
def quadrants(xp, x):
    a, b = x[0], x[1]
    if a > 0:
        if b > 0:
            return a * b
        return a * xp.exp(b)
    elif b > 0:
        return xp.sin(a) * b
    else:
        return a * a + b * b


@case(number(0, 3))
def cubic_kernel(xp, x):
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    elif x < 2:
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return 0 * x


@case(normal(3))
def both_or_either(xp, x):
    a, b, c = x[0], x[1], x[2]
    if a > 0 and b > 0:
        return a * b * c
    if a > 0 or c > 0.5:
        return a + xp.exp(c) * b
    return xp.cos(a * b) + c * c


@case(normal(3))
def neither(xp, x):
    if not (x[0] > x[1]) and not x[2] > 0:
        return (x[0] - x[1]) ** 2 * x[2]
    return xp.tanh(x).sum()


@case(normal(2))
def chosen_by_expression(xp, x):
    scale = x[0] if x[0] > x[1] else 2 * x[1]
    return scale * xp.sin(x[0]) + (x[1] if scale > 1 else xp.exp(x[1]))


@case(uniform(-2, 2, 3))
def chained_comparison(xp, x):
    if -1 < x[0] < x[1] < 1.5:
        return x[2] * (x[1] - x[0])
    return (x * x * x).sum()


@case(normal(4))
def equal_to_count(xp, x):
    positive = (x > 0).sum()
    if positive == 0:
        return xp.exp(x).sum()
    if positive == 4:
        return xp.sqrt(x).sum()
    return positive * (x * x).sum()


@case(together(normal(3), normal(3)), wrt=(0, 1))
def early_return(xp, x, y):
    for k in range(3):
        if x[k] > y[k]:
            return x[k] * xp.exp(-y[k]) + k * (x * y).sum()
    return (x - y).sum() + (y * y).sum()


# --- while ----------------------------------------------------------------------------------------


@case(number(0.5, 20))
def newton_root(xp, a):
    x = 0.5 * (1 + a)
    while abs(x * x - a) > 1e-13 * a:
        x = 0.5 * (x + a / x)
    return x


@case(number(0.3, 40))
def halved_until_small(xp, x):
    total = x
    while x > 1:
        x = x / 2
        total = total + xp.sin(x)
    return total * x


@case(uniform(0.5, 3, 2))
def arithmetic_geometric_mean(xp, x):
    a, b = x[0], x[1]
    while abs(a - b) > 1e-9:  # converges quadratically: exact after one round more
        a, b = 0.5 * (a + b), xp.sqrt(a * b)
    return 0.5 * (a + b)


@case(number(1.05, 30))
def collatz_like(xp, x):
    n, value = int(x), x
    while n != 1:
        if n % 2:
            n, value = 3 * n + 1, 0.5 * value + xp.sin(value)
        else:
            n, value = n // 2, 0.9 * value
    return value + x * x


@case(number(0.2, 0.98))
def geometric_series(xp, x):
    term, total = x, x
    while term > 1e-2:
        term = term * x
        total = total + term
    return total


@case(number(-1.4, 1.4))
def bisection(xp, target):
    low, high = -4.0, 4.0
    for _ in range(6):
        middle = 0.5 * (low + high)
        if middle + 0.5 * np.sin(middle) > target:
            high = middle
        else:
            low = middle
    x = 0.5 * (low + high) + 0 * target
    for _ in range(5):
        x = x - (x + 0.5 * xp.sin(x) - target) / (1 + 0.5 * xp.cos(x))
    return x * x


@case(uniform(0.5, 2, 2))
def while_true(xp, x):
    a, total = x[0], x[1]
    while True:
        total = total + xp.log(a)
        if total > 2 or a > 10:
            break
        a = a * 1.7
    return total * a


@case(number(-3, 3))
def wrapped_angle(xp, x):
    angle = 4 * x
    while angle > np.pi:
        angle = angle - 2 * np.pi
    while angle < -np.pi:
        angle = angle + 2 * np.pi
    return angle * xp.cos(angle)


@case(uniform(0.2, 3, 3))
def damped_steps(xp, x):
    y, step = x, 1.0
    while (y * y).sum() > 0.5:
        y = y - 0.3 * step * xp.sin(y) / (1 + step * step)
        y = 0.9 * y
        step *= 0.97
    return (y * x).sum()


# --- for ------------------------------------------------------------------------------------------


@case(together(normal(2), integers(0, 6)))
def repeated_by_argument(xp, x, n):
    y = x
    for _ in range(n):
        y = xp.sin(y) + 0.1 * x
    return y.sum()


@case(number(0.1, 7))
def power_by_int(xp, x):
    out = 1.0 + 0 * x
    for k in range(int(x)):
        out = out * (x - 0.5 * k)
    return out


@case(normal(6))
def continue_over_negatives(xp, x):
    total = 0 * x[0]
    for xk in x:
        if xk < 0:
            continue
        total = total + xp.sqrt(xk) * (1 + total)
    return total + x[0]


@case(normal(8))
def break_at_limit(xp, x):
    total = 0 * x[0]
    for k, xk in enumerate(x):
        total = total + xk * xk
        if total > 3:
            return total * (k + 1)
    else:
        total = -total
    return total


@case(normal(4))
def running_maximum(xp, x):
    top = x[0]
    total = top
    for xk in x[1:]:
        if xk > top:
            top = xk
        total = total + top * xk
    return total


@case(together(normal(5), integers(0, 5, 3)))
def indices_as_data(xp, x, indices):
    out = 0 * x[0]
    for k in range(3):
        at = int(indices[k])
        out = out + (xp.exp(x[at]) if at % 2 else x[at] * x[(at + 1) % 5])
    return out


@case(together(normal(4), integers(0, 3, 2)))
def small_program(xp, x, code):
    """An interpreter: which operation comes next is data."""
    y = x
    for instruction in code:
        if instruction == 0:
            y = xp.sin(y)
        elif instruction == 1:
            y = y * x
        else:
            y = y - 0.5
    return (y * y).sum()


@case(uniform(0.6, 3.4, 2), exact=True)
def rounded_count(xp, x):
    n = round(x[0].item())
    return sum(x[1] ** k / (k + 1) for k in range(n + 1)) * x[0]


# --- indices taken from values --------------------------------------------------------------------


@case(normal(5))
def at_argmax(xp, x):
    k = int(xp.argmax(x))
    return x[k] * x[(k + 1) % 5]


@case(normal(5))
def between_extremes(xp, x):
    first, last = sorted((int(xp.argmin(x)), int(xp.argmax(x))))
    return (x[first : last + 1] ** 2).sum() + x[first]


@case(normal(5))
def gathered_by_order(xp, x):
    order = xp.argsort(x)
    if order[0] > order[4]:
        order = order[::-1]
    return (x[order] * np.arange(1.0, 6.0)).sum()


@case(number(-0.9, 0.9))
def table_lookup(xp, x):
    coefficients = ((1.0, 2.0), (0.5, -1.0), (-0.3, 0.7), (2.0, 0.1))
    a, b = coefficients[int((x + 1) * 2)]
    return a * xp.exp(x) + b * x


@case(uniform(0.05, 0.95, 3), exact=True)
def linear_spline(xp, x):
    knots, heights = np.linspace(0, 1, 6), np.array([0.0, 1.0, 0.4, -0.5, 0.3, 0.8])
    total = 0 * x[0]
    for xk in x:
        k = int(np.searchsorted(knots, float(xk))) - 1
        t = (xk - knots[k]) / (knots[k + 1] - knots[k])
        total = total + (1 - t) * heights[k] + t * heights[k + 1]
    return total


@case(uniform(-0.5, 3.5, 2))
def index_error(xp, x):
    entries = [x[0] * x[1], xp.sin(x[0]), x[1] ** 2]
    try:
        return entries[int(x[0] + 0.5)] + x[1]
    except IndexError:
        return xp.exp(-x[0]) * x[1]


@case(together(normal(4), integers(0, 6)))
def out_of_bounds(xp, x, k):
    try:
        picked = x[int(k)]
    except IndexError:
        picked = x[0] * x[1]
    return picked * picked + x.sum()


# --- containers and Python's own functions --------------------------------------------------------


@case(normal(4))
def sorted_by_comparison(xp, x):
    a, b, c, d = sorted([x[0], x[1], x[2], x[3]])
    return a + b * b + xp.sin(c) + xp.exp(0.3 * d)


@case(normal(4), exact=True)
def sorted_by_float(xp, x):
    order = sorted(range(4), key=lambda k: float(x[k]))
    return sum((place + 1) * x[k] ** 2 for place, k in enumerate(order))


@case(normal(3))
def builtin_max_and_min(xp, x):
    return max(x[0], x[1], x[2]) * min(xp.sin(x[0]), xp.cos(x[1])) + x[2]


@case(normal(5))
def any_and_all(xp, x):
    if all(xk > -1 for xk in x):
        return xp.log(2 + x).sum()
    if any(xk > 1 for xk in x):
        return (x**3).sum()
    return (x * x).sum()


@case(normal(4))
def filtered_list(xp, x):
    kept = [xk for xk in x if xk > 0] or [x[0]]
    out = kept[0]
    for xk in kept[1:]:
        out = out * xk + xp.sin(xk)
    return out * len(kept)


@case(number(-2.5, 2.5), exact=True)
def membership(xp, x):
    seen = {-2: 0.5, 0: 2.0, 1: -1.0}
    key = int(np.floor(float(x)))
    if key in seen:
        return seen[key] * xp.cos(x)
    return x**3


@case(lambda rng: ({"w": rng.normal(size=3), "b": float(rng.normal())}, rng.normal(size=3)))
def dictionary(xp, parameters, x):
    score = (parameters["w"] * x).sum() + parameters["b"]
    if score > 0:
        return xp.log(1 + xp.exp(-score))
    return score * parameters["b"] + (parameters["w"] ** 2).sum()


@case(lambda rng: ([(rng.normal(size=2), float(rng.normal())) for _ in range(2)],))
def nested_layers(xp, layers):
    y = 0.7
    for w, b in layers:
        z = (w * y).sum() + b
        y = z if z > 0 else 0.1 * z
    return y * y + layers[0][1]


# --- functions calling functions ------------------------------------------------------------------


def absolute(x):
    return -x if x < 0 else x


@case(normal(3))
def branch_in_a_helper(xp, x):
    return absolute(x[0]) * x[1] + absolute(x[1] - x[2])


@case(number(0.3, 6))
def recursion(xp, x):
    def reduced(x, depth):
        if x < 0.25 or depth == 8:
            return xp.sin(x)
        half = reduced(x / 2, depth + 1)
        return 2 * half * xp.sqrt(1 - 0.5 * half * half)

    return reduced(x, 0) + x


@case(together(normal(3), normal(3)), wrt=(0, 1))
def chosen_function(xp, x, y):
    g = xp.sin if x[0] > y[0] else xp.tanh
    h = (lambda z: z * z) if y[1] > 0 else (lambda z: z + x[2])
    return (g(x) * h(y)).sum()


@case(uniform(-2, 2, 3))
def recursion_over_halves(xp, x):
    def tree(low, high):
        if high - low < 0.6:
            middle = 0.5 * (low + high)
            return (high - low) * xp.cos(x[2] * middle)
        middle = 0.5 * (low + high)
        return tree(low, middle) + tree(middle, high)

    return tree(x[0], x[0] + absolute(x[1]))


# --- arrays ---------------------------------------------------------------------------------------


@case(normal(6))
def boolean_mask(xp, x):
    mask = x > 0.1
    if not mask.any():
        return x.sum()
    return (x[mask] ** 2).sum() + xp.sin(x[~mask]).sum()


@case(normal(2, 3))
def rows_by_norm(xp, x):
    norms = (x * x).sum(axis=1)
    if norms[0] > 2 * norms[1]:
        return (x[0] * x[1]).sum()
    if norms[1] > 2 * norms[0]:
        return xp.sin(x[1]).sum() + norms[0]
    return (x @ x.T).sum()


@case(normal(3, 3), exact=True)
def pivoted_elimination(xp, a):
    """Logarithm of the determinant's absolute value, by Gaussian elimination with exchanged rows."""
    rows, total = [a[k] for k in range(3)], 0.0
    for k in range(3):
        best = max(range(k, 3), key=lambda r: abs(float(rows[r][k])))
        rows[k], rows[best] = rows[best], rows[k]
        total = total + xp.log(abs(rows[k][k]))
        for r in range(k + 1, 3):
            rows[r] = rows[r] - rows[k] * (rows[r][k] / rows[k][k])
    return total


@case(uniform(1.0, 3.0, 3))
def bouncing_ball(xp, x):
    """Height after some time; each time it hits the ground, speed is reflected at the moment it does."""
    height, speed, bounce = x[0], x[1] - 2, 0.3 * x[2]
    for _ in range(25):
        moved = height + 0.08 * speed - 0.5 * 9.8 * 0.08**2
        if moved < 0:
            hit = (speed + xp.sqrt(speed * speed + 2 * 9.8 * height)) / 9.8
            speed = bounce * (9.8 * hit - speed)
            left = 0.08 - hit
            height = speed * left - 0.5 * 9.8 * left * left
            speed = speed - 9.8 * left
            if height < 0:
                return hit * x[1] + speed
        else:
            height, speed = moved, speed - 9.8 * 0.08
    return height + 0.1 * speed


@case(together(normal(3), normal(12)), wrt=(0,))
def event_in_a_series(xp, p, noise):
    state, alarm = 0.0, None
    for k in range(12):
        state = 0.8 * state + p[0] * noise[k] + 0.1 * p[1]
        if alarm is None and state > 0.8:
            alarm = state * p[2]
    return state * state if alarm is None else alarm + state


@case(normal(4))
def written_in_place(xp, x):
    y = xp.zeros(4)
    for k in range(4):
        if x[k] > 0:
            y[k] = x[k] * x[k]
        else:
            y[3 - k] = xp.sin(x[k])
    return (y * np.array([1.0, 2.0, 3.0, 4.0])).sum() + x.sum()
