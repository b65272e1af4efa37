"""The fault matrix: which fault is injected by which test.

A row's tests run on every push, unless they are marked nightly. Rows that are about a single decision or a single log are
tested where that lives, without processes; the others in this package, on real ones.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    fault: str
    tests: tuple[str, ...]
    """``file::function`` below ``tests/``."""


DEATHS = (
    "faults/test_broker_deaths.py::test_writers_and_groups_survive_the_death_of_leaders_controllers_and_coordinators"
)
HANGING = "faults/test_broker_deaths.py::test_writers_and_copiers_survive_hanging_leaders_and_controllers_and_the_death_of_all"
AGAIN_AND_AGAIN = "faults/test_broker_deaths.py::test_everybody_survives_it_again_and_again"

MATRIX: dict[int, Row] = {
    1: Row(
        fault="a crash at any write",
        tests=(
            "storage/test_crash_images.py::test_every_crash_recovers_what_was_promised",
            "faults/test_disks.py::test_a_broker_may_die_in_the_middle_of",
            "faults/test_disks.py::test_a_broker_may_die_at_any",
        ),
    ),
    2: Row(
        fault="a torn tail",
        tests=(
            "storage/test_recovery.py::test_a_torn_tail_is_cut",
            "storage/test_recovery.py::test_a_plainly_torn_write_is_not_kept",
        ),
    ),
    3: Row(
        fault="data that was never synced is lost",
        tests=(
            "storage/test_crash_images.py::test_random_lives_and_crashes_keep_what_was_promised",
            "storage/test_crash_images.py::test_many_random_lives_and_crashes_keep_what_was_promised",
            "faults/test_disks.py::test_a_power_failure_takes_nothing_that_was_acknowledged",
        ),
    ),
    4: Row(
        fault="a bit flips in a closed segment",
        tests=(
            "faults/test_damage.py::test_a_bit_that_flips_while_the_broker_runs_is_never_served",
            "faults/test_damage.py::test_a_damaged_segment_is_fetched_again_from_another_replica",
        ),
    ),
    5: Row(
        fault="a segment is cut short or missing",
        tests=(
            "storage/test_recovery.py::test_damage_below_the_recovery_point_takes_the_partition_offline_and_deletes_nothing",
            "faults/test_damage.py::test_damage_while_the_broker_is_down_takes_the_partition_offline_and_nothing_away",
        ),
    ),
    6: Row(
        fault="an index is corrupt or missing",
        tests=(
            "storage/test_recovery.py::test_spoilt_indexes_are_rebuilt",
            "faults/test_damage.py::test_indexes_are_made_anew_and_nothing_is_missed",
        ),
    ),
    7: Row(
        fault="checkpoints, epoch files or snapshots are old, or another broker's",
        tests=(
            "faults/test_damage.py::test_an_old_checkpoint_an_old_snapshot_and_an_old_epoch_file_cost_no_record",
            "faults/test_damage.py::test_a_directory_of_another_broker_is_refused_at_the_start",
        ),
    ),
    8: Row(
        fault="a disk is full",
        tests=(
            "faults/test_disks.py::test_a_full_disk_stops_writers_and_nobody_else_until_there_is_space_again",
            "faults/test_disks.py::test_full_disks_among_three_brokers_cost_time_and_no_record",
        ),
    ),
    9: Row(
        fault="an fsync fails once",
        tests=(
            "faults/test_disks.py::test_after_one_failed_fsync_nothing_is_acknowledged_until_a_restart_has_read_the_disk",
            "faults/test_disks.py::test_leadership_leaves_a_broker_whose_fsync_failed",
        ),
    ),
    10: Row(
        fault="a disk is slow",
        tests=("faults/test_disks.py::test_a_disk_that_takes_its_time_costs_time_and_nothing_else",),
    ),
    11: Row(
        fault="a leader is killed",
        tests=(
            DEATHS,
            AGAIN_AND_AGAIN,
        ),
    ),
    12: Row(
        fault="all brokers are killed at once",
        tests=(
            HANGING,
            AGAIN_AND_AGAIN,
        ),
    ),
    13: Row(
        fault="brokers restart in turn",
        tests=(
            "faults/test_broker_deaths.py::test_restarts_in_turn_hand_over_at_once_and_fail_no_write",
            AGAIN_AND_AGAIN,
        ),
    ),
    14: Row(
        fault="a leader hangs beyond its session",
        tests=(
            HANGING,
            AGAIN_AND_AGAIN,
        ),
    ),
    15: Row(
        fault="a leader that is alone in sync hangs",
        tests=("faults/test_broker_deaths.py::test_a_hanging_leader_alone_in_sync_acknowledges_nothing_that_is_lost",),
    ),
    16: Row(
        fault="two failovers within one fetch",
        tests=(
            "replication/test_follower.py::test_two_quick_failovers_are_followed_back_to_the_fork",
            AGAIN_AND_AGAIN,
        ),
    ),
    17: Row(
        fault="an unclean election is allowed",
        tests=(
            "cluster/test_controller.py::test_an_unclean_election_happens_only_where_the_topic_allows_it",
            "faults/test_maintenance.py::test_an_unclean_election_loses_what_it_must_and_says_so",
        ),
    ),
    18: Row(
        fault="a controller dies in the middle of something",
        tests=(
            DEATHS,
            "faults/test_broker_deaths.py::test_topics_are_whole_or_not_there_when_controllers_die_while_they_are_made",
        ),
    ),
    19: Row(
        fault="an old controller comes back",
        tests=(
            HANGING,
            "cluster/test_driver.py::test_a_deposed_controller_cannot_write",
            AGAIN_AND_AGAIN,
        ),
    ),
    20: Row(
        fault="a session expires, or a connection flaps",
        tests=(
            "faults/test_cuts.py::test_a_leader_cut_off_from_everybody_is_replaced_and_comes_back_as_a_follower",
            HANGING,
        ),
    ),
    21: Row(
        fault="the metadata store is away",
        tests=(
            "cluster/test_loss_of_the_store.py::test_zookeeper_stops_and_starts_again",
            "cluster/test_loss_of_the_store.py::test_another_process_holds_the_file",
            "cluster/test_loss_of_the_store.py::test_the_file_is_removed_and_put_back",
            "faults/test_maintenance.py::test_writers_do_not_notice_that_another_process_holds_the_metadata",
            "faults/test_maintenance.py::test_a_leader_that_dies_while_the_metadata_are_held_is_replaced_when_they_are_not",
        ),
    ),
    22: Row(
        fault="the metadata are lost, damaged or rolled back",
        tests=("faults/test_damage.py::test_a_broker_without_its_metadata_deletes_no_partition",),
    ),
    23: Row(
        fault="a leader is cut off",
        tests=("faults/test_cuts.py::test_a_leader_cut_off_from_everybody_is_replaced_and_comes_back_as_a_follower",),
    ),
    24: Row(
        fault="networks are cut in one direction",
        tests=(
            "faults/test_cuts.py::test_cuts_in_one_direction_lose_nothing_and_heal",
            "faults/test_cuts.py::test_clients_that_reach_one_broker_alone_go_on_with_what_it_leads",
        ),
    ),
    28: Row(
        fault="two producers have one transactional id",
        tests=("faults/test_zombies.py::test_an_older_producer_of_the_same_transactional_id_is_fenced_under_load",),
    ),
    29: Row(
        fault="a group's coordinator dies",
        tests=(
            DEATHS,
            AGAIN_AND_AGAIN,
        ),
    ),
    31: Row(
        fault="a crash at any step of compaction",
        tests=(
            "compaction/test_crashes.py::test_the_process_may_die_after_every_change",
            "compaction/test_crashes.py::test_the_power_may_fail_after_every_change",
            "faults/test_compaction.py::test_no_key_is_lost_or_comes_back_when_a_broker_dies_in_the_middle_of_a_swap",
            "faults/test_compaction.py::test_no_key_is_lost_or_comes_back_wherever_a_broker_dies",
            "faults/test_compaction.py::test_replicas_compacted_by_themselves_agree_after_their_leaders_died",
        ),
    ),
    32: Row(
        fault="retention races readers and leader changes",
        tests=(
            "faults/test_maintenance.py::test_retention_races_readers_and_changes_of_leaders_and_brings_nothing_back",
        ),
    ),
    34: Row(
        fault="workers are down, late, doubled or killed",
        tests=(
            "tasks/test_with_worker.py::test_two_runs_at_once_and_one_message_twice_delete_everything_once",
            "tasks/test_with_worker.py::test_a_plan_that_goes_stale_on_its_way_deletes_only_what_is_still_due",
            "tasks/test_with_worker.py::test_a_worker_killed_in_the_middle_does_not_block_its_broker",
            "tasks/test_with_worker.py::test_a_worker_goes_on_after_redis_was_gone",
            "tasks/test_health.py::test_retention_without_a_recent_success_is_overdue_whatever_failed_since",
            "faults/test_disks.py::test_a_full_disk_stops_writers_and_nobody_else_until_there_is_space_again",
        ),
    ),
    35: Row(
        fault="Redis or the SQL database is away",
        tests=(
            "tasks/test_health.py::test_a_redis_that_is_away_is_said_and_counts_as_no_worker",
            "supervisor/test_up.py::test_whatever_is_killed_comes_back_and_finds_the_others",
            "faults/test_maintenance.py::test_brokers_do_not_notice_the_loss_of_what_the_dashboard_needs",
            "faults/test_maintenance.py::test_writers_do_not_notice_that_another_process_holds_the_metadata",
        ),
    ),
}
