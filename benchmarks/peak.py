"""Peak memory of one gradient above its input, in arrays of the input's size.

Measured in a fresh process per library: import, a warm-up at a tiny size (kernels, thread pools), the input;
then the resident size before, and the highest during, the first gradient at full size.  The C library is told
to map every large array by itself: left to its heuristics it keeps freed ones, more or fewer from library to
library, and the figure would say little about how many a gradient needs.

Run as ``python -m benchmarks.peak WORKLOAD LIBRARY SIZE``.
"""

import gc
import importlib
import os
import resource
import subprocess
import sys

ITEM = 8  # bytes per element

EXPRESSIONS = {"chain": "chain", "black_scholes": "price"}


def peaks(workload, libraries, size):
    """Measure each library; return arrays above the input."""
    return {name: _fresh(workload, name, size) for name in libraries}


def _fresh(workload, library, size):
    command = [sys.executable, "-m", "benchmarks.peak", workload, library, str(size)]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr}")
    return float(done.stdout.split()[-1])


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


def measure(workload, library, size):
    from benchmarks.peers import value_and_grad

    task = importlib.import_module(f"benchmarks.{workload}")
    f = getattr(task, EXPRESSIONS[workload])
    tiny = value_and_grad(library, f, task.inputs(64))
    for _ in range(3):
        tiny()
    run = value_and_grad(library, f, task.inputs(size))
    gc.collect()
    forget_highest()
    before = resident()
    answer = run()
    peak = highest()
    del answer
    return (peak - before) / (ITEM * size)


if __name__ == "__main__":
    print(f"{measure(sys.argv[1], sys.argv[2], int(sys.argv[3])):.3f}")
