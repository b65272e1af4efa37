"""Groups of real clients: they join, leave, crash and come back, alone and mixed, and lose or repeat nothing."""

from __future__ import annotations

import pytest

from tests.interop.group_member import CLIENTS
from tests.interop.groups import group_of, produce
from tests.support.broker_process import BrokerProcess

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    home = tmp_path_factory.mktemp("groups")
    with BrokerProcess(home, OTTLA_GROUP_MIN_SESSION_TIMEOUT_MS="1000") as process:
        yield process


@pytest.mark.parametrize("client", CLIENTS)
def test_members_join_leave_and_crash(broker, new_topic, client) -> None:
    topic = new_topic(partitions=4)
    produce(broker.bootstrap, topic, [f"first {index}" for index in range(40)])
    with group_of(broker.bootstrap, f"life-{client}", topic) as group:
        first = group.join(client)
        group.wait_shared([first], 4)
        second = group.join(client)
        group.wait_shared([first, second], 4)
        second.leave()
        group.wait_shared([first], 4)
        third = group.join(client)
        group.wait_shared([first, third], 4)
        third.kill()
        group.wait_shared([first], 4)
        produce(broker.bootstrap, topic, [f"second {index}" for index in range(40)])
        group.wait_read({f"{when} {index}" for when in ("first", "second") for index in range(40)})
        assert len(group.values()) == 80, "nothing was read twice"


def test_all_clients_in_one_group(broker, new_topic) -> None:
    topic = new_topic(partitions=6)
    with group_of(broker.bootstrap, "mixed", topic) as group:
        members = []
        for client in CLIENTS:
            members.append(group.join(client))
            group.wait_shared(members, 6)
        members.pop(0).leave()
        group.wait_shared(members, 6)
        produce(broker.bootstrap, topic, [str(index) for index in range(60)])
        group.wait_read({str(index) for index in range(60)})


def test_cooperative_members_keep_what_they_have_while_others_come(broker, new_topic) -> None:
    topic = new_topic(partitions=4)
    with group_of(broker.bootstrap, "cooperative", topic) as group:
        first = group.join("confluent-kafka", assignor="cooperative-sticky")
        group.wait_shared([first], 4)
        second = group.join("confluent-kafka", assignor="cooperative-sticky")
        group.wait_shared([first, second], 4)
        kept = set(first.assignment or [])
        after_joining = first.assignments[first.assignments.index([0, 1, 2, 3]) :]
        assert all(kept <= set(assignment) for assignment in after_joining)
        third = group.join("confluent-kafka", assignor="cooperative-sticky")
        group.wait_shared([first, second, third], 4)


@pytest.mark.parametrize("client", ["confluent-kafka", "kafka-python"])
def test_a_static_member_that_restarts_quickly_disturbs_nobody(broker, new_topic, client) -> None:
    topic = new_topic(partitions=4)
    with group_of(broker.bootstrap, f"static-{client}", topic) as group:
        first = group.join(client, instance="pod-1")
        second = group.join(client, instance="pod-2")
        group.wait_shared([first, second], 4)
        before = list(first.assignments)
        second.kill()
        second = group.join(client, instance="pod-2")
        group.wait_shared([first, second], 4)
        produce(broker.bootstrap, topic, [str(index) for index in range(40)])
        group.wait_read({str(index) for index in range(40)})
        assert first.assignments == before, "nobody else had to give anything up"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("ending", ["clean", "kill"])
def test_a_group_lives_through_a_restart_of_its_coordinator(tmp_path, client, ending) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic

    with BrokerProcess(tmp_path, OTTLA_GROUP_MIN_SESSION_TIMEOUT_MS="1000") as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic("kept", 4, 1)])["kept"].result(timeout=30)
        with group_of(broker.bootstrap, "kept", "kept") as group:
            members = [group.join(client), group.join(client)]
            group.wait_shared(members, 4)
            produce(broker.bootstrap, "kept", [f"first {index}" for index in range(40)])
            group.wait_read({f"first {index}" for index in range(40)})
            broker.kill() if ending == "kill" else broker.stop()
            broker.start()
            produce(broker.bootstrap, "kept", [f"second {index}" for index in range(40)])
            group.wait_read({f"{when} {index}" for when in ("first", "second") for index in range(40)})
            assert len(group.values()) == 80, "nothing was read twice"
