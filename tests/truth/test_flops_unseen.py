"""Products that one thread's counter does not see are counted by another, or named."""

from __future__ import annotations

import queue
import sys
import threading
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_map_only

from bench.instruments import flops, operators
from tests.support.flop_counts import both_modes

SQUARE = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
PRODUCT = 2 * 8**3


def test_a_product_in_a_thread_that_the_call_starts_counts() -> None:
    results: list[torch.Tensor] = []

    def call() -> torch.Tensor:
        thread = threading.Thread(target=lambda: results.append(SQUARE @ SQUARE))
        thread.start()
        thread.join()
        return results[-1]

    assert both_modes(call) == PRODUCT


def test_products_given_to_a_pool_count_whether_it_was_there_before_or_not() -> None:
    with ThreadPoolExecutor(1) as old:
        old.submit(int).result()
        assert both_modes(lambda: old.submit(torch.mm, SQUARE, SQUARE).result()) == PRODUCT

    def call() -> torch.Tensor:
        with ThreadPoolExecutor(2) as new:
            return torch.stack(list(new.map(lambda _: SQUARE @ SQUARE, range(3))))

    assert both_modes(call) == 3 * PRODUCT


def test_a_pool_that_outlives_the_count_is_not_counted_any_more() -> None:
    pool = ThreadPoolExecutor(1)
    flops.count(lambda: pool.submit(torch.mm, SQUARE, SQUARE).result())
    modes = pool.submit(torch.utils._python_dispatch._get_current_dispatch_mode_stack).result()
    pool.shutdown()
    assert modes == []


def test_a_product_in_a_thread_of_before_is_named() -> None:
    given: queue.Queue[torch.Tensor | None] = queue.Queue()
    made: queue.Queue[torch.Tensor] = queue.Queue()

    def work() -> None:
        while (matrix := given.get()) is not None:
            made.put(matrix @ matrix)

    worker = threading.Thread(target=work)
    worker.start()

    def call() -> torch.Tensor:
        given.put(SQUARE)
        return made.get() + SQUARE @ SQUARE

    counted = flops.count(call)
    given.put(None)
    worker.join()
    assert counted.total == PRODUCT
    assert counted.unknown == ("aten.mm (not seen by the counter)",)


def test_a_product_behind_switched_off_modes_is_named() -> None:
    def call() -> None:
        with _disable_current_modes():
            nn.functional.linear(SQUARE, SQUARE)

    counted = flops.count(call)
    assert counted.total == 0
    assert any("not seen by the counter" in name for name in counted.unknown)


def test_a_product_inside_an_operator_that_is_listed_wrongly_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = torch.library.Library("flops_unseen", "DEF")
    library.define("innocent(Tensor x) -> Tensor")
    library.impl("innocent", lambda x: x @ x, "CPU")
    assert flops.count(lambda: torch.ops.flops_unseen.innocent(SQUARE)).unknown == ("flops_unseen.innocent",)
    listed = {**operators._NONE_ELSEWHERE, "flops_unseen": "innocent"}
    monkeypatch.setattr(operators, "_NONE_ELSEWHERE", listed)
    operators._nothing.cache_clear()
    counted = flops.count(lambda: torch.ops.flops_unseen.innocent(SQUARE))
    operators._nothing.cache_clear()
    assert counted.unknown == ("aten.mm (not seen by the counter)",)


def test_torchscript_counts_as_eager_frozen_or_not_and_its_forks_too() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    images = torch.randn(2, 3, 8, 8)
    expected = 2 * 2 * (36 * 27 * 4 + 144 * 5)
    scripted, traced = torch.jit.script(net), torch.jit.trace(net, images)
    for program in (scripted, traced, torch.jit.freeze(scripted), torch.jit.freeze(traced)):
        for _ in range(3):  # its second and third run are compiled from what the first ones showed
            assert both_modes(lambda program=program: program(images)) == expected  # type: ignore[misc]

    @torch.jit.script
    def forked(matrix: torch.Tensor) -> torch.Tensor:
        return torch.jit.wait(torch.jit.fork(torch.mm, matrix, matrix))

    assert both_modes(lambda: forked(SQUARE)) == PRODUCT


def test_convolutions_that_torchscript_gave_to_onednn_count() -> None:
    first, second = nn.Conv2d(4, 8, 3, groups=2), nn.Conv2d(8, 4, 3)
    net = nn.Sequential(first, nn.BatchNorm2d(8), nn.ReLU(), second, nn.Flatten(), nn.Linear(64, 5))
    optimized = torch.jit.optimize_for_inference(torch.jit.script(net.eval()))
    expected = 2 * 2 * (36 * 9 * 2 * 8 + 16 * 9 * 8 * 4 + 64 * 5)
    with torch.no_grad():
        for _ in range(3):
            counted = flops.count(lambda: optimized(torch.randn(2, 4, 8, 8)))
            assert (counted.total, counted.unknown) == (expected, ())


def test_convolutions_of_onednn_in_a_branch_of_torchscript_are_named() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if images.sum() > 0:
                images = self.layer(images)
            return images

    optimized = torch.jit.optimize_for_inference(torch.jit.script(Branch().eval()))
    with torch.no_grad():
        counted = flops.count(lambda: optimized(torch.ones(1, 3, 4, 4)))
    assert counted.unknown == ("prim.mkldnn_convolution",)


def test_what_numpy_makes_of_a_tensor_is_named() -> None:
    def call() -> torch.Tensor:
        return torch.from_numpy(SQUARE.numpy() @ SQUARE.numpy())

    assert flops.count(call).unknown == ("numpy",)
    assert "numpy" not in vars(torch.Tensor)
    assert flops.count(lambda: torch.arange(3).numpy()).unknown == ()


def test_whole_numbers_that_numpy_multiplies_are_named_and_sizes_are_not() -> None:
    whole = (10 * SQUARE).int()
    assert flops.count(lambda: torch.from_numpy(whole.numpy() @ whole.numpy())).unknown == ("numpy",)
    assert flops.count(lambda: torch.randint(9, (4, 3)).numpy()).unknown == ()
    assert flops.count(lambda: (SQUARE > 0).numpy()).unknown == ()


@pytest.mark.parametrize(
    ("take", "name"),
    [
        (lambda matrix: matrix.tolist(), "tolist"),
        (lambda matrix: torch.utils.dlpack.to_dlpack(matrix), "dlpack"),
        (lambda matrix: torch._C._to_dlpack(matrix), "dlpack"),
        (lambda matrix: bytes(matrix.untyped_storage()), "storage"),
        (lambda matrix: matrix.untyped_storage().tolist(), "storage"),
    ],
)
def test_every_way_by_which_numbers_leave_pytorch_is_named(
    take: Callable[[torch.Tensor], object], name: str
) -> None:
    assert flops.count(lambda: take(SQUARE)).unknown == (name,)


def test_lists_of_whole_numbers_printing_and_addresses_are_no_products() -> None:
    whole = (10 * SQUARE).int()
    assert flops.count(lambda: (whole.tolist(), repr(SQUARE))).unknown == ()
    assert flops.count(lambda: SQUARE.untyped_storage().data_ptr()).unknown == ()


def test_a_kernel_of_triton_and_who_takes_a_tensor_over_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class JITFunction:
        __name__ = "fused_attention"

        def run(self, *_: object) -> None: ...

    triton = types.ModuleType("triton.runtime.jit")
    triton.JITFunction = JITFunction  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "triton.runtime.jit", triton)
    kernel = JITFunction()
    assert flops.count(lambda: kernel.run(SQUARE)).unknown == ("triton.fused_attention",)
    assert flops.count(lambda: torch.from_dlpack(SQUARE)).unknown in ((), ("dlpack",))
    assert flops.count(lambda: SQUARE.__dlpack__()).unknown == ("dlpack",)


class _Wrapped(torch.Tensor):
    """Runs each operator on the tensor that it holds."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls: type[_Wrapped], inner: torch.Tensor) -> _Wrapped:
        wrapped = torch.Tensor._make_wrapper_subclass(cls, inner.size(), dtype=inner.dtype)
        wrapped.inner = inner
        return wrapped

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        plain = tree_map_only(_Wrapped, lambda each: each.inner, (args, kwargs or {}))
        return tree_map_only(torch.Tensor, cls, func(*plain[0], **plain[1]))


def test_tensors_of_a_type_of_their_own_and_fake_ones_count_as_plain_ones() -> None:
    wrapped = _Wrapped(SQUARE)
    assert both_modes(lambda: wrapped @ SQUARE) == PRODUCT
    assert both_modes(lambda: torch.einsum("ij,jk->ik", wrapped, wrapped)) == PRODUCT
    assert flops.count(lambda: torch.linalg.svd(wrapped)).unknown == ("aten._linalg_svd",)
    with FakeTensorMode():
        fake, layer = torch.randn(8, 8), nn.Conv1d(8, 8, 1)
        assert both_modes(lambda: fake @ fake) == PRODUCT
        assert both_modes(lambda: layer(fake)) == PRODUCT


def test_a_count_within_a_count_or_a_profile_is_whole() -> None:
    inner: list[flops.FlopCount] = []
    outer = flops.count(lambda: inner.append(flops.count(lambda: SQUARE @ SQUARE)))
    assert [(each.total, each.unknown) for each in (*inner, outer)] == [(PRODUCT, ())] * 2
    with torch.autograd.profiler.profile():
        assert both_modes(lambda: SQUARE @ SQUARE) == PRODUCT


def test_a_call_that_fails_leaves_nothing_of_the_count_behind() -> None:
    start, convert = threading.Thread.start, torch.Tensor.numpy
    with pytest.raises(ZeroDivisionError):
        flops.count(lambda: 1 // 0)
    assert (threading.Thread.start, torch.Tensor.numpy) == (start, convert)
    assert not torch._C._autograd._profiler_enabled()
    assert both_modes(lambda: SQUARE @ SQUARE) == PRODUCT
