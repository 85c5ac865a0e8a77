"""What OpenVINO's CPU plugin says that it runs: operators with their numbers, and the time in each."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from techniques.backends.tracing import OperatorTime, slowest_first

PRODUCTS = ("Convolution", "FullyConnected", "MatMul")

_NUMBERS = {"f32": "fp32", "f16": "fp16", "u8": "int8", "i8": "int8", "u4": "int4", "i4": "int4"}
_NO_KERNEL = ("Const", "Input", "Output", "Reshape")
_FUSED = "Subgraph"


def kernels_of_compiled(compiled: Any, model: Path, config: Mapping[str, str]) -> list[str]:
    """Return the operators that the CPU plugin runs, with the numbers that they compute in.

    From its runtime model, which tells numbers and compressed weights, but not whether activations are
    quantized as they come: where that is asked for, from oneDNN's log.
    """
    names = set(products_in_subgraphs(compiled, model).values())
    for operator in compiled.get_runtime_model().get_ops():
        info = operator.get_rt_info()
        layer = info["layerType"].astype(str)
        if layer not in _NO_KERNEL:
            names.add(f"{layer} {_numbers(operator, layer, info['primitiveType'].astype(str))}")
    if config["DYNAMIC_QUANTIZATION_GROUP_SIZE"] != "0":
        logged = products_of_log(_log_of_compiling(model, config))
        names = names - {"FullyConnected int8-weight"} | logged if logged else names
    return sorted(names)


def products_in_subgraphs(compiled: Any, model: Path) -> dict[str, str]:
    """Return what is multiplied inside of operators that the plugin made of several, by their names.

    Sequences of small linear layers become one operator, whose own type does not tell (2025 and later; see
    `TokenizeMLPSeqSnippets` of its source). Each is named `MatMul` with the numbers of its weights.
    """
    import openvino

    fused = [
        operator
        for operator in compiled.get_runtime_model().get_ops()
        if operator.get_rt_info()["layerType"].astype(str) == _FUSED
    ]
    if not fused:
        return {}
    products = {
        operator.get_friendly_name()
        for operator in openvino.Core().read_model(str(model)).get_ops()
        if operator.get_type_name() == "MatMul"
    }
    found = {}
    for operator in fused:
        parts = operator.get_rt_info()["originalLayersNames"].astype(str).split(",")
        if products.intersection(parts):
            found[operator.get_friendly_name()] = f"MatMul {_numbers_of_weights(operator)}"
    return found


def _numbers_of_weights(operator: Any) -> str:
    """Return the numbers of the largest constant that an operator reads."""
    inputs = [each.get_source_output() for each in operator.inputs()]
    weights = [each for each in inputs if _is_constant(each.get_node())]
    largest = max(weights or inputs, key=lambda each: math.prod(each.get_partial_shape().get_max_shape()))
    name = largest.get_element_type().to_string()
    return _NUMBERS.get(name, name)


def _is_constant(node: Any) -> bool:
    return bool(node.get_rt_info()["layerType"].astype(str) == "Const")


def _numbers(operator: Any, layer: str, primitive: str) -> str:
    """Return a primitive's numbers, as `fp32`; of a product with compressed weights, as `int8-weight`.

    Of one that keeps its weights without zeros, as `sparse int8`.
    """
    suffix = primitive.rpartition("_")[2].lower()
    number = _NUMBERS.get(suffix, suffix)
    if layer in PRODUCTS and number != "int8":
        weights = operator.input(1).get_element_type()
        if weights.is_integral():
            return f"int{weights.bitwidth}-weight"
    return f"sparse {number}" if "sparse" in primitive else number


_PRODUCT = re.compile(r",create:\w+,cpu,(?:inner_product|matmul),.*\bsrc:(?:f32|bf16|f16):.*\bwei:[us](\d):")


def products_of_log(log: str) -> set[str]:
    """Return the products of floating-point activations with integer weights in a log of oneDNN.

    oneDNN as OpenVINO builds it notes how many activations share a scale where it quantizes them.
    """
    quantized = "src_dyn_quant_group_size:"
    return {
        f"FullyConnected int{product[1]}" + ("" if quantized in line else "-weight")
        for line in log.splitlines()
        if (product := _PRODUCT.search(line)) is not None
    }


# A process of its own, as oneDNN looks only once, before its first primitive, whether to log. It logs what is
# created: of what is executed it was seen to leave lines out, the same ones each time for a file.
_COMPILE = """
import json, sys
sys.modules["openvino_telemetry"] = None
import openvino
openvino.Core().compile_model(sys.argv[1], "CPU", json.loads(sys.argv[2]))
"""


def _log_of_compiling(model: Path, config: Mapping[str, str]) -> str:
    command = [sys.executable, "-c", _COMPILE, str(model), json.dumps(dict(config))]
    logging_on = {**os.environ, "ONEDNN_VERBOSE": "profile_create"}
    done = subprocess.run(command, env=logging_on, check=False, capture_output=True, text=True)
    if done.returncode:
        how = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise RuntimeError(f"the process that logs what OpenVINO compiles has failed: {how}")
    return done.stdout


def trace_request(
    request: Any,
    inputs: Sequence[Any],
    calls: int,
    path: Path,
    names: Mapping[str, str] | None = None,
) -> list[OperatorTime]:
    """Run a new request that counts its operators' times; write a Chrome trace; return them, slowest first.

    `names` are what operators are called, by their nodes, where their own type does not tell.
    The plugin keeps the mean of an operator over all calls, in whole microseconds, not when each ran: the
    trace shows one mean call, operator after operator. The first call, which is not warm, is taken out.
    """
    request.infer(inputs[0], share_inputs=True)
    first = [entry.real_time.total_seconds() for entry in request.profiling_info]
    for number in range(calls):
        request.infer(inputs[number % len(inputs)], share_inputs=True)
    events, start_s = [], 0.0
    times: defaultdict[str, list[float]] = defaultdict(list)
    layers: defaultdict[str, list[str]] = defaultdict(list)
    for entry, first_s in zip(request.profiling_info, first, strict=True):
        if entry.status != entry.Status.EXECUTED:
            continue
        total_s = max(0.0, entry.real_time.total_seconds() * (calls + 1) - first_s)
        name = (names or {}).get(entry.node_name, f"{entry.node_type} {entry.exec_type}")
        times[name].append(total_s)
        layers[name].append(entry.node_name)
        when = {"ph": "X", "pid": 0, "tid": 0, "ts": start_s * 1e6, "dur": total_s / calls * 1e6}
        events.append({"name": name, **when, "args": {"node": entry.node_name, "mean_of_calls": calls}})
        start_s += total_s / calls
    path.write_text(json.dumps({"traceEvents": events}))
    return slowest_first(
        OperatorTime(name, calls * len(own), sum(own), tuple(layers[name])) for name, own in times.items()
    )
