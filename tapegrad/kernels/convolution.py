"""Convolutions of images, and their two adjoints, as products of matrices that never lie in memory whole.

A convolution is a product of the weights, a row per output channel, with a matrix that has a row for each
*tap* (channel, and place in the weights) and a column for each place of the result ("im2col").  Blocks of it
are written into a panel on the stack, where tiles of vector registers (`kernels.blas.strip`) meet them:

* ``FORWARD``: weights (channels x taps) times panels of the image (taps x places);
* ``INPUT``: the adjoint by the image.  Transposed weights (taps x channels) times cotangents (channels x
  places) give blocks of that matrix's cotangent, and what they hold for one element of the image is added up;
* ``WEIGHT``: the adjoint by the weights.  Panels of the image (taps x places) times cotangents (places x
  channels), added up over images in registers and in a small block.

All three are bilinear, and each is the adjoint of the other two.
"""

from __future__ import annotations

from tapegrad.kernels.blas import pack, strip
from tapegrad.kernels.memory import TO, T, array, int64, lanes, room

__all__ = ["FORWARD", "INPUT", "WEIGHT", "convolution"]

FORWARD, INPUT, WEIGHT = 0, 1, 2
WORDS = 17

DEPTH = 256  # taps (or places) that a panel is deep
ROWS = 64  # rows of a copied left operand, or of a block of results
PANEL = 20480  # elements: 64 columns of float32 at full depth, and what keeps rows apart
LEFT = ROWS * (DEPTH + 8)
RESULT, EDGE, EDGES = ROWS * 32, 8 * 32, DEPTH * 32

# ``p``: mode, images, groups, channels and outputs per group, image's height and width, the weights', the
# result's, strides, padding before, dilation.


def line(dest, to, source, base, h, w, columns, first, count, step_y, off_y, step_x, off_x):  # type: ignore[no-untyped-def]
    """Places ``first`` to ``first + count`` of a grid ``columns`` wide, each of them one element of an image.

    Place (i, j) shows the element (i * step_y + off_y, j * step_x + off_x), or zero where there is none.
    """
    row = first // columns
    col = first - row * columns
    at = to
    end = to + count
    while at < end:
        n = min(columns - col, end - at)
        y, x = row * step_y + off_y, col * step_x + off_x
        low, high = int64(0), int64(0)
        if y >= 0 and y < h:
            if x < 0:
                low = min((step_x - 1 - x) // step_x, n)
            if x < w:
                high = max(min((w - 1 - x) // step_x + 1, n), low)
            else:
                high = low
        for j in range(low):
            dest[at + j] = T(0)
        start = base + y * w + x
        if step_x == 1:
            for j in range(low, high):
                dest[at + j] = source[start + j]
        else:
            for j in range(low, high):
                dest[at + j] = source[start + j * step_x]
        for j in range(high, n):
            dest[at + j] = T(0)
        at += n
        row += 1
        col = int64(0)


def forward(o, a, b, p):  # type: ignore[no-untyped-def]
    """``o[n, f] = sum over taps of b[f, tap] * a[n, tap]``."""
    d = array(p, WORDS, int64)
    images, groups, c, f, h, w, kh, kw, oh, ow = d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10]
    sy, sx, top, left, dy, dx = d[11], d[12], d[13], d[14], d[15], d[16]
    panel, edge = room(PANEL, o), room(EDGE, o)
    lane = lanes(o)
    full = 2 * lane
    places, taps, kernel = oh * ow, c * kh * kw, kh * kw
    for g in range(groups):
        for n in range(images):
            image, to = (n * groups + g) * c * h * w, (n * groups + g) * f * places
            for p0 in range(0, taps, DEPTH):
                depth = min(taps - p0, int64(DEPTH))
                block = (PANEL // depth - lane) // full * full
                for c0 in range(0, places, block):
                    count = min(places - c0, block)
                    ld = (count + full - 1) // full * full + lane  # apart by an odd number of vectors
                    for i in range(depth):
                        tap = p0 + i
                        channel = tap // kernel
                        ky = (tap - channel * kernel) // kw
                        kx = tap - channel * kernel - ky * kw
                        line(
                            panel, i * ld, a, image + channel * h * w, h, w, ow, c0, count,
                            sy, ky * dy - top, sx, kx * dx - left,
                        )  # fmt: skip
                        for j in range(count, ld - lane):
                            panel[i * ld + j] = T(0)
                    for j0 in range(0, count, full):
                        width = min(full, count - j0)
                        wide = full if width > lane else lane
                        strip(
                            o, to + c0 + j0, places, b, g * f * taps + p0, taps, int64(1), panel, j0, ld,
                            f, depth, width, wide, edge, p0 > 0,
                        )  # fmt: skip


def spread(o, base, h, w, source, at, columns, first, count, step_y, off_y, step_x, off_x):  # type: ignore[no-untyped-def]
    """Add to an image what `line` would read from it: elements of ``source`` from ``at`` on."""
    row = first // columns
    col = first - row * columns
    end = at + count
    while at < end:
        n = min(columns - col, end - at)
        y, x = row * step_y + off_y, col * step_x + off_x
        if y >= 0 and y < h and x < w:
            low = min((step_x - 1 - x) // step_x, n) if x < 0 else int64(0)
            high = min((w - 1 - x) // step_x + 1, n)
            start = base + y * w + x
            if step_x == 1:
                for j in range(low, high):
                    o[start + j] += source[at + j]
            else:
                for j in range(low, high):
                    o[start + j * step_x] += source[at + j]
        at += n
        row += 1
        col = int64(0)


def by_input(o, a, b, p):  # type: ignore[no-untyped-def]
    """``o[n, c] = sum over taps of b[f, tap] * a[n, f]``: `forward`'s adjoint by the image."""
    d = array(p, WORDS, int64)
    images, groups, c, f, h, w, kh, kw, oh, ow = d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10]
    sy, sx, top, left, dy, dx = d[11], d[12], d[13], d[14], d[15], d[16]
    panel, edge, result = room(EDGES, o), room(EDGE, o), room(PANEL, o)
    lane = lanes(o)
    full = 2 * lane
    places, taps, kernel = oh * ow, c * kh * kw, kh * kw
    for i in range(images * groups * c * h * w):
        o[i] = TO(0)
    for g in range(groups):
        for n in range(images):
            image, cotangent = (n * groups + g) * c * h * w, (n * groups + g) * f * places
            for i0 in range(0, taps, ROWS):
                m = min(taps - i0, int64(ROWS))
                block = (PANEL // m - lane) // full * full
                for c0 in range(0, places, block):
                    count = min(places - c0, block)
                    ld = (count + full - 1) // full * full + lane  # apart by an odd number of vectors
                    for p0 in range(0, f, DEPTH):
                        depth = min(f - p0, int64(DEPTH))
                        for j0 in range(0, count, full):
                            width = min(full, count - j0)
                            wide = full if width > lane else lane
                            source, first, following = a, cotangent + p0 * places + c0 + j0, places
                            if width != wide:
                                pack(panel, wide, a, first, depth, width, places, f, False)
                                source, first, following = panel, int64(0), wide
                            strip(
                                result, j0, ld, b, (g * f + p0) * taps + i0, int64(1), taps, source, first,
                                following, m, depth, wide, wide, edge, p0 > 0,
                            )  # fmt: skip
                    for i in range(m if f > 0 else 0):
                        tap = i0 + i
                        channel = tap // kernel
                        ky = (tap - channel * kernel) // kw
                        kx = tap - channel * kernel - ky * kw
                        spread(
                            o, image + channel * h * w, h, w, result, i * ld, ow, c0, count,
                            sy, ky * dy - top, sx, kx * dx - left,
                        )  # fmt: skip


def by_weight(o, a, b, p):  # type: ignore[no-untyped-def]
    """``o[f, tap] = sum over images and places of b[n, f] * a[n, tap]``: the adjoint by the weights."""
    d = array(p, WORDS, int64)
    images, groups, c, f, h, w, kh, kw, oh, ow = d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10]
    sy, sx, top, left, dy, dx = d[11], d[12], d[13], d[14], d[15], d[16]
    panel, edge, rows, result = room(PANEL, o), room(EDGE, o), room(LEFT, o), room(RESULT, o)
    lane = lanes(o)
    full = 2 * lane
    places, taps, kernel = oh * ow, c * kh * kw, kh * kw
    apart = int64(DEPTH + 8)
    for g in range(groups):
        for i0 in range(0, taps, ROWS):
            m = min(taps - i0, int64(ROWS))
            for j0 in range(0, f, full):
                width = min(full, f - j0)
                wide = full if width > lane else lane
                for i in range(m * wide):
                    result[i] = TO(0)
                for n in range(images):
                    image = (n * groups + g) * c * h * w
                    cotangent = ((n * groups + g) * f + j0) * places
                    for b0 in range(0, places, DEPTH):
                        count = min(places - b0, int64(DEPTH))
                        for i in range(m):
                            tap = i0 + i
                            channel = tap // kernel
                            ky = (tap - channel * kernel) // kw
                            kx = tap - channel * kernel - ky * kw
                            line(
                                rows, i * apart, a, image + channel * h * w, h, w, ow, b0, count,
                                sy, ky * dy - top, sx, kx * dx - left,
                            )  # fmt: skip
                        for j in range(width):
                            at = cotangent + j * places + b0
                            for i in range(count):
                                panel[i * wide + j] = b[at + i]
                        for j in range(width, wide):
                            for i in range(count):
                                panel[i * wide + j] = T(0)
                        strip(
                            result, int64(0), wide, rows, int64(0), apart, int64(1), panel, int64(0), wide,
                            m, count, wide, wide, edge, True,
                        )  # fmt: skip
                for j in range(width):
                    for i in range(m):
                        o[(g * f + j0 + j) * taps + i0 + i] = result[i * wide + j]


def sizes(p):  # type: ignore[no-untyped-def]
    """Elements of the image, the weights and the result."""
    d = array(p, WORDS, int64)
    image = d[1] * d[2] * d[3] * d[5] * d[6]
    return image, d[2] * d[4] * d[3] * d[7] * d[8], d[1] * d[2] * d[4] * d[9] * d[10]


def convolution(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """One of the three, by mode; floating operands."""
    mode = array(p, WORDS, int64)[0]
    image, weights, result = sizes(p)
    if mode == FORWARD:
        o = array(out, result, TO)
        if weights == 0:
            for i in range(result):
                o[i] = TO(0)
        else:
            forward(o, array(x, image, T), array(y, weights, T), p)
    elif mode == INPUT:
        by_input(array(out, image, TO), array(x, result, T), array(y, weights, T), p)
    else:
        by_weight(array(out, weights, TO), array(x, image, T), array(y, result, T), p)
    return 0


def convolution_plain(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """The same, one multiplication after the other: integers."""
    d = array(p, WORDS, int64)
    groups, c, f, h, w, kh, kw, oh, ow = d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10]
    sy, sx, top, left, dy, dx = d[11], d[12], d[13], d[14], d[15], d[16]
    mode = d[0]
    image, weights, result = sizes(p)
    size_x = result if mode == INPUT else image
    size_y = result if mode == WEIGHT else weights
    size = result if mode == FORWARD else image if mode == INPUT else weights
    a, b, o = array(x, size_x, T), array(y, size_y, T), array(out, size, TO)
    for i in range(size):
        o[i] = TO(0)
    for at in range(result):
        i, j = at // ow % oh, at % ow
        output = at // (oh * ow) % (groups * f)
        n, g = at // (oh * ow * groups * f), output // f
        for channel in range(c):
            for ky in range(kh):
                for kx in range(kw):
                    u, v = i * sy + ky * dy - top, j * sx + kx * dx - left
                    if u < 0 or u >= h or v < 0 or v >= w:
                        continue
                    pixel = (((n * groups + g) * c + channel) * h + u) * w + v
                    tap = ((output * c + channel) * kh + ky) * kw + kx
                    if mode == FORWARD:
                        o[at] = TO(o[at] + TO(a[pixel] * b[tap]))
                    elif mode == INPUT:
                        o[pixel] = TO(o[pixel] + TO(a[at] * b[tap]))
                    else:
                        o[tap] = TO(o[tap] + TO(a[pixel] * b[at]))
    return 0


convolution.kernel = "convolution"  # type: ignore[attr-defined]  # one for three rows
convolution.integer = convolution_plain  # type: ignore[attr-defined]
convolution_plain.kernel = "convolution_plain"  # type: ignore[attr-defined]
