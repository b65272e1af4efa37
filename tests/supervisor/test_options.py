from __future__ import annotations

from pathlib import Path

import pytest

from broker.supervisor.options import Endpoint, client_endpoints, internal_endpoints, options_from_environment


def test_without_anything_it_is_three_brokers_on_this_machine() -> None:
    options = options_from_environment({})
    assert options.home == Path("var").absolute()
    assert (options.brokers, options.kafka, options.http, options.only) == (
        3,
        Endpoint("127.0.0.1", 9092),
        Endpoint("127.0.0.1", 8000),
        "",
    )


def test_further_brokers_follow_and_internal_listeners_are_ten_thousand_above() -> None:
    options = options_from_environment({"OTTLA_BROKERS": "3", "OTTLA_KAFKA": "0.0.0.0:9192"})
    assert [options.client_endpoint(number).port for number in (1, 2, 3)] == [9192, 9193, 9194]
    assert options.internal_endpoint(3) == Endpoint("0.0.0.0", 19194)


def test_processes_connect_to_this_machine_when_brokers_listen_everywhere() -> None:
    environ = {"OTTLA_BROKERS": "2", "OTTLA_KAFKA": "0.0.0.0:9092"}
    assert client_endpoints(environ) == ["127.0.0.1:9092", "127.0.0.1:9093"]
    assert internal_endpoints(environ) == ["127.0.0.1:19092", "127.0.0.1:19093"]


def test_brokers_elsewhere_are_named_one_by_one() -> None:
    environ = {"OTTLA_BOOTSTRAP": "b1:9092, b2:9092"}
    assert client_endpoints(environ) == ["b1:9092", "b2:9092"]
    assert internal_endpoints(environ) == ["b1:19092", "b2:19092"]
    assert internal_endpoints({**environ, "OTTLA_BOOTSTRAP_INTERNAL": "[::1]:1"}) == ["[::1]:1"]


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"OTTLA_BROKERS": "0"}, "--brokers or OTTLA_BROKERS: '0' is not a number from 1 to"),
        ({"OTTLA_BROKERS": "many"}, "--brokers or OTTLA_BROKERS"),
        ({"OTTLA_KAFKA": "9092"}, "--kafka or OTTLA_KAFKA: '9092' is not HOST:PORT"),
        ({"OTTLA_HTTP": "localhost:0"}, "--http or OTTLA_HTTP"),
        ({"OTTLA_HTTP": "localhost:65536"}, "--http or OTTLA_HTTP"),
        ({"OTTLA_KAFKA": "localhost:60000"}, "choose a port up to 55533"),
        ({"OTTLA_ONLY": "janitor"}, "--only or OTTLA_ONLY: 'janitor' is none of redis, broker"),
        ({"OTTLA_ONLY": "broker-0"}, "--only or OTTLA_ONLY"),
        ({"OTTLA_HOME": "/tmp/" + "x" * 120}, "--home .*: too long"),
    ],
)
def test_what_makes_no_sense_is_refused_by_the_name_of_the_option(environ: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        options_from_environment(environ)


def test_a_worker_may_be_told_whose_files_are_on_its_machine() -> None:
    assert options_from_environment({"OTTLA_WORKER_BROKERS": "2, 5"}).worker_brokers == (2, 5)
    assert options_from_environment({}).worker_brokers == ()


@pytest.mark.parametrize("text", ["two", "0", "1;2", "-1"])
def test_ids_of_brokers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="OTTLA_WORKER_BROKERS"):
        options_from_environment({"OTTLA_WORKER_BROKERS": text})
