"""Prints what a TensorRT's bindings have, as JSON: classes, their members, and the signatures in
their docstrings.

Runs in a process of its own, once for each version: ``describe.py MODULE``.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from types import ModuleType
from typing import Any


def signatures(doc: str | None, name: str) -> list[dict[str, Any]]:
    """Overloads from a docstring of pybind11: ``name(self: T, x: int, y: bool = False) -> R``."""
    found = []
    for line in (doc or "").splitlines():
        match = re.fullmatch(rf"(?:\d+\. )?{re.escape(name)}\((.*)\) -> (.+?):?", line.strip())
        if match:
            found.append({"params": parameters(match[1]), "returns": plain(match[2])})
    return found


def parameters(text: str) -> list[list[Any]]:
    """[name, has a default] of each, without ``self``."""
    parts, depth, part = [], 0, ""
    for char in text:
        depth += (char in "[(<") - (char in "])>")
        if char == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += char
    named = [each.strip() for each in [*parts, part] if each.strip()]
    return [
        [each.split(":")[0].strip(), "=" in each] for each in named if not each.startswith("self:")
    ]


def plain(name: str) -> str:
    return re.sub(r"\b\w+\.tensorrt\w*\.", "", name.strip())


def member(owner: Any, name: str) -> dict[str, Any]:
    found = getattr(owner, name)
    if isinstance(found, property):
        getter = re.search(r"-> (.+)", found.fget.__doc__ or "")
        return {
            "kind": "property",
            "type": plain(getter[1]) if getter else "",
            "settable": found.fset is not None,
        }
    if isinstance(found, type):
        return {"kind": "class"}
    if callable(found):
        return {"kind": "method", "overloads": signatures(found.__doc__, name)}
    return {"kind": "value"}


def describe(module: ModuleType) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in dir(module):
        value = getattr(module, name)
        if isinstance(value, type):
            members = {each: member(value, each) for each in dir(value) if not each.startswith("_")}
            init = signatures(value.__init__.__doc__, "__init__")
            found[name] = {"kind": "class", "init": init, "members": members}
        elif callable(value):
            found[name] = {"kind": "function", "overloads": signatures(value.__doc__, name)}
        else:
            found[name] = {"kind": "value"}
    return found


if __name__ == "__main__":
    loaded = importlib.import_module(sys.argv[1])
    print(json.dumps({"version": loaded.__version__, "names": describe(loaded)}))
