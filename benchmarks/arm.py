"""Where a 7-joint arm's hand is, by homogeneous 4x4 matrices; gradient of a pose error in the angles.

Twice: with scalars in lists, and with array products.
"""

import sys

import numpy as np

from benchmarks import peers
from benchmarks.harness import main
from benchmarks.programs import contest

# Denavit-Hartenberg parameters: length, twist and offset per joint
LENGTHS = (0.0, 0.0, 0.08, -0.08, 0.0, 0.09, 0.03)
TWISTS = (-1.4, 1.5, 1.6, -1.5, 1.5, 1.4, 0.2)
OFFSETS = (0.33, 0.02, 0.32, 0.01, 0.38, 0.03, 0.11)
ANGLES = np.array([0.3, -0.6, 0.9, -1.7, 0.4, 1.5, -0.2])


def goal():
    return joints_of_arrays(np, 0.8 * ANGLES + 0.1, *terms())[:3]


# --- scalars --------------------------------------------------------------------------------------


def joint(xp, angle, k):
    c, s = xp.cos(angle), xp.sin(angle)
    ca, sa = float(np.cos(TWISTS[k])), float(np.sin(TWISTS[k]))
    return [
        [c, -ca * s, sa * s, LENGTHS[k] * c],
        [s, ca * c, -sa * c, LENGTHS[k] * s],
        [0.0, sa, ca, OFFSETS[k]],
        [0.0, 0.0, 0.0, 1.0],
    ]


def dot(row, column):
    """Sum of products; zeros and ones of the matrices' structure are not computed with, by anybody."""
    total = 0.0
    for x, y in zip(row, column):
        if is_number(x, 0.0) or is_number(y, 0.0):
            continue
        term = y if is_number(x, 1.0) else x if is_number(y, 1.0) else x * y
        total = term if is_number(total, 0.0) else total + term
    return total


def is_number(x, value):
    return isinstance(x, float) and x == value


def scalars():
    wanted = goal().tolist()

    def error(xp, q):
        pose = joint(xp, q[0], 0)
        for k in range(1, 7):
            pose = [[dot(row, column) for column in zip(*joint(xp, q[k], k))] for row in pose]
        total = 0.0
        for row, wanted_row in zip(pose, wanted):
            for x, y in zip(row, wanted_row):
                total = total + (x - y) * (x - y)
        return total

    return error


# --- array products -------------------------------------------------------------------------------


def terms():
    """Constant, cosine's and sine's parts of each joint's matrix: lists of 4x4 arrays."""
    parts = np.zeros((3, 7, 4, 4))
    for k, (length, twist, offset) in enumerate(zip(LENGTHS, TWISTS, OFFSETS)):
        ca, sa = np.cos(twist), np.sin(twist)
        parts[0, k, 2, 1:] = sa, ca, offset
        parts[0, k, 3, 3] = 1
        parts[1, k, :2] = (1, 0, 0, length), (0, ca, -sa, 0)
        parts[2, k, :2] = (0, -ca, sa, 0), (1, 0, 0, length)
    return tuple(list(part) for part in parts)


def joints_of_arrays(xp, q, constant, cosine, sine):
    pose = constant[0] + xp.cos(q[0]) * cosine[0] + xp.sin(q[0]) * sine[0]
    for k in range(1, 7):
        pose = pose @ (constant[k] + xp.cos(q[k]) * cosine[k] + xp.sin(q[k]) * sine[k])
    return pose


def arrays(convert=np.asarray, total=lambda x: x.sum()):
    """The error in array products; ``convert`` makes constants and ``total`` sums the library's way."""
    constants = [[convert(a) for a in part] for part in terms()]
    wanted = convert(np.concatenate([goal(), [[0, 0, 0, 1]]]))

    def error(xp, q):
        off = joints_of_arrays(xp, q, *constants) - wanted
        return total(off * off)

    return error


def arrays_of_torch():
    return arrays(peers.module("torch").tensor)


def arrays_of_casadi():
    casadi = peers.module("casadi")
    return arrays(casadi.DM, lambda x: casadi.sum1(casadi.sum2(x)))


def run(session):
    contest(session, "scalars", scalars, (), ANGLES)
    contest(
        session,
        "4x4 products",
        arrays,
        (),
        ANGLES,
        instead={"torch": arrays_of_torch, "casadi": arrays_of_casadi},
    )


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["arm"]))
