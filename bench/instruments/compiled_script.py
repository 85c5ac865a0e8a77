"""What TorchScript runs as nodes that are no operators: oneDNN's convolutions, and groups that it has fused.

`torch.jit.optimize_for_inference` makes the former; the graph, run once more, tells their shapes. The latter
come from its fusers, and are named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._C._profiler import _RecordFunctionFast
from torch.utils._python_dispatch import _disable_current_modes

from bench.instruments.operators import may_compute
from bench.instruments.script_threads import watching_scripts
from bench.instruments.unseen import SEEN, Note

Enter = Callable[[Any, Any, Any, Any], None]

_CONVOLUTION = "prim::mkldnn_convolution"
_FUSED = re.compile(r"prim::(.*Fusion.*|.*TensorExpr.*|MKLDNNGroup)")


@contextmanager
def counting_compiled_script(enter: Enter, note: Note) -> Iterator[None]:
    """Count the convolutions of scripts that run in the block by `enter`; `note` what multiplies else."""

    run = torch._C.ScriptFunction.__call__

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def watching(method: Any, *args: Any, **kwargs: Any) -> Any:
            result = call(method, *args, **kwargs)
            names = {*_products(torch._C._last_executed_optimized_graph().nodes(), fused=False)}
            if _CONVOLUTION in names:
                names -= {_CONVOLUTION} if _count(method, args, run, enter) else set()
            for name in names:
                note(name.replace("::", "."))
            return result

        return watching

    with watching_scripts(watched):
        yield


def _products(nodes: Iterable[Any], fused: bool) -> Iterator[str]:
    for node in nodes:
        kind = node.kind()
        namespace, _, name = kind.partition("::")
        if kind == _CONVOLUTION or (fused and namespace == "aten" and may_compute(namespace, name)):
            yield kind
        if node.hasAttribute("Subgraph"):
            yield from _products(node.g("Subgraph").nodes(), fused or _FUSED.fullmatch(kind) is not None)
        for block in node.blocks():
            yield from _products(block.nodes(), fused)


def _count(method: Any, args: tuple[Any, ...], run: Callable[..., Any], enter: Enter) -> bool:
    """Count a method's convolutions by outputs and weights; False where its graph does not tell them."""
    graph = method.graph.copy()
    torch._C._jit_pass_inline(graph)
    nodes = [node for node in graph.nodes() if node.kind() == _CONVOLUTION]
    everywhere = [kind for kind in _products(graph.nodes(), fused=False) if kind == _CONVOLUTION]
    if not nodes or len(everywhere) > len(nodes):
        return False  # those in a branch or a loop run as often as their conditions say
    values = [value for node in nodes for value in (node.output(), node.inputsAt(1))]
    try:
        function = _returning(graph, values, len(args))
        with _disable_current_modes(), torch.no_grad(), _RecordFunctionFast(SEEN):
            found = run(function, *args)
    except RuntimeError:  # a graph that takes more than the call's arguments, as attributes of its module
        return False
    for out, weight in zip(found[::2], found[1::2], strict=True):
        enter(torch.ops.aten.mkldnn_convolution, out, (None, weight), {})
    return True


def _returning(graph: Any, values: list[Any], arguments: int) -> Any:
    """Make a function of a graph that returns values of its own, whatever it returned before."""
    while next(graph.outputs(), None) is not None:
        graph.eraseOutput(0)
    whole = graph.appendNode(graph.create("prim::TupleConstruct", values, 1)).output()
    whole.setType(torch._C.TupleType([torch._C.TensorType.get()] * len(values)))
    graph.registerOutput(whole)
    itself = next(graph.inputs())
    if len(list(graph.inputs())) > arguments and not itself.uses():
        graph.eraseInput(0)
    return torch._C._create_function_from_graph("counted", graph)
