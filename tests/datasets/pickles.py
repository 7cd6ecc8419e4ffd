"""Pickles as Python 2 wrote them, put together byte by byte."""

import struct


def text(content):
    """A string of Python 2, which is bytes."""
    return b"T" + struct.pack("<i", len(content)) + content


def number(value):
    return b"J" + struct.pack("<i", value)


def array(content, shape, dtype=b"u1"):
    """An array of numpy: make an empty one, then give it its state."""
    sides = b"(" + b"".join(map(number, shape)) + b"t"
    kind = b"cnumpy\ndtype\n(" + text(dtype) + number(0) + number(1) + b"tR"
    no_order = (
        b"(" + number(3) + text(b"|") + b"NNN" + number(-1) * 2 + number(0) + b"tb"
    )
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + number(0)
    empty += b"t" + text(b"b") + b"tR"
    state = b"(" + number(1) + sides + kind + no_order + b"\x89" + text(content) + b"t"
    return empty + state + b"b"


def batch(data, labels):
    """A batch whose two entries are pickled already."""
    entries = text(b"batch_label") + text(b"one of one")
    entries += text(b"labels") + labels + text(b"data") + data
    return b"\x80\x02}(" + entries + b"u."


def batch_pickle(pixels, labels):
    """A batch as the author of CIFAR-10 wrote it."""
    numbers = b"](" + b"".join(number(int(label)) for label in labels) + b"e"
    return batch(array(pixels.tobytes(), pixels.shape), numbers)
