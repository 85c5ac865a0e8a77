"""Operators whose parts, one by one, do not tell how much they multiply: counted whole, wherever called.

PyTorch takes a composite operator apart before a dispatch mode sees it. While the block runs, kernels of ours
stand at the autograd keys of these few. Complex convolutions run as their four real ones instead of Gauss's
three, so that they and their backward count 8 real operations a complex multiply-add, as every product does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._C._profiler import _RecordFunctionFast
from torch.library import _scoped_library

from bench.instruments.unseen import SEEN

Kernel = Callable[..., Any]

_KEYS = ("AutogradCPU", "AutogradCUDA", "AutogradXPU", "AutogradMPS", "AutogradMeta")
_CONVOLUTIONS = (
    *("conv1d", "conv1d.padding", "conv2d", "conv2d.padding", "conv3d", "conv3d.padding"),
    *("conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input"),
)
_DIRECT = (
    *("fbgemm_linear_fp16_weight", "fbgemm_linear_fp16_weight_fp32_activation"),
    *("fbgemm_linear_int8_weight", "fbgemm_linear_int8_weight_fp32_activation"),
    *("_wrapped_quantized_linear_prepacked", "outer", "outer.out", "kron", "kron.out"),
    *("linalg_vecdot", "linalg_vecdot.out"),
)
"""Composites that call no operator for their product; `linalg_vecdot` of two vectors calls `dot`."""


@contextmanager
def counted_whole(enter: Callable[..., None], outer_products: Callable[[], Any]) -> Iterator[None]:
    """Count these operators whole in the block.

    `enter(overload, result, args, kwargs)` counts one by its formula. `outer_products()` is a scope in which
    elementwise products that are outer ones count, as those of `einsum` without a common index.
    """

    def direct(overload: Any) -> Kernel:
        def kernel(*args: Any, **kwargs: Any) -> Any:
            with _RecordFunctionFast(SEEN):
                result = overload.decompose(*args, **kwargs)
            if not _calls_dot(overload, args):
                enter(overload, result, args, kwargs)
            return result

        return kernel

    def contraction(overload: Any) -> Kernel:
        def kernel(*args: Any, **kwargs: Any) -> Any:
            with outer_products():
                return overload.decompose(*args, **kwargs)

        return kernel

    with _scoped_library("aten", "IMPL") as library:
        for names, make in ((_CONVOLUTIONS, by_parts), (_DIRECT, direct), (("einsum",), contraction)):
            for name in names:
                for key in _KEYS:
                    library.impl(name, make(_overload(name)), key)
        yield


def by_parts(overload: Any) -> Kernel:
    """Return a kernel that runs a complex convolution as four real ones, and others as they are."""

    def kernel(
        inputs: torch.Tensor, weight: torch.Tensor, bias: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        if not (inputs.is_complex() and weight.is_complex()):
            return overload.decompose(inputs, weight, bias, *args, **kwargs)

        def part(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = overload(left, right, None, *args, **kwargs)
            return result

        real = part(inputs.real, weight.real) - part(inputs.imag, weight.imag)
        imaginary = part(inputs.real, weight.imag) + part(inputs.imag, weight.real)
        whole = torch.complex(real, imaginary)
        return whole if bias is None else whole + bias.reshape(-1, *[1] * (weight.dim() - 2))

    return kernel


def _calls_dot(overload: Any, args: tuple[Any, ...]) -> bool:
    is_vecdot = overload._overloadpacket is torch.ops.aten.linalg_vecdot
    return is_vecdot and all(operand.dim() == 1 for operand in args[:2])


def is_convolution(packet: Any) -> bool:
    """Say whether an operator is one of the convolutions that `by_parts` runs."""
    return packet in {_overload(name)._overloadpacket for name in _CONVOLUTIONS}


def _overload(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet), overload or "default")
