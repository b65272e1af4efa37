"""Imports point down. Changing these tables is a design decision: say why in the commit.

A module may import from its own package and from layers below its own, never from beside or above.
"""

from __future__ import annotations

import ast

import pytest

from tests.architecture.source import Module, imports, modules, relative_imports

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"types", "errors", "limits", "clock", "faultpoints", "allocator"}),
    # ``telemetry.sample`` and ``protocol.private`` are value types and belong to nobody's behaviour.
    frozenset({"config", "protocol", "metadata", "telemetry.sample"}),
    frozenset({"storage"}),
    frozenset(
        {"client_metrics", "cluster", "compaction", "coordination", "partition", "quotas", "rebalancing", "retention"}
    ),
    frozenset({"groups", "replication", "transactions"}),
    frozenset({"handlers"}),
    frozenset({"network", "telemetry", "client", "models", "supervisor"}),
    frozenset({"jobs", "commandline", "machine"}),
    frozenset({"tasks", "management", "app", "apps", "admin"}),
    frozenset({"__main__"}),
)

DJANGO_SIDE = ("broker.apps", "broker.models", "broker.tasks", "broker.admin", "broker.jobs", "broker.management")
"""What of ``broker`` the Django processes load, and the broker process never does."""
FRAMEWORKS = frozenset({"django", "celery", "channels", "unfold", "kombu", "redis"})

PURE_PACKAGES = (
    "broker.partition",
    "broker.groups",
    "broker.transactions",
    "broker.replication",
    "broker.coordination",
    "broker.cluster",
    "broker.compaction",
    "broker.rebalancing",
    "broker.retention",
    "broker.quotas",
    "broker.client_metrics",
)
DRIVERS = {
    "broker.partition.driver": "performs the effects of partition.state",
    "broker.partition.manager": "driver of the set of partitions",
    "broker.partition.maintenance": "has checkpoints written and files unlinked in worker threads",
    "broker.partition.recompressor": "runs recompression in worker threads",
    "broker.partition.isr_proposals": "asks the controller for in-sync sets",
    "broker.partition.flush": "runs the flush rounds of a log dir in a worker thread",
    "broker.groups.driver": "performs the effects of the groups' state machines",
    "broker.coordination.driver": "appends, replays, answers",
    "broker.coordination.transactional": "the coordination driver for logs that also hold transactions",
    "broker.coordination.replies": "completes the futures the coordination driver parks",
    "broker.coordination.partition_log": "what the coordination driver awaits",
    "broker.coordination.ports": "the types of what the coordination driver awaits",
    "broker.coordination.internal_topic": "creates a coordinator's topic through the cluster driver",
    "broker.transactions.driver": "performs the effects of the transactions' state machines",
    "broker.transactions.markers": "sends transaction markers to partition leaders",
    "broker.transactions.gate": "asks transaction coordinators, here and on other brokers",
    "broker.replication.driver": "owns the replicas and the links they are fetched over",
    "broker.replication.link": "keeps one connection to a leader up and asks on it",
    "broker.cluster.driver": "performs the controller's transactions",
    "broker.cluster.registration": "keeps the broker's session with the store",
    "broker.cluster.loss_reports": "reports until somebody listens",
    "broker.cluster.duty": "commits the controller's decisions when something has changed",
    "broker.cluster.producer_ids": "takes blocks of producer ids from the store for the cluster driver",
}
IMPURE = frozenset({"asyncio", "time", "socket", "os", "threading", "subprocess", "datetime", "secrets", "uvloop"})
FILE_SYSTEM = "broker.storage.filesystem"
"""The only module of storage that touches a file: everything else can run on a recorded disk."""


def layer_of(name: str) -> int:
    parts = name.removeprefix("broker.").split(".")
    for key in (".".join(parts[:2]), parts[0]):
        for index, layer in enumerate(LAYERS):
            if key in layer:
                return index
    raise AssertionError(f"{name} belongs to no layer: add it to LAYERS")


def package_of(name: str) -> str:
    return name.split(".")[1]


def broker_modules() -> list[Module]:
    return [module for module in modules() if module.name.startswith("broker.")]


@pytest.mark.parametrize("module", broker_modules(), ids=lambda module: module.name)
def test_imports_point_down(module: Module) -> None:
    wrong = [
        name
        for name in imports(module)
        if name.startswith("broker.")
        and package_of(name) != package_of(module.name)
        and layer_of(name) >= layer_of(module.name)
    ]
    assert not wrong, f"{module.relative} imports from its own layer or above: {wrong}"


def test_the_broker_knows_nothing_of_the_dashboard() -> None:
    wrong = [
        (module.relative, name)
        for module in broker_modules()
        for name in imports(module)
        if name.split(".")[0] == "dashboard"
    ]
    assert not wrong


def test_the_broker_process_loads_neither_django_nor_celery() -> None:
    wrong = [
        (module.relative, name)
        for module in broker_modules()
        if not module.name.startswith(DJANGO_SIDE)
        for name in imports(module)
        if name.split(".")[0] in FRAMEWORKS or name.startswith(DJANGO_SIDE)
    ]
    assert not wrong


def test_pure_packages_have_no_hidden_inputs() -> None:
    wrong = [
        (module.relative, name)
        for module in broker_modules()
        if module.name.startswith(PURE_PACKAGES) and module.name not in DRIVERS
        for name in imports(module)
        if name.split(".")[0] in IMPURE or (name.startswith("random.") and name != "random.Random")
    ]
    assert not wrong, "time, randomness, files and sockets arrive as arguments"


def test_storage_touches_files_only_through_its_port() -> None:
    wrong = [
        f"{module.relative}:{node.lineno} {ast.unparse(node)}"
        for module in broker_modules()
        if module.name.startswith("broker.storage") and module.name != FILE_SYSTEM
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).startswith(("open", "os.", "shutil.", "io.open", "Path("))
        if not ast.unparse(node.func).startswith(("os.path.", "os.strerror"))
    ]
    assert not wrong


def test_every_exception_for_a_driver_is_still_one() -> None:
    assert set(DRIVERS) <= {module.name for module in broker_modules()}


@pytest.mark.parametrize(
    ("package", "only_in"),
    [
        ("kio", {"broker.protocol.schema"}),
        # The demo workload is an application like any other: it speaks to the broker through a real client.
        # So is a command that reads as a member of a group: broker.client administers groups and joins none.
        ("aiokafka", {"broker.protocol.records", "dashboard.demo.workload", "broker.commandline.group_reader"}),
        ("re2", {"broker.groups.consumer.regex"}),
        ("kazoo", {"broker.metadata.zookeeper_connection"}),
        ("uvloop", {"broker.app", "broker.__main__", "broker.network.server"}),
        ("kafka", set()),
        ("confluent_kafka", set()),
    ],
)
def test_a_foreign_library_has_one_door(package: str, only_in: set[str]) -> None:
    users = {module.name for module in modules() if any(name.split(".")[0] == package for name in imports(module))}
    assert users <= only_in


def test_the_dashboard_reaches_a_broker_only_through_its_client() -> None:
    allowed = (
        "broker.client.",
        "broker.errors.",
        "broker.types.",
        "broker.limits.",
        "broker.telemetry.",
        "broker.config.",
        "broker.protocol.api.",
        "broker.protocol.records.",
        "broker.protocol.private.",
        # Pure: what retention would do, shown before it does it.
        "broker.retention.",
        "broker.rebalancing.",
        "broker.compaction.plan.",
        "broker.supervisor.",
        "broker.jobs.",
        "broker.models.",
        "broker.tasks.",
        "broker.clock.",
    )
    wrong = [
        (module.relative, name)
        for module in modules()
        if module.name.startswith("dashboard")
        for name in imports(module)
        if name.startswith("broker.") and not f"{name}.".startswith(allowed)
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("door", "only_in"),
    [
        ("broker.client.blocking", ("dashboard.gateway", "dashboard.demo")),
        ("broker.supervisor.control_client", ("dashboard.services.supervisor",)),
    ],
)
def test_pages_speak_through_one_gateway(door: str, only_in: tuple[str, ...]) -> None:
    wrong = [
        module.relative
        for module in modules()
        if module.name.startswith("dashboard") and not module.name.startswith(only_in)
        if any(name.startswith(door) for name in imports(module))
    ]
    assert not wrong


def test_imports_are_written_out() -> None:
    assert [module.relative for module in modules() if relative_imports(module)] == []
