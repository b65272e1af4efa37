"""Topics in Django admin against a real broker: nothing happens before it is confirmed, and then exactly that."""

from __future__ import annotations

import itertools
import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from broker.client.blocking import Client as KafkaClient
from dashboard.gateway import gateway
from dashboard.models import AuditEntry, Topic
from tests.support.ports import free_port

pytestmark = pytest.mark.django_db
ADD = "/admin/dashboard/topic/add/"
LIST = "/admin/dashboard/topic/"
_numbers = itertools.count(1)


@pytest.fixture
def name() -> str:
    """The broker outlives the tests: every topic has a name of its own."""
    return f"admin-{next(_numbers)}"


def change_url(name: str) -> str:
    return f"{LIST}{name}/change/"


def configs(cluster: KafkaClient, name: str) -> dict[str, str | None]:
    return {
        entry.name: entry.value
        for entry in cluster.describe_topic_configs(name)
        if entry.source == "DYNAMIC_TOPIC_CONFIG"
    }


def partitions(cluster: KafkaClient, name: str) -> int:
    """0 when there is no such topic."""
    (topic,) = cluster.metadata([name]).topics
    return len(topic.partitions)


def fields(name: str, partition_count: int = 1, **config: str) -> dict[str, Any]:
    values = {f"config_{key}": value for key, value in config.items()}
    return {"name": name, "partition_count": str(partition_count), "replication_factor": "1", **values, "_save": ""}


def review(client: Client, url: str, values: dict[str, Any]) -> str:
    response = client.post(url, values)
    assert response.status_code == 200
    return response.content.decode()


def confirm(client: Client, url: str, page: str) -> Any:
    """Post what the confirmation page would post."""
    hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page)
    assert hidden, f"no confirmation: {page}"
    return client.post(url, {unescape(key): unescape(value) for key, value in hidden})


def create(client: Client, name: str, partition_count: int = 1, **config: str) -> None:
    assert confirm(client, ADD, review(client, ADD, fields(name, partition_count, **config))).status_code == 302


def test_a_topic_is_created_with_its_configs_once_it_is_confirmed(
    staff: Client, cluster: KafkaClient, name: str
) -> None:
    page = review(staff, ADD, fields(name, 3, retention_ms="2 h", message_timestamp_type="LogAppendTime"))
    assert "Nothing is changed yet." in page
    assert "inherits 7 d" in page
    assert partitions(cluster, name) == 0
    assert confirm(staff, ADD, page).headers["Location"] == LIST
    assert partitions(cluster, name) == 3
    assert configs(cluster, name) == {"retention.ms": "7200000", "message.timestamp.type": "LogAppendTime"}
    assert Topic.objects.get(name=name).partition_count == 3
    entry = AuditEntry.objects.get(subject=name)
    assert (entry.action, entry.before, entry.actor_name, entry.address) == ("create topic", None, "staff", "127.0.0.1")
    assert entry.after == {
        "partitions": 3,
        "replication factor": 1,
        "retention.ms": "7200000",
        "message.timestamp.type": "LogAppendTime",
    }


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"name": "no spaces allowed"}, "name", "nvalid"),
        ({"partition_count": "0"}, "partition_count", "partitions"),
        ({"replication_factor": "7"}, "replication_factor", "eplication"),
        ({"config_retention_ms": "7 parsecs"}, "config_retention_ms", "is not a unit"),
        ({"config_segment_bytes": "1 B"}, "config_segment_bytes", "at least"),
    ],
)
def test_what_is_refused_is_an_error_of_the_form_and_changes_nothing(
    staff: Client, cluster: KafkaClient, name: str, values: dict[str, str], field: str, words: str
) -> None:
    topics = {topic.name for topic in cluster.metadata().topics}
    response = staff.post(ADD, {**fields(name), **values})
    assert response.status_code == 200
    errors = response.context["adminform"].form.errors
    assert list(errors) == [field]
    assert words in str(errors[field])
    assert {topic.name for topic in cluster.metadata().topics} == topics
    assert not AuditEntry.objects.filter(outcome="done").exists()


def test_a_name_that_is_taken_is_refused_by_the_broker_at_the_field(
    staff: Client, cluster: KafkaClient, name: str
) -> None:
    cluster.create_topic(name, 1, 1)
    response = staff.post(ADD, fields(name))
    assert list(response.context["adminform"].form.errors) == ["name"]


def test_a_change_shows_before_and_after_and_does_only_that(staff: Client, cluster: KafkaClient, name: str) -> None:
    create(staff, name, 1, retention_ms="2 h", segment_bytes="2 MiB")
    page = review(staff, change_url(name), fields(name, 1, retention_ms="", segment_bytes="2 MiB", segment_ms="1 h"))
    assert re.search(r"retention\.ms</th><td>2 h</td><td><strong>inherits 7 d</strong>", page)
    assert "segment.bytes" not in re.sub(r"<input[^>]*>", "", page)
    confirm(staff, change_url(name), page)
    assert configs(cluster, name) == {"segment.bytes": "2097152", "segment.ms": "3600000"}
    entry = AuditEntry.objects.filter(subject=name, action="configure topic").get()
    assert entry.before == {"retention.ms": "7200000", "segment.ms": None}
    assert entry.after == {"retention.ms": None, "segment.ms": "3600000"}


def test_the_form_starts_from_what_is_set_in_the_cluster(staff: Client, cluster: KafkaClient, name: str) -> None:
    cluster.create_topic(name, 2, 1, {"retention.ms": "60000", "message.timestamp.type": "LogAppendTime"})
    form = staff.get(change_url(name)).context["adminform"].form
    assert form.initial["config_retention_ms"] == "1 min"
    assert form.initial["config_message_timestamp_type"] == "LogAppendTime"
    assert form.fields["config_segment_bytes"].widget.attrs["placeholder"] == "1 GiB (inherited)"
    page = review(
        staff, change_url(name), fields(name, 2, retention_ms="1 min", message_timestamp_type="LogAppendTime")
    )
    assert "Nothing would change." in page


def test_partitions_are_added_and_never_removed(staff: Client, cluster: KafkaClient, name: str) -> None:
    cluster.create_topic(name, 2, 1)
    page = review(staff, change_url(name), fields(name, 5))
    assert "Adding partitions changes where keys go" in page
    confirm(staff, change_url(name), page)
    assert partitions(cluster, name) == 5
    response = staff.post(change_url(name), fields(name, 3))
    assert "cannot be removed" in " ".join(response.context["adminform"].form.errors["partition_count"]) or (
        "not removed" in str(response.context["adminform"].form.errors)
    )
    assert partitions(cluster, name) == 5


def test_deleting_takes_the_typed_name(staff: Client, cluster: KafkaClient, name: str) -> None:
    cluster.create_topic(name, 1, 1)
    staff.get(LIST)
    url = f"{LIST}{name}/delete/"
    assert "Type <strong>" in staff.get(url).content.decode()
    assert staff.post(url, {"typed_name": name.upper()}).status_code == 400
    assert partitions(cluster, name) == 1
    assert staff.post(url, {"typed_name": name}).status_code == 302
    assert partitions(cluster, name) == 0
    assert not Topic.objects.filter(name=name).exists()
    assert AuditEntry.objects.get(subject=name).action == "delete topic"


def test_a_topic_of_the_cluster_itself_cannot_be_deleted(staff: Client, cluster: KafkaClient) -> None:
    topic = Topic(name="__consumer_offsets", internal=True)
    topic.save()
    response = staff.post(f"{LIST}__consumer_offsets/delete/", {"typed_name": "__consumer_offsets"})
    assert response.status_code == 403


def test_the_list_mirrors_what_another_client_does(staff: Client, cluster: KafkaClient, name: str) -> None:
    before = staff.get(f"{LIST}revision/").json()["revision"]
    cluster.create_topic(name, 1, 1)
    created = staff.get(f"{LIST}revision/").json()["revision"]
    assert created != before
    assert name in staff.get(LIST).content.decode()
    cluster.create_partitions(name, 4)
    assert staff.get(f"{LIST}revision/").json()["revision"] != created
    assert Topic.objects.get(name=name).partition_count == 4
    cluster.delete_topic(name)
    assert staff.get(f"{LIST}revision/").json()["revision"] == before
    assert name not in staff.get(LIST).content.decode()


def test_who_may_only_look_cannot_change_anything(onlooker: Client, cluster: KafkaClient, name: str) -> None:
    cluster.create_topic(name, 1, 1)
    assert onlooker.get(LIST).status_code == 200
    page = onlooker.get(change_url(name)).content.decode()
    assert 'name="_save"' not in page
    confirmed = {**fields(name, 9, retention_ms="1 h"), "_confirmed": "1"}
    for url, values in (
        (ADD, {**fields("forbidden"), "_confirmed": "1"}),
        (ADD, fields("forbidden")),
        (change_url(name), confirmed),
        (change_url(name), fields(name, 9)),
        (f"{LIST}{name}/delete/", {"typed_name": name}),
    ):
        assert onlooker.post(url, values).status_code == 403, url
    assert partitions(cluster, name) == 1
    assert partitions(cluster, "forbidden") == 0
    assert configs(cluster, name) == {}


def test_forms_of_other_sites_are_refused(staff: Client, cluster: KafkaClient, name: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = staff.cookies
    assert strict.post(ADD, {**fields(name), "_confirmed": "1"}).status_code == 403
    assert partitions(cluster, name) == 0


def test_a_cluster_that_does_not_answer_is_said_and_nothing_is_saved(
    staff: Client, cluster: KafkaClient, settings: Any, name: str
) -> None:
    cluster.create_topic(name, 1, 1)
    staff.get(LIST)
    gateway().client.close()
    gateway.cache_clear()
    settings.OTTLA_BOOTSTRAP = [f"127.0.0.1:{free_port()}"]
    page = staff.get(LIST).content.decode()
    assert "The cluster does not answer." in page
    assert name in page
    assert staff.get(f"{LIST}revision/").status_code == 503
    response = staff.post(ADD, fields("unreachable"), follow=True)
    assert "Nothing was changed." in response.content.decode()
    assert AuditEntry.objects.get().outcome == "refused"
