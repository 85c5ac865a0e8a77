"""Takes a valid value apart: what a careless, an unlucky and a hostile hand make of it."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

TEXTS = (
    *("", " ", "\n", "a\nb", "\t", "\x00", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b1m", "\r"),
    *("\u202egpj.exe", "\u2066\u2069", "\u200b", "\ufeff", "\udce9", "é", "日本語", "🚀", "A\u0301" * 50),
    *("=1+1", "+1", "-1", "@SUM(A1)", "'", '"', "\\", "`", "$x", "${x}", "%s", "%n", "{0}", "{{7*7}}"),
    *("<script>alert(1)</script>", "[red]x[/red]", "[/]", "../../etc/passwd", "/etc/passwd", "~", "."),
    *("..", "a/b", "CON", "*", "?", "**", "[", "[!", "a" * 300, "x" * 10_000, "=" * 400, ":" * 300),
    *("nan", "inf", "-inf", "1e400", "0x10", "1_000", "None", "null", "true", "auto", "tuned", "none"),
    *("adam", "adam:lr=0", "adam:lr=nan", "adam:lr=1e-3", "momentum:lr=0.1,momentum=0.9", "sgd:", "adam:="),
    *("int8-static", "prune-mean:0.5", "prune-mean:nan", "distill:0.5", "none+none", "int8-static+none"),
    *("a+b", "+", "cpu-eager", "onnxruntime", "cpu-eager:threads=0", "cuda-eager", "digits", "fashion_mnist"),
    *("own", "own:", "module:", "module:os:getcwd", "module:/nowhere.py:x", "onnx:", "onnx:/nowhere.onnx"),
    *("exported:/nowhere.pt2", "huggingface:/nowhere", "image_folder:/nowhere", "text_table:/nowhere"),
)

NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 64, 10**6, 10**6 + 1, 2**31, 2**32, 2**53, 2**63 - 1, 10**30),
    *(0.0, -0.0, 0.5, -0.5, 1e-320, 1e-300, 1e300, 1.7976931348623157e308),
    *(float("inf"), float("-inf"), float("nan"), True, False),
)


def a_text(rng: random.Random) -> str:
    """Return a text from the list, two of them joined, or any characters."""
    kind = rng.randrange(4)
    if kind == 0:
        return "".join(
            chr(rng.choice((rng.randrange(128), rng.randrange(0xD800)))) for _ in range(rng.randrange(20))
        )
    return rng.choice(TEXTS) + (rng.choice(TEXTS) if kind == 1 else "")


def a_value(rng: random.Random, *, depth: int = 2) -> Any:
    """Return anything that JSON or TOML may hold."""
    kind = rng.randrange(6 if depth else 3)
    if kind == 0:
        return a_text(rng)
    if kind == 1:
        return rng.choice(NUMBERS)
    if kind == 2:
        return rng.choice((None, [], {}, "", 0))
    if kind == 3:
        return [a_value(rng, depth=depth - 1) for _ in range(rng.randrange(4))]
    if kind == 4:
        return {a_text(rng): a_value(rng, depth=depth - 1) for _ in range(rng.randrange(3))}
    return nested(rng.choice((10, 40, 100)), rng)


def nested(depth: int, rng: random.Random) -> Any:
    """Return lists or tables, each in the next."""
    content: Any = 1
    for _ in range(depth):
        content = [content] if rng.random() < 0.5 else {"a": content}
    return content


def changed(content: Any, rng: random.Random) -> Any:
    """Return a document with one to three of its parts replaced, removed, doubled or renamed."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = _change_one(content, rng)
    return content


def _change_one(content: Any, rng: random.Random) -> Any:
    places = list(_places(content))
    if not places:
        return a_value(rng)
    holder, key = rng.choice(places)
    kind = rng.randrange(5)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[a_text(rng)] = holder.pop(key)
    elif kind == 2 and isinstance(holder, list):
        holder.append(holder[key])
    elif kind == 3 and isinstance(holder, dict):
        holder[a_text(rng)] = a_value(rng)
    else:
        holder[key] = a_value(rng)
    return content


def _places(content: Any) -> Any:
    if isinstance(content, dict | list):
        for key in list(content) if isinstance(content, dict) else range(len(content)):
            yield content, key
            yield from _places(content[key])


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with some flipped, cut out, put in, repeated or cut off."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 50))):
        if not content:
            break
        place, length = rng.randrange(len(content)), rng.choice((1, 1, 2, 8, 100, 5000))
        kind = rng.randrange(5)
        if kind == 0:
            content[place] = rng.randrange(256)
        elif kind == 1:
            del content[place : place + length]
        elif kind == 2:
            content[place:place] = bytes(rng.randrange(256) for _ in range(min(length, 100)))
        elif kind == 3:
            content[place:place] = content[place : place + length]
        else:
            del content[place:]
    return bytes(content)


def as_json(content: Any) -> str:
    """Write JSON, deeper than `json.dumps` can."""
    try:
        return json.dumps(content)
    except RecursionError:
        return '{"a":' * 20_000 + "1" + "}" * 20_000


def as_toml(content: dict[str, Any]) -> str:
    """Write a TOML document; what TOML cannot hold is written as it looks."""
    lines = []
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    for key, value in content.items():
        if key not in tables:
            lines.append(f"{_toml_text(key)} = {_toml(value)}")
    for key, value in tables.items():
        lines += [
            f"[{_toml_text(key)}]",
            *(f"{_toml_text(name)} = {_toml(part)}" for name, part in value.items()),
        ]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _toml_text(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_text(key)} = {_toml(part)}" for key, part in value.items()) + "}"
    return repr(value)


def _toml_text(text: Any) -> str:
    # JSON's escapes are TOML's, but for surrogates, which TOML has no way to write.
    return json.dumps(str(text).encode("utf-8", "replace").decode(), ensure_ascii=False).replace(
        "\x7f", "\\u007f"
    )
