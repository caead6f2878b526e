"""Define-by-run scalar code: recurrences over Python numbers, recorded and differentiated every time."""

import sys

from benchmarks import kalman, rk4
from benchmarks.harness import main
from benchmarks.peers import value_and_grad
from benchmarks.programs import complex_step, count


def run(session):
    libraries = session.libraries("tapegrad", "torch", "autograd", "mygrad")
    for title, program, x in (
        ("Kalman filter", kalman.program(session.pick(300, 10)), kalman.START),
        ("RK4", rk4.program(session.pick(200, 5)), rk4.START),
    ):
        factories = {n: lambda n=n, f=program, x=x: value_and_grad(n, f, [x]) for n in libraries}
        value, g = complex_step(program, x)
        session.contest(title, factories, (value, (g,)), operations=count(program, x))


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["scalars"]))
