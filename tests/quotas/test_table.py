from __future__ import annotations

import pytest

from broker.config.definition import LONG_MAX
from broker.config.quota import quota_overrides
from broker.quotas.policy import QuotaPolicy
from broker.quotas.table import QuotaTable
from broker.quotas.window import RateWindow, WindowSpec

SPEC = WindowSpec()


def table(default: float = LONG_MAX, overrides: str = "", **bounds: int) -> QuotaTable[RateWindow]:
    made = QuotaTable(RateWindow, **bounds)
    made.configure(QuotaPolicy.parse(default, overrides), SPEC)
    return made


def client(client_id: str) -> tuple[str, str]:
    return "ANONYMOUS", client_id


def test_without_a_limit_nothing_is_measured() -> None:
    quotas = table()
    assert quotas.record(client("a"), 10**12, 0) == 0
    assert (len(quotas), quotas.policy.active, quotas.wait_ms(client("a"), 0)) == (0, False, 0)


def test_everybody_has_the_default_for_himself_and_some_have_their_own() -> None:
    quotas = table(1_000, "fast:1000000, host:9092:50")
    assert quotas.record(client("a"), 10_000, 0) == 0
    assert quotas.record(client("b"), 10_000, 0) == 0
    assert quotas.record(client("a"), 1_000, 0) == 1_000
    assert quotas.record(client("fast"), 1_000_000, 0) == 0
    assert quotas.record(client("host:9092"), 1_000, 0) == 10_000


def test_an_override_alone_leaves_the_others_free() -> None:
    quotas = table(overrides="slow:1")
    assert quotas.record(client("other"), 10**9, 0) == 0
    assert quotas.record(client("slow"), 100, 0) > 0


def test_a_wait_is_bounded() -> None:
    assert table(1, wait_ms_max=5_000).record(client("a"), 10**9, 0) == 5_000


def test_how_long_to_wait_is_told_without_recording_anything() -> None:
    quotas = table(1_000)
    assert (quotas.wait_ms(client("a"), 0), len(quotas)) == (0, 0)
    quotas.record(client("a"), 12_000, 0)
    assert [quotas.wait_ms(client("a"), 0) for _ in range(2)] == [2_000, 2_000]
    assert quotas.wait_ms(client("b"), 0) == 0


def test_clients_beyond_the_bound_share_one_rate_until_somebody_is_silent() -> None:
    quotas = table(1_000, clients_max=2)
    for client_id in ("a", "b", "c", "d"):
        quotas.record(client(client_id), 6_000, 0)
    assert len(quotas) == 3
    assert quotas.record(client("e"), 1, 0) > 0, "c, d and e are one"
    assert quotas.record(client("f"), 1, SPEC.span_ms) == 0, "a and b were silent for a whole span"
    assert len(quotas) == 1


def test_another_limit_holds_for_what_was_measured_before() -> None:
    quotas = table(1_000)
    quotas.record(client("a"), 10_000, 0)
    quotas.configure(QuotaPolicy.parse(500, ""), SPEC)
    assert quotas.record(client("a"), 0, 0) == 10_000
    quotas.configure(QuotaPolicy.parse(LONG_MAX, ""), SPEC)
    assert len(quotas) == 0


@pytest.mark.parametrize("text", ["a", "a:", "a:0", "a:-1", "a:x", "a:1,a:2", "a:nan"])
def test_a_list_of_overrides_without_sense_is_refused(text: str) -> None:
    assert quota_overrides(text)


def test_a_list_of_overrides_may_be_empty_or_long_but_not_endless() -> None:
    assert quota_overrides("") is None
    assert quota_overrides(",".join(f"c{n}:1" for n in range(1_000))) is None
    assert quota_overrides(",".join(f"c{n}:1" for n in range(1_001))) is not None
