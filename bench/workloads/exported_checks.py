"""Which programs of torch.export are safe to load: graphs of PyTorch's own operators only.

PyTorch turns the content of such a file into Python: it evaluates sizes and guards, looks operators up by any
dotted path below `torch`, imports the modules that containers name, and writes names and texts into the
source of the module. So each text is checked against what torch.export.save itself writes there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import torch

from bench.workloads.exported_expressions import NotArithmetic, check_guard, check_size

_NAME = re.compile(r"[A-Za-z0-9_.]{0,1000}")
_TEXT = re.compile(r"[A-Za-z0-9_.,:;<>()\[\] @/+*|=-]{0,2000}")
_ARGUMENT = re.compile(r"\*{0,2}[A-Za-z_][A-Za-z0-9_]{0,200}")
_KEY = re.compile(r"[A-Za-z0-9_ .-]{1,200}")
_OPERATOR = re.compile(r"torch\.ops\.(\w{1,100})\.(\w{1,200})\.(\w{1,100})", re.ASCII)

_NAMESPACES = ("aten", "prims", "quantized_decomposed", "torchao", "torchvision")
_TOUCHES_FILES = ("aten::from_file", "aten::from_file.out")
_PYTHON_OPERATORS = frozenset(
    [
        *(
            f"_operator.{name}"
            for name in (
                *("add", "and_", "eq", "floordiv", "ge", "getitem", "gt", "le", "lshift", "lt", "mod", "mul"),
                *("ne", "neg", "not_", "or_", "pos", "pow", "rshift", "sub", "truediv", "xor"),
            )
        ),
        *(f"math.{name}" for name in ("ceil", "floor", "sqrt", "trunc")),
        *(
            f"torch.{name}"
            for name in (
                "sym_float",
                "sym_int",
                "sym_ite",
                "sym_max",
                "sym_min",
                "sym_not",
                "sym_sum",
                "_sym_sqrt",
            )
        ),
        *(
            f"torch.ops.higher_order.{name}"
            for name in (
                *("associative_scan", "auto_functionalized", "auto_functionalized_v2", "cond", "map_impl"),
                *("out_dtype", "scan", "while_loop", "wrap_with_autocast", "wrap_with_set_grad_enabled"),
            )
        ),
    ]
)
_KEPT_METADATA = ("nn_module_stack", "source_fn_stack", "torch_fn")


class CouldRunCode(ValueError):
    """What a file holds that could run code when it is loaded; the message completes "it holds ..."."""


def check_program(program: Any) -> None:
    """Check a `torch._export.serde.schema.ExportedProgram`, and drop what only tells where it came from.

    Raises CouldRunCode where it holds anything but graphs of known operators, names and sizes.
    """
    program.graph_module.metadata = {}
    _check(program, "ExportedProgram", "")


def check_operator(target: str) -> None:
    """Raise CouldRunCode unless the text names an operator of PyTorch that only computes."""
    if target in _PYTHON_OPERATORS:
        return
    found = _OPERATOR.fullmatch(target)
    if found is not None and found[1] in _NAMESPACES:
        overload = "" if found[3] == "default" else f".{found[3]}"
        name = f"{found[1]}::{found[2]}{overload}"
        if name in _registered() and name not in _TOUCHES_FILES:
            return
    raise CouldRunCode(f"a call of {target[:80]!r}, which is no operator that only computes")


def check_containers(text: str) -> None:
    """Raise CouldRunCode unless the text describes nested containers by name, as `treespec_dumps` does.

    Some kinds of container import a module that the text names.
    """
    try:
        protocol, tree = json.loads(text)
        if protocol != 1:
            raise ValueError
        _check_container(tree)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise CouldRunCode(f"containers that may import modules ({text[:60]!r})") from None


@cache
def _registered() -> frozenset[str]:
    """Return the operators of the dispatcher, as `aten::add.Tensor`; TorchScript's own are not among them."""
    return frozenset(torch._C._dispatch_get_all_op_names())


def _check_container(tree: Mapping[str, Any]) -> None:
    kind, context = tree["type"], tree["context"]
    if kind is not None and not _KEY.fullmatch(kind):
        raise ValueError
    if context is not None:
        # Of a named tuple it is the type's name, of all others JSON.
        _check_keys(context if kind == "collections.namedtuple" else json.loads(context))
    for child in tree["children_spec"]:
        _check_container(child)


def _check_keys(context: Any) -> None:
    if isinstance(context, list):
        for entry in context:
            _check_keys(entry)
    elif isinstance(context, str):
        if not _KEY.fullmatch(context):
            raise ValueError
    elif not (context is None or isinstance(context, int)):
        raise ValueError


def _check(value: Any, owner: str, field: str) -> None:
    """Check a value of the schema that stands in `field` of a dataclass."""
    if isinstance(value, str):
        _RULES.get((owner, field), _check_name)(value)
    elif isinstance(value, list | tuple):
        for entry in value:
            _check(entry, owner, field)
    elif isinstance(value, dict):
        _check_dict(value, owner, field)
    elif hasattr(value, "_type") and hasattr(value, "value"):  # a union
        tag = str(value.type)  # of a class of its own, which compares with its union's tags only
        if tag in ("as_custom_obj", "custom_obj"):
            raise CouldRunCode("a pickled object")
        _check(value.value, type(value).__name__, tag)
    elif is_dataclass(value):
        if type(value).__name__ == "Node":
            _drop_messages(value)
        for entry in fields(value):
            _check(getattr(value, entry.name, None), type(value).__name__, entry.name)
    elif not (value is None or isinstance(value, int | float)):
        raise CouldRunCode(f"a {type(value).__name__} in its {field}")


def _drop_messages(node: Any) -> None:
    """Empty an assertion's message: it is a sentence, and becomes part of generated source."""
    if node.target.startswith("torch.ops.aten._") and "assert" in node.target:
        for entry in node.inputs:
            if str(entry.arg.type) == "as_string":
                entry.arg = type(entry.arg).create(as_string="")


def _check_dict(entries: dict[str, Any], owner: str, field: str) -> None:
    if (owner, field) == ("Node", "metadata"):
        safe = {key: text for key, text in entries.items() if key in _KEPT_METADATA and _TEXT.fullmatch(text)}
        entries.clear()
        entries.update(safe)
        return
    for key, entry in entries.items():
        _check_name(key)
        _check(entry, owner, field)


def _check_name(text: str) -> None:
    if not _NAME.fullmatch(text):
        raise CouldRunCode(f"the name {text[:60]!r}, which is no name")


def _check_text(text: str) -> None:
    if not _TEXT.fullmatch(text):
        raise CouldRunCode(f"the text {text[:60]!r}, which could be more than a text in generated source")


def _check_argument(text: str) -> None:
    if not _ARGUMENT.fullmatch(text):
        raise CouldRunCode(f"the argument {text[:60]!r}, which is no name")


def _check_expression(check: Callable[[str], None], kind: str) -> Callable[[str], None]:
    def checked(text: str) -> None:
        try:
            check(text)
        except NotArithmetic:
            raise CouldRunCode(f"Python as a {kind} ({text[:60]!r})") from None

    return checked


_RULES: Mapping[tuple[str, str], Callable[[str], None]] = {
    ("SymExpr", "expr_str"): _check_expression(check_size, "symbolic size"),
    ("ExportedProgram", "guards_code"): _check_expression(check_guard, "guard"),
    ("Node", "target"): check_operator,
    ("Argument", "as_operator"): check_operator,
    ("ModuleCallSignature", "in_spec"): check_containers,
    ("ModuleCallSignature", "out_spec"): check_containers,
    ("ModuleCallSignature", "forward_arg_names"): _check_argument,
    **dict.fromkeys(
        [
            *(("Argument", name) for name in ("as_string", "as_strings")),
            ("ConstantValue", "as_string"),
            ("ModuleCallEntry", "fqn"),
            ("InputToParameterSpec", "parameter_name"),
            ("InputToBufferSpec", "buffer_name"),
            ("InputToTensorConstantSpec", "tensor_constant_name"),
            ("BufferMutationSpec", "buffer_name"),
            ("ParameterMutationSpec", "parameter_name"),
            ("GradientToParameterSpec", "parameter_name"),
            ("ExportedProgram", "torch_version"),
        ],
        _check_text,
    ),
}
