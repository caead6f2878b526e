"""Kernels in plain Python, over memory that refuses what lies outside."""

import importlib
from types import FunctionType

import numpy as np

from tapegrad.kernels import memory as raw

OUT, X, P, ROOMS = 1 << 40, 2 << 40, 9 << 40, 10 << 40  # addresses of memory that is not real


class Memory:
    """An array that refuses what lies outside, and notes what has been written."""

    def __init__(self, data):
        self.data, self.written = data, set()

    def __getitem__(self, k):
        assert 0 <= k < len(self.data), f"reads element {k} of {len(self.data)}"
        return self.data[k]

    def __setitem__(self, k, value):
        assert 0 <= k < len(self.data), f"writes element {k} of {len(self.data)}"
        self.written.add(int(k))
        self.data[k] = value


class Fake:
    """Operands by addresses that stand for them: nothing but the kernel itself gets there."""

    def __init__(self, memory):
        self.memory = memory
        self.rooms = {}  # what was allocated: words, by address

    def array(self, address, n, dtype):
        if address in self.rooms:
            return Memory(np.full(8 * self.rooms[address] // np.dtype(dtype).itemsize, 99, dtype))
        found = self.memory[int(address)]
        assert np.dtype(dtype).itemsize == found.data.itemsize, f"{found.data.dtype} taken for {dtype}"
        # unused operands are 0; what a kernel says about p's length is an upper bound
        assert address == P or n <= len(found.data), f"{n} elements of {len(found.data)}"
        return found

    def allocate(self, n):
        address = max(self.rooms, default=ROOMS) + 1
        self.rooms[address] = n
        return address

    def word(self, pointer):
        return pointer

    def release(self, pointer):
        del self.rooms[pointer]


class Real:
    """Operands and workspace where they are, as libraries are given their addresses, with room around them.

    What the kernel itself reads and writes is checked element by element, what a library writes by the room.
    """

    ROOM, MARK = 64, 0x5A

    def __init__(self):
        self.regions = []  # address, bytes, what keeps them
        self.guarded = []

    def place(self, array):
        """A copy of an array in guarded memory; its address, and the copy."""
        n = array.nbytes
        whole = np.full(n + 2 * self.ROOM, self.MARK, np.uint8)
        inner = whole[self.ROOM : self.ROOM + n].view(array.dtype)
        inner[...] = array
        self.guarded.append((whole, n))
        address = whole.ctypes.data + self.ROOM
        self.regions.append((address, n, whole))
        return address, inner

    def check(self):
        """Nothing was written around what was placed."""
        for whole, n in self.guarded:
            around = np.concatenate([whole[: self.ROOM], whole[self.ROOM + n :]])
            assert (around == self.MARK).all(), "a library wrote outside of its operands"

    def array(self, address, n, dtype):
        address, itemsize = int(address), np.dtype(dtype).itemsize
        for start, size, _ in reversed(self.regions):
            if start <= address < start + max(size, 1) and address + n * itemsize <= start + size:
                return Memory(raw.array(address, n, dtype))
        assert n == 0, f"{n} of {dtype} where there are not so many"
        return Memory(np.empty(0, dtype))

    def allocate(self, n):
        address, inner = self.place(np.zeros(max(int(n), 1), np.int64))
        return address, inner

    def word(self, pointer):
        return pointer[0]

    def release(self, pointer):
        pass

    def spill(self, value):
        return self.place(np.array([int(value)]))[0]


def checked(kernel, t, to, memory):
    """The kernel for dtypes ``t`` and ``to``, with ``memory`` in place of raw memory."""
    own = {name: getattr(memory, name) for name in ("array", "allocate", "word", "release", "spill")
           if hasattr(memory, name)}  # fmt: skip
    own.update(T=t, TO=to, R=np.zeros(0, t).real.dtype.type)
    spaces: dict = {}

    def rebuilt(function):
        return FunctionType(
            function.__code__, space(function.__module__), function.__name__, function.__defaults__
        )

    def space(name):
        if name not in spaces:
            module = importlib.import_module(name).__dict__
            found = spaces[name] = dict(module)
            for key, value in module.items():
                ours = isinstance(value, FunctionType) and value.__module__.startswith("tapegrad.kernels.")
                if ours and value.__module__ != raw.__name__:
                    found[key] = rebuilt(value)
            found.update({key: value for key, value in own.items() if key in found})
        return spaces[name]

    return rebuilt(kernel)
