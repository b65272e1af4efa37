"""Reading and changing configs of topics, brokers, groups and client-metrics subscriptions."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from broker.client.errors import raise_for_code
from broker.client.results import CONFIG_SOURCES, CONFIG_TYPES, ConfigEntry, ConfigSynonym
from broker.client.router import Router
from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey


class ResourceType(IntEnum):
    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


class AlterOperation(IntEnum):
    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


_DEFAULT_SOURCES = frozenset({"DEFAULT_CONFIG", "UNKNOWN"})


class ConfigsClient:
    def __init__(self, router: Router) -> None:
        self._router = router

    async def describe_topic(self, name: str) -> list[ConfigEntry]:
        """Every config of a topic with its origin, by name."""
        return await self._describe(ResourceType.TOPIC, name, None)

    async def describe_broker(self, broker_id: int | None) -> list[ConfigEntry]:
        """Asked of that broker itself: its static configs are known nowhere else. None: what is set for all brokers."""
        return await self._describe(ResourceType.BROKER, _broker_name(broker_id), broker_id)

    async def alter_topic(self, name: str, changes: Mapping[str, str | None], *, validate_only: bool = False) -> None:
        """Set each config to its value; None removes the topic's own value so that the default acts again."""
        await self._alter(ResourceType.TOPIC, name, changes, validate_only, None)

    async def alter_broker(
        self, broker_id: int | None, changes: Mapping[str, str | None], *, validate_only: bool = False
    ) -> None:
        """Change one broker's dynamic configs, or with None those of all brokers."""
        await self._alter(ResourceType.BROKER, _broker_name(broker_id), changes, validate_only, broker_id)

    async def describe_group(self, group_id: str) -> list[ConfigEntry]:
        """The configs of a consumer group: its own, or what it inherits from the brokers."""
        return await self._describe(ResourceType.GROUP, group_id, None)

    async def alter_group(
        self, group_id: str, changes: Mapping[str, str | None], *, validate_only: bool = False
    ) -> None:
        await self._alter(ResourceType.GROUP, group_id, changes, validate_only, None)

    async def describe_client_metrics(self, name: str) -> list[ConfigEntry]:
        """A client-metrics subscription (KIP-714)."""
        return await self._describe(ResourceType.CLIENT_METRICS, name, None)

    async def alter_client_metrics(
        self, name: str, changes: Mapping[str, str | None], *, validate_only: bool = False
    ) -> None:
        """Made by its first config, gone with its last."""
        await self._alter(ResourceType.CLIENT_METRICS, name, changes, validate_only, None)

    async def describe_loggers(self, broker_id: int) -> list[ConfigEntry]:
        """The log levels of one broker's process."""
        return await self._describe(ResourceType.BROKER_LOGGER, str(broker_id), broker_id)

    async def alter_loggers(
        self, broker_id: int, changes: Mapping[str, str | None], *, validate_only: bool = False
    ) -> None:
        await self._alter(ResourceType.BROKER_LOGGER, str(broker_id), changes, validate_only, broker_id)

    async def list_resources(self, kind: ResourceType) -> list[str]:
        """Names of what has configs of its own; needs a broker of Kafka 4.1 or later."""
        request = m.ListConfigResourcesRequest(resource_types=[kind])
        response = await self._router.call_any(ApiKey.LIST_CONFIG_RESOURCES, request)
        raise_for_code(response.error_code)
        return [resource.resource_name for resource in response.config_resources]

    async def _describe(self, kind: ResourceType, name: str, broker_id: int | None) -> list[ConfigEntry]:
        resource = m.DescribeConfigsRequest.DescribeConfigsResource(
            resource_type=kind, resource_name=name, configuration_keys=None
        )
        request = m.DescribeConfigsRequest(resources=[resource], include_synonyms=True, include_documentation=True)
        if broker_id is None:
            response = await self._router.call_any(ApiKey.DESCRIBE_CONFIGS, request)
        else:
            response = await self._router.call_broker(broker_id, ApiKey.DESCRIBE_CONFIGS, request, repeatable=True)
        result = _only(response.results, name)
        return sorted((_read_entry(entry) for entry in result.configs), key=lambda entry: entry.name)

    async def _alter(
        self,
        kind: ResourceType,
        name: str,
        changes: Mapping[str, str | None],
        validate_only: bool,
        broker_id: int | None,
    ) -> None:
        resource = m.IncrementalAlterConfigsRequest.AlterConfigsResource(
            resource_type=kind,
            resource_name=name,
            configs=[
                m.IncrementalAlterConfigsRequest.AlterableConfig(
                    name=key,
                    config_operation=AlterOperation.DELETE if value is None else AlterOperation.SET,
                    value=value,
                )
                for key, value in changes.items()
            ],
        )
        request = m.IncrementalAlterConfigsRequest(resources=[resource], validate_only=validate_only)

        async def attempt() -> None:
            target = await self._router.controller_id() if broker_id is None else broker_id
            # Setting values is idempotent, so a lost answer may be asked for again.
            response = await self._router.call_broker(
                target, ApiKey.INCREMENTAL_ALTER_CONFIGS, request, repeatable=True
            )
            _only(response.responses, name)

        # Nobody else can answer for a broker that is named.
        await (self._router.until_routed(attempt) if broker_id is None else attempt())


def _broker_name(broker_id: int | None) -> str:
    """The empty name stands for the cluster-wide default of all brokers."""
    return "" if broker_id is None else str(broker_id)


def _only(results: list[Any], name: str) -> Any:
    result = next((result for result in results if result.resource_name == name), None)
    if result is None:
        raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, f"the broker's answer does not mention {name!r}")
    raise_for_code(result.error_code, result.error_message)
    return result


def _read_entry(entry: Any) -> ConfigEntry:
    source = CONFIG_SOURCES.get(entry.config_source, "UNKNOWN")
    return ConfigEntry(
        name=entry.name,
        value=entry.value,
        source=source,
        is_default=source in _DEFAULT_SOURCES,
        type=CONFIG_TYPES.get(entry.config_type, "UNKNOWN"),
        documentation=entry.documentation or "",
        read_only=entry.read_only,
        sensitive=entry.is_sensitive,
        synonyms=tuple(
            ConfigSynonym(name=synonym.name, value=synonym.value, source=CONFIG_SOURCES.get(synonym.source, "UNKNOWN"))
            for synonym in entry.synonyms or ()
        ),
    )
