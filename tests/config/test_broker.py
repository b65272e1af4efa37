from __future__ import annotations

from dataclasses import fields

import pytest

from broker.config.broker import BrokerConfig, environment_name, validate_dynamic_broker_configs
from broker.config.broker_schema import BROKER_CONFIGS, SECTIONS
from broker.config.definition import ConfigSource, UpdateMode
from broker.errors import ErrorCode, KafkaError


def test_the_defaults_of_the_class_are_those_of_the_schema() -> None:
    config = BrokerConfig()
    names = {field.name for field in fields(BrokerConfig)}
    for definition in BROKER_CONFIGS.values():
        assert definition.attribute in names
        assert config.value_of(definition.name) == definition.default


def test_every_default_passes_its_own_validator() -> None:
    for definition in BROKER_CONFIGS.values():
        text = definition.format(definition.default)
        if text is not None:
            assert definition.parse(text) == definition.default, definition.name


def test_no_config_is_listed_twice_and_every_synonym_exists() -> None:
    listed = [definition.name for _, definitions in SECTIONS for definition in definitions]
    assert len(listed) == len(set(listed))
    assert {synonym for d in BROKER_CONFIGS.values() for synonym in d.synonyms} <= set(listed)
    assert all(definition.documentation for definition in BROKER_CONFIGS.values())


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("log.segment.bytes", 1 << 30),
        ("log.retention.hours", 168),
        ("message.max.bytes", 1_048_588),
        ("log.message.timestamp.after.max.ms", 3_600_000),
        ("num.partitions", 1),
        ("default.replication.factor", 1),
        ("auto.create.topics.enable", True),
        ("group.initial.rebalance.delay.ms", 3_000),
        ("group.min.session.timeout.ms", 6_000),
        ("group.max.session.timeout.ms", 1_800_000),
        ("offsets.topic.num.partitions", 50),
        ("offsets.retention.minutes", 10_080),
        ("offset.metadata.max.bytes", 4_096),
        ("socket.request.max.bytes", 104_857_600),
        ("connections.max.idle.ms", 600_000),
        ("fetch.max.bytes", 57_671_680),
        ("max.request.partition.size.limit", 2_000),
        ("transaction.max.timeout.ms", 900_000),
        ("producer.id.expiration.ms", 86_400_000),
        ("num.recovery.threads.per.data.dir", 2),
        ("ack.durability", "flush"),
    ],
)
def test_defaults_are_kafkas(name: str, default: object) -> None:
    assert BROKER_CONFIGS[name].default == default


def test_any_config_can_be_given_by_the_environment() -> None:
    config = BrokerConfig.from_environment({"OTTLA_NUM_PARTITIONS": "4", "OTTLA_ACK_DURABILITY": "os", "OTHER": "1"})
    assert (config.num_partitions, config.ack_durability) == (4, "os")
    assert config.static_values == {"num.partitions": "4", "ack.durability": "os"}
    assert environment_name("num.partitions") == "OTTLA_NUM_PARTITIONS"


def test_overrides_win_over_the_environment_and_may_be_typed_or_text() -> None:
    config = BrokerConfig.from_environment({"OTTLA_NUM_PARTITIONS": "4"}, num_partitions=7, ack_durability="interval")
    assert (config.num_partitions, config.ack_durability) == (7, "interval")
    assert BrokerConfig.from_environment({}, log_cleanup_policy=["compact", "delete"]).log_cleanup_policy == (
        "compact",
        "delete",
    )


def test_a_bad_value_names_the_variable_that_holds_it() -> None:
    with pytest.raises(KafkaError, match=r"num\.partitions: Not a number of type INT \(OTTLA_NUM_PARTITIONS\)"):
        BrokerConfig.from_environment({"OTTLA_NUM_PARTITIONS": "many"})
    with pytest.raises(KafkaError, match="OTTLA_ACK_DURABILITY"):
        BrokerConfig.from_environment({"OTTLA_ACK_DURABILITY": "hope"})


def test_broker_n_gets_the_port_of_broker_1_plus_n_minus_1() -> None:
    config = BrokerConfig.from_environment({"OTTLA_KAFKA": "10.0.0.5:9500"}, node_id=3)
    assert (config.host, config.port, config.internal_port) == ("10.0.0.5", 9502, 19502)
    assert config.listeners == ("PLAINTEXT://10.0.0.5:9502", "INTERNAL://10.0.0.5:19502")
    assert config.advertised_listeners == ("PLAINTEXT://10.0.0.5:9502",)
    assert str(config.data_directory) == "var/broker-3"


def test_an_internal_port_that_does_not_fit_above_lies_below() -> None:
    assert BrokerConfig.from_environment({"OTTLA_KAFKA": "127.0.0.1:60000"}).internal_port == 50000


def test_port_0_leaves_every_port_to_the_system() -> None:
    config = BrokerConfig.from_environment({"OTTLA_KAFKA": "127.0.0.1:0"}, node_id=2)
    assert (config.port, config.internal_port, config.advertised_port) == (0, 0, 0)


@pytest.mark.parametrize(
    ("advertised", "node_id", "expected"),
    [
        ("kafka.example:1000", 1, ("kafka.example", 1000)),
        ("kafka.example:1000", 3, ("kafka.example", 1002)),
        ("a:1, b:2 ,c:3", 2, ("b", 2)),
        ("a:1,b:2", 3, ("a", 3)),
        ("[::1]:9092", 1, ("::1", 9092)),
    ],
)
def test_what_clients_are_told(advertised: str, node_id: int, expected: tuple[str, int]) -> None:
    config = BrokerConfig.from_environment({"OTTLA_KAFKA_ADVERTISED": advertised}, node_id=node_id)
    assert (config.advertised_host, config.advertised_port) == expected


def test_a_wildcard_address_is_never_told_to_clients() -> None:
    assert BrokerConfig.from_environment({"OTTLA_KAFKA": "0.0.0.0:9092"}).advertised_host == "127.0.0.1"
    assert BrokerConfig.from_environment({"OTTLA_KAFKA": "[::]:9092"}).advertised_host == "::1"


def test_listeners_win_over_the_short_form() -> None:
    config = BrokerConfig.from_environment(
        {
            "OTTLA_LISTENERS": "PLAINTEXT://0.0.0.0:9092,INTERNAL://10.1.1.1:7000",
            "OTTLA_ADVERTISED_LISTENERS": "PLAINTEXT://broker.example:19999",
        },
        node_id=2,
    )
    assert (config.host, config.port) == ("0.0.0.0", 9092)
    assert (config.internal_host, config.internal_port) == ("10.1.1.1", 7000)
    assert (config.advertised_host, config.advertised_port) == ("broker.example", 19999)


@pytest.mark.parametrize("address", ["9092", "host:", "host:x", "host:70000", ""])
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(KafkaError, match="Must be HOST:PORT"):
        BrokerConfig.from_environment({"OTTLA_ADVERTISED_LISTENERS": f"PLAINTEXT://{address}"})


def test_the_log_directory_follows_home_unless_given() -> None:
    assert BrokerConfig.from_environment({"OTTLA_HOME": "/data"}, node_id=2).log_dirs == ("/data/broker-2",)
    assert BrokerConfig.from_environment({"OTTLA_LOG_DIR": "/disk"}).log_dirs == ("/disk",)
    with pytest.raises(KafkaError, match="one directory per broker"):
        BrokerConfig.from_environment({"OTTLA_LOG_DIRS": "/a,/b"})


def test_broker_id_is_an_older_name_of_node_id() -> None:
    assert BrokerConfig.from_environment({"OTTLA_BROKER_ID": "5"}).node_id == 5
    with pytest.raises(KafkaError, match=r"node\.id"):
        BrokerConfig.from_environment({"OTTLA_BROKER_ID": "5", "OTTLA_NODE_ID": "6"})


def test_dynamic_values_win_over_static_ones_and_own_over_those_of_all() -> None:
    static = BrokerConfig.from_environment({"OTTLA_MESSAGE_MAX_BYTES": "1"})
    everyone = static.with_dynamic({"message.max.bytes": "2"}, {})
    own = everyone.with_dynamic({"message.max.bytes": "2"}, {"message.max.bytes": "3"})
    assert (static.message_max_bytes, everyone.message_max_bytes, own.message_max_bytes) == (1, 2, 3)
    assert own.sources("message.max.bytes") == [
        ("message.max.bytes", "3", ConfigSource.DYNAMIC_BROKER),
        ("message.max.bytes", "2", ConfigSource.DYNAMIC_DEFAULT_BROKER),
        ("message.max.bytes", "1", ConfigSource.STATIC_BROKER),
        ("message.max.bytes", "1048588", ConfigSource.DEFAULT),
    ]
    assert own.with_dynamic({}, {}) == static


def test_a_dynamic_value_this_version_cannot_use_changes_nothing() -> None:
    config = BrokerConfig().with_dynamic({"message.max.bytes": "x", "num.partitions": "9", "invented": "1"}, {})
    assert config.message_max_bytes == BrokerConfig().message_max_bytes
    assert config.num_partitions == 1


def test_sources_name_the_synonym_that_gives_the_value() -> None:
    config = BrokerConfig.from_environment({"OTTLA_LOG_RETENTION_MINUTES": "5"})
    assert config.sources("log.retention.ms") == [
        ("log.retention.minutes", "5", ConfigSource.STATIC_BROKER),
        ("log.retention.hours", "168", ConfigSource.DEFAULT),
    ]


@pytest.mark.parametrize(
    ("configs", "cluster_wide", "code", "message"),
    [
        (
            {"num.partitions": "2"},
            False,
            ErrorCode.INVALID_REQUEST,
            "Cannot update these configs dynamically: {num.partitions}",
        ),
        ({"sasl.enabled.mechanisms": "PLAIN"}, True, ErrorCode.INVALID_REQUEST, "broker id must be specified"),
        ({"message.max.bytes": "-1"}, True, ErrorCode.INVALID_CONFIG, "Value must be at least 0"),
        ({"no.such": "1"}, False, ErrorCode.INVALID_CONFIG, "Unknown broker config name: no.such"),
        ({"message.max.bytes": None}, False, ErrorCode.INVALID_CONFIG, "Null value not supported"),
    ],
)
def test_what_may_not_change_while_brokers_run_is_refused(
    configs: dict[str, str | None], cluster_wide: bool, code: ErrorCode, message: str
) -> None:
    with pytest.raises(KafkaError) as caught:
        validate_dynamic_broker_configs(configs, cluster_wide=cluster_wide)
    assert caught.value.code is code
    assert message in caught.value.message


def test_dynamic_configs_with_good_values_pass() -> None:
    validate_dynamic_broker_configs({"message.max.bytes": "5", "log.retention.ms": "7"}, cluster_wide=True)
    validate_dynamic_broker_configs({"sasl.enabled.mechanisms": "GSSAPI"}, cluster_wide=False)


def test_identity_and_listeners_are_fixed_while_a_broker_runs() -> None:
    for name in ("node.id", "log.dirs", "listeners", "advertised.listeners", "ack.durability"):
        assert BROKER_CONFIGS[name].update_mode is UpdateMode.READ_ONLY
