"""G1c: circular information flow among transactions.

An edge goes from the operation that wrote the highest value another one polled of a partition to that other one. There
are no edges between writes: Kafka never isolates writes of different transactions, so their order proves nothing. A
cycle at read_committed means that somebody read what was not decided yet; at read_uncommitted it is only reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.faults.checker.history import READ_COMMITTED
from tests.faults.checker.run import Run
from tests.faults.checker.verdict import Anomaly


def circular_flow(run: Run) -> Iterator[Anomaly]:
    # Only who both reads and writes can be part of a cycle.
    both = [one for one in run.operations if one.sends and one.polls]
    place = {id(one): number for number, one in enumerate(both)}
    edges: list[list[int]] = [[] for _ in both]
    for number, operation in enumerate(both):
        for records in operation.polls.values():
            if not records:
                continue
            highest = max(records, key=lambda record: record.offset)
            writer = run.writers.get(highest.value)
            if writer is not None and writer is not operation and id(writer) in place:
                edges[place[id(writer)]].append(number)
    for component in strongly_connected(edges):
        if len(component) < 2:
            continue
        members = [both[number] for number in component]
        committed = all(one.about.isolation == READ_COMMITTED for one in members)
        who = " → ".join(f"{one.process}#{one.index}" for one in members[:6])
        yield Anomaly(
            name="circular information flow" if committed else "circular information flow, uncommitted",
            detail=who,
            at_ns=members[0].completed_ns,
            warning=not committed,
        )


def strongly_connected(edges: Sequence[Sequence[int]]) -> list[list[int]]:
    """Tarjan's algorithm with a stack of its own: histories are longer than Python's recursion is deep."""
    count = len(edges)
    order, low = [-1] * count, [0] * count
    on_stack = [False] * count
    stack: list[int] = []
    components: list[list[int]] = []
    clock = 0
    for root in range(count):
        if order[root] >= 0:
            continue
        work = [(root, 0)]
        while work:
            node, at = work.pop()
            if at == 0:
                order[node] = low[node] = clock
                clock += 1
                stack.append(node)
                on_stack[node] = True
            for position in range(at, len(edges[node])):
                following = edges[node][position]
                if order[following] < 0:
                    work += [(node, position + 1), (following, 0)]
                    break
                if on_stack[following]:
                    low[node] = min(low[node], order[following])
            else:
                if low[node] == order[node]:
                    components.append(_pop_component(stack, on_stack, node))
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[node])
    return components


def _pop_component(stack: list[int], on_stack: list[bool], node: int) -> list[int]:
    component = []
    while True:
        member = stack.pop()
        on_stack[member] = False
        component.append(member)
        if member == node:
            return component[::-1]


RULES = (circular_flow,)
