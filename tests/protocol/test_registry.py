"""The advertised ranges."""

from __future__ import annotations

import pytest

from broker.protocol import schema
from broker.protocol.api import PRIVATE_API_KEY_MIN, ApiKey
from broker.protocol.registry import NEVER_FLEXIBLE, SERVED, advertised, is_flexible, kio_name, served

PUBLIC = [spec for spec in SERVED.values() if spec.key < PRIVATE_API_KEY_MIN]


def test_produce_is_advertised_from_zero_but_served_from_three() -> None:
    assert advertised()[0] == (ApiKey.PRODUCE, 0, 13)
    assert not any(served(ApiKey.PRODUCE, version) for version in (0, 1, 2, 14))
    assert served(ApiKey.PRODUCE, 3)


def test_advertised_keys_are_public_and_in_order() -> None:
    keys = [key for key, _, _ in advertised()]
    assert keys == sorted(keys)
    assert max(keys) < PRIVATE_API_KEY_MIN
    assert all(SERVED[key].internal for key in SERVED if key >= PRIVATE_API_KEY_MIN)


@pytest.mark.parametrize("spec", PUBLIC, ids=lambda spec: spec.name)
def test_every_served_version_has_a_schema_of_the_flexibility_we_claim(spec) -> None:  # type: ignore[no-untyped-def]
    versions = schema.load(kio_name(spec.key), "request")
    for version in range(spec.min_version, spec.max_version + 1):
        assert versions[version].flexible == is_flexible(spec.key, version)
    assert versions[spec.max_version].name == f"{spec.name}Request"
    assert all(struct.flexible == (number >= spec.flexible_from) for number, struct in versions.items())


def test_offset_delete_and_sasl_handshake_never_become_flexible() -> None:
    assert SERVED[ApiKey.OFFSET_DELETE].flexible_from == NEVER_FLEXIBLE
    assert not is_flexible(ApiKey.SASL_HANDSHAKE, 1)


def test_unknown_keys() -> None:
    assert not served(7, 0)
    assert not is_flexible(7, 9)
    with pytest.raises(LookupError):
        kio_name(7)
