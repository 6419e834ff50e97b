"""Checks source against a TensorRT's bindings: every attribute, assignment and call on an object of
theirs.

Types flow from annotations (``config: tensorrt.IBuilderConfig``), constructors and what the
bindings' docstrings say that methods return. An object whose type is lost on the way is a fault,
too: nothing is left out unseen. What stands behind ``need(trt, option, *names)`` counts only for
versions that have those names: elsewhere ``need`` raises.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MODULE = ("module", "")
# Objects of trtforge or pycuda that have the type Any.
OURS = {"log", "feed", "calibrator", "driver", "allocator"}
OVERRIDES = {
    "IOutputAllocator": {"reallocate_output": 4, "reallocate_output_async": 5, "notify_shape": 2}
}
Type = tuple[str, Any] | None


@dataclass
class Sources:
    """Trees of the files, and what one may know of another.

    Attributes:
        returns: class of TensorRT's that a function returns, by its name.
        needs: names that a function asks ``need`` for, by its name.
    """

    trees: dict[str, ast.Module]
    returns: dict[str, str] = field(default_factory=dict)
    needs: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, texts: dict[str, str]) -> Sources:
        sources = cls({name: ast.parse(text) for name, text in texts.items()})
        for tree in sources.trees.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef):
                    if node.returns is not None and (found := annotated(node.returns)):
                        sources.returns[node.name] = found
                    sources.needs.setdefault(node.name, []).extend(asked(node))
        return sources


def texts(folder: Path, names: list[str]) -> dict[str, str]:
    return {name: (folder / name).read_text(encoding="utf-8") for name in names}


def annotated(node: ast.expr) -> str:
    """``tensorrt.X``, ``tensorrt_api.X`` or ``trt.X``: X; empty for any other annotation."""
    if (
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == "type"
    ):
        node = node.slice
    roots = ("tensorrt", "tensorrt_api", "trt")
    known = (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in roots
    )
    return node.attr if known and isinstance(node, ast.Attribute) else ""


def asked(function: ast.AST) -> list[str]:
    """Constant names in the calls of ``need``."""
    calls = [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "need"
    ]
    return [
        name.value
        for call in calls
        for name in call.args[2:]
        if isinstance(name, ast.Constant) and isinstance(name.value, str)
    ]


def has(api: dict[str, Any], name: str) -> bool:
    first, _, rest = name.partition(".")
    return first in api and (not rest or rest in api[first].get("members", {}))


def check(sources: Sources, api: dict[str, Any]) -> list[str]:
    """What these bindings would refuse, as ``file:line: fault``."""
    faults: list[str] = []
    for name, tree in sources.trees.items():
        checker = Checker(name, sources, api)
        checker.block(tree.body, {})
        faults += checker.faults
    return sorted(set(faults))


class Checker:
    """One file against one version."""

    def __init__(self, name: str, sources: Sources, api: dict[str, Any]) -> None:
        self.name, self.sources, self.api = name, sources, api
        self.faults: list[str] = []
        self.fields: dict[str, Type] = {"_trt": MODULE}  # of self
        own = {each for known in api.values() for each in known.get("members", {})}
        self.telling = {each for each in own if "_" in each}  # names that no object of ours has

    def fault(self, node: ast.AST, text: str) -> None:
        self.faults.append(f"{self.name}:{getattr(node, 'lineno', 0)}: {text}")

    # Statements

    def block(self, body: list[ast.stmt], env: dict[str, Type]) -> None:
        for statement in body:
            if not self.available(statement):
                return  # need() raises here
            self.statement(statement, env)

    def available(self, statement: ast.stmt) -> bool:
        call = statement.value if isinstance(statement, ast.Expr) else None
        if not (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id.startswith("need")
        ):
            return True
        names = (
            asked(statement) if call.func.id == "need" else self.sources.needs.get(call.func.id, [])
        )
        return all(has(self.api, name) for name in names)

    def statement(self, node: ast.stmt, env: dict[str, Type]) -> None:
        if isinstance(node, ast.FunctionDef):
            self.function(node, env)
        elif isinstance(node, ast.ClassDef):
            self.klass(node, env)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            self.assign(node, env)
        else:
            for name, value in ast.iter_fields(node):
                inside = (
                    [each for each in value if isinstance(each, ast.AST)]
                    if isinstance(value, list)
                    else [value]
                )
                if inside and isinstance(inside[0], ast.stmt):
                    self.block(inside, env)
                    continue
                for each in inside:
                    if isinstance(each, ast.expr):
                        self.type_of(each, env)
                    elif isinstance(each, (ast.withitem, ast.ExceptHandler)):
                        self.within(each, env)
                if name == "target" and isinstance(value, ast.Name):
                    env.pop(value.id, None)

    def within(self, node: ast.withitem | ast.ExceptHandler, env: dict[str, Type]) -> None:
        if isinstance(node, ast.withitem):
            self.type_of(node.context_expr, env)
        else:
            self.block(node.body, env)

    def function(self, node: ast.FunctionDef, outer: dict[str, Type]) -> None:
        env = dict(outer)
        for argument in [*node.args.args, *node.args.kwonlyargs]:
            env[argument.arg] = self.declared(argument)
        self.block(node.body, env)

    def declared(self, argument: ast.arg) -> Type:
        if argument.arg == "trt":
            return MODULE
        note = argument.annotation
        if note is None:
            return None
        if found := annotated(note):
            kind = "class" if isinstance(note, ast.Subscript) else "object"
            return (kind, found)
        return ("any", "") if isinstance(note, ast.Name) and note.id == "Any" else None

    def klass(self, node: ast.ClassDef, env: dict[str, Type]) -> None:
        base = self.type_of(node.bases[0], env) if node.bases else None
        if base and base[0] == "class":
            for each in node.body:
                if isinstance(each, ast.FunctionDef) and not each.name.startswith("_"):
                    self.override(each, base[1])
        for _ in range(2):  # fields that one method sets are known in the others
            seen = len(self.faults)
            self.block(node.body, env)
            if _ == 0:
                del self.faults[seen:]

    def override(self, node: ast.FunctionDef, base: str) -> None:
        count = len(node.args.args) - 1
        members = self.api.get(base, {}).get("members", {})
        if base in OVERRIDES and node.name in OVERRIDES[base]:
            if count != OVERRIDES[base][node.name]:
                self.fault(
                    node,
                    f"{base}.{node.name} gets {OVERRIDES[base][node.name]} arguments, not {count}",
                )
        elif node.name not in members:
            self.fault(node, f"{base} calls no {node.name}")
        elif all(len(each["params"]) != count for each in members[node.name]["overloads"]):
            self.fault(node, f"{base}.{node.name} gets other arguments")

    def assign(self, node: ast.Assign | ast.AnnAssign, env: dict[str, Type]) -> None:
        value = self.type_of(node.value, env) if node.value else None
        if isinstance(node, ast.AnnAssign) and (name := annotated(node.annotation)):
            value = ("object", name)
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            pairs = [(target, value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(
                    zip(
                        target.elts,
                        (self.type_of(each, env) for each in node.value.elts),
                        strict=True,
                    )
                )
            for each, kind in pairs:
                self.bind(each, kind, env)

    def bind(self, target: ast.expr, kind: Type, env: dict[str, Type]) -> None:
        if isinstance(target, ast.Name):
            env[target.id] = kind
        elif isinstance(target, ast.Attribute):
            if isinstance(target.value, ast.Name) and target.value.id == "self":
                self.fields[target.attr] = kind
                return
            owner = self.type_of(target.value, env)
            found = self.member(target, owner) if owner and owner[0] == "object" else None
            if found is not None and not found.get("settable"):
                self.fault(target, f"{owner[1] if owner else ''}.{target.attr} can't be set")
        elif isinstance(target, ast.Subscript):
            self.type_of(target.value, env)

    # Expressions

    def type_of(self, node: ast.expr, env: dict[str, Type]) -> Type:
        if isinstance(node, ast.Name):
            return env.get(node.id)
        if isinstance(node, ast.Attribute):
            return self.attribute(node, env)
        if isinstance(node, ast.Call):
            return self.call(node, env)
        if isinstance(node, ast.NamedExpr):
            env[node.target.id] = self.type_of(node.value, env)
            return env[node.target.id]
        if isinstance(node, ast.Lambda):
            return self.type_of(node.body, env | {each.arg: None for each in node.args.args})
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
            env = dict(env)
        for each in ast.iter_child_nodes(node):
            if isinstance(each, ast.expr):
                self.type_of(each, env)
            elif isinstance(each, ast.comprehension):
                for part in (each.iter, *each.ifs):
                    self.type_of(part, env)
        return None

    def attribute(self, node: ast.Attribute, env: dict[str, Type]) -> Type:
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            return self.fields.get(node.attr)
        owner = self.type_of(node.value, env)
        if owner is None or owner[0] == "any":
            self.lost(node, owner)
            return None
        found = self.member(node, owner)
        if found is None:
            return None
        if found["kind"] == "class":
            return ("class", node.attr)
        if found["kind"] in ("method", "function"):
            return ("call", (f"{owner[1]}.{node.attr}".lstrip("."), found["overloads"]))
        return (
            self.made(found.get("type", ""))
            if found["kind"] == "property" and owner[0] == "object"
            else None
        )

    def lost(self, node: ast.Attribute, owner: Type) -> None:
        name = node.value.id if isinstance(node.value, ast.Name) else ""
        if owner and name not in OURS:
            self.fault(node, f"{name} is typed Any: what is .{node.attr}?")
        elif (
            not owner
            and node.attr in self.telling
            and name not in (*OURS, "signal", "_trt", "options", "stream")
        ):
            self.fault(node, f"the type of what has .{node.attr} is lost")

    def member(self, node: ast.Attribute, owner: tuple[str, Any]) -> dict[str, Any] | None:
        if owner[0] == "call":
            self.fault(node, f"{owner[1][0]} is a method: it has no {node.attr}")
            return None
        if owner == MODULE and node.attr.startswith("__"):
            return {"kind": "value"}
        known = self.api if owner == MODULE else self.api.get(owner[1], {}).get("members", {})
        if owner != MODULE and owner[1] not in self.api:
            self.fault(node, f"the module has no {owner[1]}")
            return None
        if owner[0] == "class" and node.attr == "__init__":
            return {
                "kind": "method",
                "overloads": [
                    {"params": [["self", False], *each["params"]], "returns": ""}
                    for each in self.api[owner[1]]["init"]
                ],
            }
        if node.attr not in known:
            self.fault(node, f"{owner[1] or 'the module'} has no {node.attr}")
            return None
        found: dict[str, Any] = known[node.attr]
        return found

    def made(self, name: str) -> Type:
        return ("object", name) if self.api.get(name, {}).get("kind") == "class" else None

    def call(self, node: ast.Call, env: dict[str, Type]) -> Type:
        function = self.type_of(node.func, env)
        for each in [*node.args, *(keyword.value for keyword in node.keywords)]:
            self.type_of(each.value if isinstance(each, ast.Starred) else each, env)
        if isinstance(node.func, ast.Name) and node.func.id in self.sources.returns:
            return ("object", self.sources.returns[node.func.id])
        if function is None:
            return None
        if function[0] == "class":
            overloads = self.api[function[1]]["init"] if function[1] in self.api else []
            if overloads:
                self.arity(node, f"{function[1]}()", overloads)
            return ("object", function[1])
        if function[0] == "call":
            name, overloads = function[1]
            self.arity(node, name, overloads)
            return self.made(overloads[0]["returns"]) if overloads else None
        return None

    def arity(self, node: ast.Call, name: str, overloads: list[dict[str, Any]]) -> None:
        if any(isinstance(each, ast.Starred) for each in node.args) or not overloads:
            return
        named = {keyword.arg for keyword in node.keywords}
        for each in overloads:
            names = [parameter for parameter, _ in each["params"]]
            given = set(names[: len(node.args)]) | named
            least = {parameter for parameter, default in each["params"] if not default}
            if (
                len(node.args) <= len(names)
                and named <= set(names[len(node.args) :])
                and least <= given
            ):
                return
        takes = " or ".join(str(len(each["params"])) for each in overloads)
        self.fault(node, f"{name} takes {takes} arguments, not {len(node.args) + len(named)}")
