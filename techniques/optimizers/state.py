"""The bytes of state that optimizers keep by theory, from the shapes of the parameters.

Counters do not count: a step's number, all without dimensions (see `bench.instruments.tensors`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from techniques.optimizers.row import Shape, State
from techniques.settings import Setting

Settings = Mapping[str, Setting]

QUANTIZED_FROM, QUANTIZED_BLOCK = 4096, 256
"""torchao quantizes the state of tensors of at least so many elements, in blocks of so many."""
_FP32_BYTES = 4
_CODES = 256


def buffers(count: int) -> State:
    """Return the state of an optimizer with `count` tensors of the parameter's own shape and type."""
    return lambda shapes, settings: count * sum(shape.bytes for shape in shapes)


def momentum(shapes: Sequence[Shape], settings: Settings) -> int:
    """Return the bytes of a buffer of momentum, which there is above a momentum of 0."""
    return sum(shape.bytes for shape in shapes) if settings["momentum"] else 0


def rmsprop(shapes: Sequence[Shape], settings: Settings) -> int:
    """Return the bytes of the mean square, and of the momentum."""
    return buffers(1)(shapes, settings) + momentum(shapes, settings)


def adafactor(shapes: Sequence[Shape], settings: Settings) -> int:
    """Return the bytes of one number for each row and each column of the last two dimensions."""
    return sum(shape.itemsize * _factors(shape) for shape in shapes)


def _factors(shape: Shape) -> int:
    if len(shape.sizes) < 2:
        return shape.elements
    *_, rows, columns = shape.sizes
    return shape.elements // columns + shape.elements // rows


def prodigy(shapes: Sequence[Shape], settings: Settings) -> int:
    """Return the bytes of Adam's two means, the start, the sum of gradients, and two numbers of all."""
    return buffers(4)(shapes, settings) + 2 * _FP32_BYTES


def soap(shapes: Sequence[Shape], settings: Settings) -> int:
    """Return the bytes of Adam's two means, and for each dimension of a matrix a covariance and its basis."""
    largest = settings["max_precondition_dim"]
    squares = sum(
        shape.itemsize * size**2
        for shape in shapes
        if len(shape.sizes) > 1
        for size in shape.sizes
        if size <= float(largest)
    )
    return buffers(2)(shapes, settings) + 2 * squares


def shampoo(shapes: Sequence[Shape], settings: Settings) -> int:
    """Return the bytes of two momenta, and for each dimension of each block a covariance and its root."""
    block = int(settings["block_size"])
    squares = sum(
        max(shape.itemsize, _FP32_BYTES) * size**2
        for shape in shapes
        if len(shape.sizes) > 1
        for blocks in product(*(_pieces(size, block) for size in shape.sizes))
        for size in blocks
    )
    return buffers(2)(shapes, settings) + 2 * squares


def _pieces(size: int, block: int) -> list[int]:
    whole, rest = divmod(size, block)
    return [block] * whole + ([rest] if rest else [])


def kron(shapes: Sequence[Shape], settings: Settings) -> int:
    """Return the bytes of the momentum, and of an fp32 triangle or diagonal for each dimension."""
    largest = settings["max_size_triangular"]
    factors = sum(
        size * (size if _is_triangular(shape, size, float(largest)) else 1)
        for shape in shapes
        for size in shape.sizes or (1,)
    )
    return buffers(1)(shapes, settings) + _FP32_BYTES * factors


def _is_triangular(shape: Shape, size: int, largest: float) -> bool:
    return len(shape.sizes) > 1 and 1 < size <= largest


def adam_8bit(shapes: Sequence[Shape], settings: Settings) -> int:
    """Return the bytes of Adam's two means in codes of a byte, the scale of each block, and the two maps.

    Small tensors, and those that are not a whole number of blocks, stay in the parameter's own type.
    """
    return 2 * sum(_codes(shape) if _is_quantized(shape) else shape.bytes for shape in shapes)


def _is_quantized(shape: Shape) -> bool:
    return shape.elements >= QUANTIZED_FROM and shape.elements % QUANTIZED_BLOCK == 0


def _codes(shape: Shape) -> int:
    scales = shape.elements // QUANTIZED_BLOCK
    return shape.elements + _FP32_BYTES * (scales + _CODES)
