from __future__ import annotations

import pytest

from broker.supervisor.options import options_from_environment
from broker.supervisor.roles import STOP_PHASES, child_environment, listening_endpoints, service_specs


def names(**environ: str) -> list[str]:
    return [spec.name for spec in service_specs(options_from_environment(environ))]


def test_everything_is_one_of_each_and_as_many_brokers_as_asked_for() -> None:
    assert names(OTTLA_BROKERS="2") == [
        *("redis", "broker-1", "broker-2", "collector", "worker", "beat", "web"),
        "demo",
    ]


def test_a_given_redis_is_used_instead_of_one_of_our_own() -> None:
    assert names(OTTLA_BROKERS="1", REDIS_URL="redis://cache:6379/0") == [
        "broker-1",
        "collector",
        "worker",
        "beat",
        "web",
        "demo",
    ]


def test_the_demo_is_started_only_when_it_is_asked_for() -> None:
    def starts(**environ: str) -> bool:
        specs = service_specs(options_from_environment(environ))
        return next(spec.autostart for spec in specs if spec.name == "demo")

    assert not starts()
    assert starts(OTTLA_DEMO="true")
    assert starts(OTTLA_ONLY="demo")
    with pytest.raises(ValueError, match="OTTLA_DEMO"):
        starts(OTTLA_DEMO="maybe")


@pytest.mark.parametrize("role", ["redis", "collector", "worker", "beat", "web", "demo"])
def test_a_role_runs_alone_and_needs_nothing_it_does_not_start(role: str) -> None:
    (spec,) = service_specs(options_from_environment({"OTTLA_ONLY": role}))
    assert spec.role == role
    assert spec.needs == ()


def test_brokers_run_alone_all_of_them_or_one() -> None:
    assert names(OTTLA_ONLY="broker", OTTLA_BROKERS="2") == ["broker-1", "broker-2"]
    assert names(OTTLA_ONLY="broker-2") == ["broker-2"]


def test_every_role_has_a_place_in_the_order_of_stopping() -> None:
    specs = service_specs(options_from_environment({}))
    order = [sorted(roles) for phase in STOP_PHASES for roles, _ in phase.groups]
    assert order == [["web"], ["beat", "demo"], ["worker"], ["collector"], ["broker"], ["redis"]]
    assert {spec.role for spec in specs} == {role for roles in order for role in roles}


@pytest.mark.parametrize(
    ("brokers", "expected"), [("1", ("1", "1")), ("2", ("2", "1")), ("3", ("3", "2")), ("5", ("3", "2"))]
)
def test_new_topics_are_replicated_as_the_number_of_brokers_allows(brokers: str, expected: tuple[str, str]) -> None:
    environ = {"OTTLA_BROKERS": brokers}
    child = child_environment(options_from_environment(environ), environ)
    assert (child["OTTLA_DEFAULT_REPLICATION_FACTOR"], child["OTTLA_MIN_INSYNC_REPLICAS"]) == expected
    own = {**environ, "OTTLA_MIN_INSYNC_REPLICAS": "3"}
    assert child_environment(options_from_environment(own), own)["OTTLA_MIN_INSYNC_REPLICAS"] == "3"


def test_children_get_the_same_answers_but_not_the_password() -> None:
    environ = {"OTTLA_HOME": "/srv/o", "OTTLA_ADMIN_PASSWORD": "x", "OTTLA_NUM_PARTITIONS": "4", "PATH": "/bin"}
    child = child_environment(options_from_environment(environ), environ)
    assert child["OTTLA_HOME"] == "/srv/o"
    assert child["OTTLA_NUM_PARTITIONS"] == "4"
    assert child["OTTLA_REDIS_URL"] == "unix:///srv/o/valkey.sock?db=0"
    assert child["PATH"] == "/bin"
    assert "OTTLA_ADMIN_PASSWORD" not in child


@pytest.mark.parametrize("name", ["OTTLA_METADATA", "DATABASE_URL"])
def test_children_are_told_where_things_are_kept(name: str) -> None:
    assert child_environment(options_from_environment({}), {name: "there"})[name] == "there"


def test_a_worker_may_be_told_whose_files_it_has() -> None:
    options = options_from_environment({"OTTLA_ONLY": "worker", "OTTLA_BROKERS": "3", "OTTLA_WORKER_BROKERS": "3"})
    (worker,) = service_specs(options)
    assert worker.argv[worker.argv.index("--queues") + 1] == "ottla,maintenance.3"
    assert worker.argv[worker.argv.index("--concurrency") + 1] == "2"


def test_the_rebalance_delay_of_a_broker_can_be_chosen() -> None:
    name = "OTTLA_GROUP_INITIAL_REBALANCE_DELAY_MS"
    assert child_environment(options_from_environment({}), {})[name] == "0"
    assert child_environment(options_from_environment({}), {name: "3000"})[name] == "3000"


def test_every_port_that_will_be_bound_is_checked() -> None:
    options = options_from_environment({"OTTLA_BROKERS": "2"})
    ports = {endpoint.port for endpoint in listening_endpoints(options, service_specs(options)).values()}
    assert ports == {9092, 9093, 19092, 19093, 8000}


def test_the_worker_consumes_the_queue_of_every_broker_on_its_machine() -> None:
    specs = {spec.name: spec for spec in service_specs(options_from_environment({"OTTLA_BROKERS": "2"}))}
    argv = specs["worker"].argv
    assert argv[argv.index("--queues") + 1] == "ottla,maintenance.1,maintenance.2"
    assert argv[argv.index("--concurrency") + 1] == "3"
    (alone,) = service_specs(options_from_environment({"OTTLA_ONLY": "worker"}))
    assert alone.argv[alone.argv.index("--queues") + 1] == "ottla,maintenance.1,maintenance.2,maintenance.3"
