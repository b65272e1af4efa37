"""ApiVersions against a broker process: versions and the features clients switch on by."""

from __future__ import annotations

import pytest

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.registry import FEATURES, advertised
from tests.support.wire import Wire

SOFTWARE = {"client_software_name": "test", "client_software_version": "1"}


@pytest.mark.parametrize("version", range(5))
def test_every_version_tells_what_is_advertised(wire: Wire, version: int) -> None:
    answer = wire.call(ApiKey.API_VERSIONS, version, m.ApiVersionsRequest(**SOFTWARE))
    assert answer.error_code == 0
    assert [(key.api_key, key.min_version, key.max_version) for key in answer.api_keys] == advertised()


@pytest.mark.parametrize(("version", "lowest"), [(3, 1), (4, 0)])
def test_features_are_finalised_and_older_clients_are_not_told_of_level_0(
    wire: Wire, version: int, lowest: int
) -> None:
    answer = wire.call(ApiKey.API_VERSIONS, version, m.ApiVersionsRequest(**SOFTWARE))
    supported = {f.name: (f.min_version, f.max_version) for f in answer.supported_features}
    finalised = {f.name: (f.min_version_level, f.max_version_level) for f in answer.finalized_features}
    assert supported["transaction.version"] == (lowest, 2)
    assert finalised["transaction.version"] == (2, 2)
    assert set(supported) == set(finalised) == {feature.name for feature in FEATURES}
    assert answer.finalized_features_epoch >= 0


@pytest.mark.parametrize("name", ["", "-x", "a b", "x-"])
def test_a_client_software_that_is_no_name_is_refused(wire: Wire, name: str) -> None:
    request = m.ApiVersionsRequest(client_software_name=name, client_software_version="1")
    answer = wire.call(ApiKey.API_VERSIONS, 4, request)
    assert (answer.error_code, answer.api_keys) == (ErrorCode.INVALID_REQUEST, [])


def test_an_unknown_version_is_answered_in_the_oldest_form(wire: Wire) -> None:
    wire.send(bytes.fromhex("0000000b0012006300000001ffff00"))
    _, answer = wire.answer(ApiKey.API_VERSIONS, 0)
    assert answer.error_code == ErrorCode.UNSUPPORTED_VERSION
    assert [key.api_key for key in answer.api_keys] == [ApiKey.API_VERSIONS]
