from collections.abc import Sequence

class Node:
    name: str
    op: str
    target: object
    meta: dict[str, object]

class Graph:
    nodes: Sequence[Node]
