"""Peak memory of one value and gradient above its inputs, in megabytes and in arrays.

An array is as large as everything that is differentiated by, so the gradient itself needs one; for
Black-Scholes an array is one of the four.

Measured in a fresh process per contender: import, a warm-up at a tiny size (kernels, thread pools), the
inputs; then the resident size, and the highest during the first and the second evaluation at full size.
In the first one ``tapegrad, compiled`` records; what it keeps counts in the second.  JAX has compiled before.
The C library is told to map every large array by itself: left to its heuristics it keeps freed ones, more or
fewer from library to library, and the figure would say little about how many a gradient needs.

``python -m benchmarks.peak --child TASK CONTENDER SMOKE`` measures one.
"""

import gc
import importlib.util
import os
import resource
import subprocess
import sys

from benchmarks.harness import Mismatch, compare, main

# --- what is resident -----------------------------------------------------------------------------


def resident():
    """Bytes resident now, or the highest so far where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return highest()


def highest():
    """Highest number of bytes resident since the start or since `forget_highest`."""
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith("VmHWM"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most << 10


def forget_highest():
    """Let the highest count start again at the present: imports and compilers need much, and only once."""
    try:
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)  # freed memory that is still mapped would hide what is used
    except (OSError, AttributeError):
        pass
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


# --- tasks ----------------------------------------------------------------------------------------


class Task:
    """A function with its inputs at a size, what they give, and which libraries can run it.

    Attributes
    ----------
    f : callable
        ``f(xp, *arrays, *fixed)`` returns a scalar.
    arrays, fixed : list of numpy.ndarray
        Inputs that it is differentiated by, and others.
    unit : int
        Bytes of one array.
    answer : callable
        Returns value and gradients, computed by hand.
    """

    def __init__(self, f, arrays, fixed, answer, unit=None, functions=None):
        self.f, self.arrays, self.fixed, self.answer = f, arrays, fixed, answer
        self.unit = unit or sum(a.nbytes for a in arrays)
        self.functions = functions  # of the expression, by library, where names differ

    def prepare(self, contender):
        """One evaluation, ready to be called."""
        from benchmarks.peers import value_and_grad

        f = self.f
        if self.functions:
            xp = self.functions[contender.split(",")[0]]
            return value_and_grad(contender, lambda _, *xs: f(xp, *xs), self.arrays, self.fixed)
        return value_and_grad(contender, f, self.arrays, self.fixed)


def chain(size):
    from benchmarks.chain import chain, inputs, reference

    arrays = inputs(size)
    return Task(chain, arrays, [], lambda: reference(*arrays))


def black_scholes(size):
    from benchmarks.black_scholes import inputs, price, reference

    arrays = inputs(size)
    return Task(price, arrays, [], lambda: reference(*arrays), unit=arrays[0].nbytes)


def mlp(layers, batch):
    from benchmarks import mlp
    from benchmarks.arrays import FUNCTIONS

    arrays, fixed = mlp.inputs(layers, batch, "float64")
    return Task(mlp.loss, arrays, fixed, lambda: mlp.reference(arrays, fixed), functions=FUNCTIONS)


def gmm(points, dimensions, components):
    from benchmarks import gmm
    from benchmarks.arrays import FUNCTIONS

    arrays, fixed = gmm.inputs(points, dimensions, components)
    f = gmm.program(points, dimensions, components)
    return Task(f, arrays, fixed, lambda: gmm.reference(arrays, fixed[0]), functions=FUNCTIONS)


EVERYBODY = ("tapegrad", "torch", "jax", "autograd", "mygrad")
# by name: what makes it, at full size, at the size of smoke runs and warm-ups, who takes part
TASKS = {
    "chain, size 1000000": (chain, (1_000_000,), (2000,), EVERYBODY),
    "chain, size 10000000": (chain, (10_000_000,), (2000,), EVERYBODY),
    "Black-Scholes, size 1000000": (black_scholes, (1_000_000,), (2000,), EVERYBODY[:-1]),
    "mlp, 784-256-128-10, batch 256": (mlp, ((784, 256, 128, 10), 256), ((6, 5, 4, 3), 8), EVERYBODY[:3]),
    "gmm, 10 dimensions, 25 components, 1000 points": (gmm, (1000, 10, 25), (20, 3, 2), EVERYBODY[:3]),
}


def measure(name, contender, smoke):
    """Bytes above the inputs in the first and the second evaluation, and bytes of one array."""
    make, full, small, _ = TASKS[name]
    tiny = make(*small).prepare(contender)
    for _ in range(3):
        tiny()
    task = make(*(small if smoke else full))
    run = task.prepare(contender)
    expected = task.answer()
    gc.collect()
    peaks, before = [], None
    for _ in range(2):
        forget_highest()
        before = before or resident()
        answer = run()
        peaks.append(highest() - before)
        compare(f"peak, {name}, {contender}", answer, expected, 1e-9)
        del answer
        gc.collect()
    return *peaks, task.unit


def fresh(name, contender, smoke):
    command = [sys.executable, "-m", "benchmarks.peak", "--child", name, contender, str(int(smoke))]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if "Mismatch" in done.stderr:
        raise Mismatch(done.stderr.splitlines()[-1])
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr}")
    return [int(word) for word in done.stdout.split()[-3:]]


def run(session):
    from benchmarks.peers import COMPILED

    for name, (make, _, _, libraries) in TASKS.items():
        if importlib.util.find_spec(f"benchmarks.{make.__name__}") is None:
            continue
        contenders = session.libraries(*libraries)
        contenders.insert(1, COMPILED)
        figures = {contender: fresh(name, contender, session.smoke) for contender in contenders}
        case = f"{name}, small" if session.smoke else name
        megabytes = {contender: second / 1e6 for contender, (_, second, _) in figures.items()}
        session.record(case, megabytes, "MB")
        for way, k in ("", 1), (", first evaluation", 0):
            session.record(case + way, {c: f[k] / f[2] for c, f in figures.items()}, "arrays")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(*measure(sys.argv[2], sys.argv[3], sys.argv[4] == "1"))
    else:
        sys.exit(main(lambda name: run, ["peak"]))
