"""The expressions in a program of torch.export: symbolic sizes and guards, which PyTorch runs as Python.

SymPy evaluates the text of a size, and guards become the source of a function. So both must be arithmetic
over sizes and nothing else. Sizes are SymPy's `srepr`, as PyTorch writes them, or its plain spelling, as
older versions did; guards are comparisons of the inputs' sizes.
"""

from __future__ import annotations

import ast
import re

_CHARACTERS = re.compile(r"[A-Za-z0-9_ ()\[\],.'=<>!+*/%-]{1,20000}")
_SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_PLAIN_SYMBOL = re.compile(r"_?(?:s|u|z|f|d|zf|zuf)\d{1,9}")
_DECIMAL = re.compile(r"-?[0-9.]{1,400}(?:e[+-]?\d{1,5})?")
_MAX_NODES = 5_000
_MAX_EXPONENT = 64
_MAX_NESTED_POWERS = 2

_CONSTANTS = ("true", "false", "oo", "int_oo", "inf")
_POWERS = ("Pow", "PowByNatural", "FloatPow", "LShift", "RShift")
_FUNCTIONS = (
    *(
        "Abs",
        "Add",
        "And",
        "CeilDiv",
        "CeilToInt",
        "CleanDiv",
        "Eq",
        "Equality",
        "ExprCondPair",
        "FloatTrueDiv",
    ),
    *("FloorDiv", "FloorToInt", "Ge", "GreaterThan", "Gt", "ITE", "Identity", "IntTrueDiv"),
    *(
        "IsNonOverlappingAndDenseIndicator",
        "Le",
        "LessThan",
        "Lt",
        "Max",
        "Min",
        "Mod",
        "ModularIndexing",
        "Mul",
    ),
    *(
        "Ne",
        "Not",
        "Or",
        "Piecewise",
        "PythonMod",
        "Rational",
        "RoundDecimal",
        "RoundToInt",
        "StrictGreaterThan",
    ),
    *("StrictLessThan", "ToFloat", "TruncToFloat", "TruncToInt", "Unequality", "Where", "ceiling", "floor"),
)
_METHODS = ("size", "stride", "storage_offset", "numel", "dim")
_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod)


class NotArithmetic(ValueError):
    """An expression that is more than arithmetic over sizes."""


def check_size(text: str) -> None:
    """Raise NotArithmetic unless the text is a symbolic size: `Mul(Integer(2), Symbol('s0'))`, `2*s0`."""
    _check(text, guard=False)


def check_guard(text: str) -> None:
    """Raise NotArithmetic unless the text compares sizes of inputs: `L['x'].size()[0] % 2 == 0`."""
    _check(text, guard=True)


def _check(text: str, guard: bool) -> None:
    try:
        if not _CHARACTERS.fullmatch(text):
            raise NotArithmetic(text)
        tree = ast.parse(text, mode="eval")
        if sum(1 for _ in ast.walk(tree)) > _MAX_NODES:
            raise NotArithmetic(text)
        _Grammar(guard).expression(tree.body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise NotArithmetic(text[:60]) from None


class _Grammar:
    """What may stand in a size, and in a guard besides."""

    def __init__(self, guard: bool) -> None:
        self.guard = guard

    def expression(self, node: ast.expr, powers: int = 0) -> None:
        match node:
            case ast.Constant(value=bool() | int() | float()):
                pass
            case ast.Name(id=name) if name in _CONSTANTS or (
                _PLAIN_SYMBOL.fullmatch(name) and not self.guard
            ):
                pass
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not(), operand=operand):
                self.expression(operand, powers)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                self.power([left, right], powers)
            case ast.BinOp(left=left, op=operation, right=right) if isinstance(operation, _ARITHMETIC):
                self.expression(left, powers)
                self.expression(right, powers)
            case ast.Compare(left=left, comparators=others):
                for each in (left, *others):
                    self.expression(each, powers)
            case ast.BoolOp(values=values):
                for each in values:
                    self.expression(each, powers)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords):
                self.call(name, arguments, keywords, powers)
            case _ if self.guard:
                self.source(node)
            case _:
                raise NotArithmetic

    def call(self, name: str, arguments: list[ast.expr], keywords: list[ast.keyword], powers: int) -> None:
        if name in ("Symbol", "Float"):
            form = _SYMBOL if name == "Symbol" else _DECIMAL
            match arguments:
                case [ast.Constant(value=str(text))] if form.fullmatch(text):
                    if all(isinstance(entry.value, ast.Constant) and entry.arg for entry in keywords):
                        return
            raise NotArithmetic
        if keywords:
            raise NotArithmetic
        if name in _POWERS:
            self.power(arguments, powers)
        elif name == "Integer" or name in _FUNCTIONS:
            for each in arguments:
                self.expression(each, powers)
        else:
            raise NotArithmetic

    def power(self, arguments: list[ast.expr], powers: int) -> None:
        """Check a power or a shift: by a small number, so that it is worked out at once."""
        base, exponent = arguments
        while isinstance(exponent, ast.Call) and exponent.args:  # Integer(2)
            exponent = exponent.args[0]
        if isinstance(exponent, ast.UnaryOp):
            exponent = exponent.operand
        match exponent:
            case ast.Constant(value=int() | float() as number) if number <= _MAX_EXPONENT:
                if powers < _MAX_NESTED_POWERS:
                    return self.expression(base, powers + 1)
        raise NotArithmetic

    def source(self, node: ast.expr) -> None:
        """Check what a guard reads of the inputs: `L['x'][0].size()[1]`."""
        match node:
            case ast.Name(id="L"):
                pass
            case ast.Subscript(value=value, slice=ast.Constant(value=int())):
                self.source(value)
            case ast.Subscript(value=value, slice=ast.Constant(value=str(name))) if _SYMBOL.fullmatch(name):
                self.source(value)
            case ast.Call(func=ast.Attribute(value=value, attr=name), args=arguments, keywords=[]):
                if name not in _METHODS or not all(isinstance(each, ast.Constant) for each in arguments):
                    raise NotArithmetic
                self.source(value)
            case _:
                raise NotArithmetic
