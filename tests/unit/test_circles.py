"""No modules import each other in a circle, not even inside functions."""

import grimp


def circles(edges: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules that all reach each other: Tarjan's strongly connected components."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(module: str) -> None:
        number[module] = low[module] = len(number)
        stack.append(module)
        for other in sorted(edges[module]):
            if other not in number:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], number[other])
        if low[module] == number[module]:
            at = stack.index(module)
            found.append({*stack[at:]})
            del stack[at:]

    for module in sorted(edges):
        if module not in number:
            visit(module)
    return [each for each in found if len(each) > 1]


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]


def test_there_are_none() -> None:
    """Imports for types only do not count: they do not happen at run time."""
    graph = grimp.build_graph("k3os", exclude_type_checking_imports=True)
    edges = {each: graph.find_modules_directly_imported_by(each) for each in graph.modules}
    assert len(edges) > 300
    assert circles(edges) == []
