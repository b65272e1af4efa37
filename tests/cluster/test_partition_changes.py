from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broker.cluster.image import PartitionImage
from broker.cluster.partition_changes import Ask, Election, Rules, change_partition
from tests.cluster.builders import NOW_MS


def image(**changes: Any) -> PartitionImage:
    fields: dict[str, Any] = {
        "leader": 1,
        "leader_epoch": 5,
        "isr": (1, 2, 3),
        "replicas": (1, 2, 3),
        "partition_epoch": 7,
    }
    return PartitionImage(**(fields | changes))


def rules(*alive: int, minimum: int = 2, **changes: Any) -> Rules:
    fields: dict[str, Any] = {"min_insync_replicas": minimum, "unclean": False, "alive": alive or (1, 2, 3)}
    return Rules(**(fields | {"now_ms": NOW_MS} | changes))


def state(before: PartitionImage, ask: Ask, how: Rules) -> tuple[Any, ...]:
    """(leader, leader epoch, isr, elr, cause)."""
    record = change_partition(before, ask, how)
    assert record is not None
    assert record.partition_epoch == before.partition_epoch + 1
    assert record.changed_at_ms == NOW_MS
    return record.leader, record.leader_epoch, record.isr, record.elr, record.cause


# Leaders and eligible replicas ---------------------------------------------------------------------------


def test_nothing_changes_when_nothing_is_asked() -> None:
    assert change_partition(image(), Ask(cause="x"), rules()) is None


def test_the_leader_stays_when_a_follower_leaves() -> None:
    assert state(image(), Ask(cause="isr_shrunk", isr={1, 2}), rules(1, 2)) == (1, 5, [1, 2], [], "isr_shrunk")


def test_who_leaves_a_set_that_becomes_too_small_is_eligible() -> None:
    assert state(image(), Ask(cause="isr_shrunk", isr={1}), rules(1)) == (1, 5, [1], [2, 3], "isr_shrunk")


def test_with_fewer_replicas_than_the_minimum_all_of_them_are_enough() -> None:
    alone = image(replicas=(1,), isr=(1,))
    assert change_partition(alone, Ask(cause="x"), rules(1, minimum=2)) is None


def test_an_in_sync_replica_follows_a_leader_that_failed() -> None:
    ask = Ask(cause="broker_failed", leader_cause="leader_failed", isr={2, 3})
    assert state(image(), ask, rules(2, 3)) == (2, 6, [2, 3], [], "leader_failed")


def test_while_somebody_is_in_sync_nobody_else_leads() -> None:
    before = image(isr=(1,), elr=(2, 3))
    assert state(before, Ask(cause="broker_failed", isr=()), rules(2, 3)) == (2, 6, [2], [1, 3], "broker_failed")
    assert change_partition(before, Ask(cause="x"), rules(1, 2, 3)) is None


def test_the_last_in_sync_replica_leaves_as_eligible_and_the_partition_without_a_leader() -> None:
    before = image(isr=(1,), replicas=(1, 2, 3), elr=(2,))
    record = change_partition(before, Ask(cause="broker_failed", isr=(), leader_cause="leader_failed"), rules(3))
    assert record is not None
    assert (record.leader, record.isr, record.elr, record.last_known_leader) == (-1, [], [1, 2], 1)
    assert record.leader_epoch == 6


def test_eligible_replicas_cease_to_be_when_the_set_is_large_enough_again() -> None:
    before = image(isr=(1,), elr=(2,))
    assert state(before, Ask(cause="isr_grown", isr={1, 3}), rules()) == (1, 5, [1, 3], [], "isr_grown")


def test_eligible_replicas_of_another_minimum_are_not_believed() -> None:
    """With one enough in sync the high watermark moved on: broker 2 may lack what broker 1 had acknowledged."""
    relic = image(isr=(1,), elr=(2,))
    record = change_partition(relic, Ask(cause="broker_failed", isr=()), rules(2, minimum=1))
    assert record is not None
    assert (record.leader, record.elr) == (-1, [1])


def test_who_lost_data_is_neither_in_sync_nor_eligible() -> None:
    before = image(isr=(), elr=(1, 2), leader=-1, last_known_leader=1)
    assert state(before, Ask(cause="x", unfit=(1,)), rules(1)) == (-1, 5, [], [2], "x")


def test_a_leader_in_a_new_life_leads_under_a_new_epoch() -> None:
    ask = Ask(cause="broker_restarted", isr=(), new_life=True)
    alone = image(replicas=(1,), isr=(1,))
    assert state(alone, ask, rules(1)) == (1, 6, [1], [], "leader_restarted")


# Last resorts --------------------------------------------------------------------------------------------


def test_when_everybodys_data_is_in_doubt_the_last_leader_leads() -> None:
    before = image(isr=(), elr=(1,), leader=-1, last_known_leader=1)
    assert state(before, Ask(cause="x", unfit=(1,)), rules(1, 2)) == (1, 6, [1], [], "last_known_leader")


def test_but_not_when_its_replica_is_gone_and_others_may_have_more() -> None:
    before = image(isr=(), elr=(1,), leader=-1, last_known_leader=1)
    record = change_partition(before, Ask(cause="x", unfit=(1,)), rules(1, 2, empty_handed=(1,)))
    assert record is not None
    assert (record.leader, record.isr, record.elr) == (-1, [], [])


def test_a_last_leader_that_lost_its_replica_is_not_believed_in_a_later_life_either() -> None:
    """Its next registration names no loss: the empty directory looks like a replica by then."""
    before = image(isr=(1,), elr=(), leader=1)
    record = change_partition(before, Ask(cause="x", isr=(), unfit=(1,)), rules(1, 2, minimum=1, empty_handed=(1,)))
    assert record is not None
    assert (record.leader, record.isr, record.elr, record.last_known_leader) == (-1, [], [], -1)
    later = image(isr=(), elr=(), leader=-1, last_known_leader=-1)
    assert change_partition(later, Ask(cause="x"), rules(1, 2, minimum=1)) is None


def test_an_unclean_election_stays_known_when_its_cause_is_overwritten() -> None:
    before = image(isr=(), elr=(1,), leader=-1, last_known_leader=1)
    record = change_partition(before, Ask(cause="x"), rules(2, unclean=True))
    assert record is not None
    assert (record.cause, record.unclean_epoch, record.unclean_at_ms) == ("unclean", 6, NOW_MS)
    after = image(isr=(2,), leader=2, leader_epoch=6, unclean_epoch=6, unclean_at_ms=NOW_MS)
    grown = change_partition(after, Ask(cause="isr_grown", isr=(1, 2)), rules(1, 2, now_ms=NOW_MS + 5))
    assert grown is not None
    assert (grown.cause, grown.unclean_epoch, grown.unclean_at_ms) == ("isr_grown", 6, NOW_MS)


def test_a_single_replica_that_lost_everything_still_leads() -> None:
    alone = image(replicas=(1,), isr=(1,))
    ask = Ask(cause="broker_restarted", isr=(), unfit=(1,), new_life=True)
    assert state(alone, ask, rules(1, empty_handed=(1,)))[:3] == (1, 6, [1])


def test_an_unclean_election_needs_permission_and_prefers_who_has_something() -> None:
    before = image(isr=(), elr=(1,), leader=-1, last_known_leader=1)
    assert change_partition(before, Ask(cause="x"), rules(2, 3)) is None
    allowed = rules(2, 3, unclean=True, empty_handed=(2,))
    assert state(before, Ask(cause="x"), allowed) == (3, 6, [3], [], "unclean")
    asked = Ask(cause="x", election=Election.UNCLEAN)
    assert state(before, asked, rules(2, 3)) == (2, 6, [2], [], "unclean")


def test_no_unclean_election_while_a_certain_replica_may_lead() -> None:
    before = image(isr=(), elr=(3,), leader=-1)
    asked = Ask(cause="x", election=Election.UNCLEAN)
    assert state(before, asked, rules(2, 3, unclean=True)) == (3, 6, [3], [], "leader_elected")


# Preferences ---------------------------------------------------------------------------------------------


def test_the_preferred_replica_leads_when_asked_for_and_in_sync() -> None:
    ask = Ask(cause="preferred", election=Election.PREFERRED)
    assert state(image(leader=2), ask, rules()) == (1, 6, [1, 2, 3], [], "preferred")
    assert change_partition(image(leader=2, isr=(2, 3)), ask, rules()) is None


def test_who_is_draining_leads_only_if_nobody_else_may() -> None:
    ask = Ask(cause="drained")
    assert state(image(), ask, rules(reluctant=(1,))) == (2, 6, [1, 2, 3], [], "drained")
    assert change_partition(image(isr=(1, 2)), ask, rules(reluctant=(1, 2))) is None
    preferred = Ask(cause="preferred", election=Election.PREFERRED)
    assert change_partition(image(leader=2), preferred, rules(reluctant=(1,))) is None


# Reassignments -------------------------------------------------------------------------------------------


def test_a_move_begins_with_all_replicas_old_and_new() -> None:
    ask = Ask(cause="reassigning", replicas=(4, 1, 2, 3), adding=(4,), removing=(3,))
    record = change_partition(image(), ask, rules(1, 2, 3, 4))
    assert record is not None
    assert (record.replicas, record.adding, record.removing, record.isr) == ([4, 1, 2, 3], [4], [3], [1, 2, 3])
    assert (record.leader, record.leader_epoch, record.cause) == (1, 6, "reassigning")


def test_it_is_complete_when_all_new_replicas_are_in_sync() -> None:
    moving = image(replicas=(4, 5, 1, 2), isr=(1, 2), adding=(4, 5), removing=(1, 2))
    halfway = change_partition(moving, Ask(cause="isr_grown", isr={1, 2, 4}), rules(1, 2, 4, 5))
    assert halfway is not None
    assert (halfway.replicas, halfway.isr, halfway.cause) == ([4, 5, 1, 2], [4, 1, 2], "isr_grown")
    record = change_partition(moving, Ask(cause="isr_grown", isr={1, 2, 4, 5}), rules(1, 2, 4, 5))
    assert record is not None
    assert (record.replicas, record.isr, record.adding, record.removing) == ([4, 5], [4, 5], [], [])
    assert (record.leader, record.leader_epoch, record.cause) == (4, 6, "reassigned")


def test_dropping_replicas_is_complete_at_once_unless_only_they_are_in_sync() -> None:
    ask = Ask(cause="reassigning", replicas=(1, 2, 3), removing=(1,))
    assert state(image(), ask, rules()) == (2, 6, [2, 3], [], "reassigned")
    record = change_partition(image(isr=(1,)), ask, rules())
    assert record is not None
    assert (record.replicas, record.removing, record.isr) == ([1, 2, 3], [1], [1])


def test_a_copy_that_the_minimum_needs_is_kept_until_another_replica_is_back() -> None:
    moving = image(isr=(1, 3), replicas=(1, 2, 3), removing=(3,))
    assert change_partition(moving, Ask(cause="isr_grown"), rules(1, 3)) is None
    back = change_partition(moving, Ask(cause="isr_grown", isr={1, 2, 3}), rules(1, 2, 3))
    assert back is not None
    assert (back.replicas, back.isr, back.cause) == ([1, 2], [1, 2], "reassigned")


def test_a_replica_that_is_not_in_sync_anyway_is_given_up_at_once() -> None:
    moving = image(isr=(1,), replicas=(1, 2, 3))
    record = change_partition(moving, Ask(cause="reassigning", removing=(3,)), rules(1))
    assert record is not None
    assert (record.replicas, record.isr, record.cause) == ([1, 2], [1], "reassigned")


# Whatever happens ----------------------------------------------------------------------------------------

BROKERS = st.sets(st.integers(1, 4))


@given(
    st.permutations([1, 2, 3, 4]),
    st.integers(1, 4),
    BROKERS,
    BROKERS,
    BROKERS,
    BROKERS,
    BROKERS,
    BROKERS,
    st.integers(1, 4),
    st.sampled_from(Election),
    st.booleans(),
)
def test_the_invariants_of_a_record_hold_for_every_ask(
    order: list[int],
    factor: int,
    in_sync: set[int],
    eligible: set[int],
    alive: set[int],
    reluctant: set[int],
    asked: set[int],
    unfit: set[int],
    minimum: int,
    election: Election,
    new_life: bool,
) -> None:
    replicas = tuple(order[:factor])
    isr = tuple(r for r in replicas if r in in_sync)
    elr = tuple(r for r in replicas if r in eligible and r not in isr) if len(isr) < min(minimum, factor) else ()
    before = image(replicas=replicas, isr=isr, elr=elr, leader=isr[0] if isr else -1)
    ask = Ask(cause="x", isr=asked & alive, unfit=unfit, election=election, new_life=new_life)
    record = change_partition(before, ask, rules(*alive, minimum=minimum, reluctant=reluctant))
    if record is None:
        return
    assert set(record.isr) <= set(record.replicas)
    assert set(record.elr) <= set(record.replicas) - set(record.isr)
    assert record.leader in record.isr if record.isr else record.leader == -1
    assert not record.elr or len(record.isr) < min(minimum, len(record.replicas))
    assert record.leader_epoch == before.leader_epoch + (record.leader != before.leader or new_life)
    if record.cause not in ("unclean", "last_known_leader"):
        assert set(record.isr) - asked <= set(isr) | set(elr), "nobody is in sync who did not have everything"
        complete = (set(isr) | set(elr)) - unfit
        assert not complete or (set(record.isr) | set(record.elr)) & (complete | asked)
