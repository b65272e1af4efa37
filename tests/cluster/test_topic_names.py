from __future__ import annotations

import pytest

from broker.cluster.topic_names import collision_key, refuse_topic_name


@pytest.mark.parametrize("name", ["a", "A-b_c.d", "__consumer_offsets", "...", "0", "x" * 249])
def test_letters_digits_dot_underscore_and_hyphen_make_a_name(name: str) -> None:
    assert refuse_topic_name(name) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "Topic name is invalid: the empty string is not allowed"),
        (".", "Topic name is invalid: '.' is not allowed"),
        ("..", "Topic name is invalid: '..' is not allowed"),
        (
            "a b",
            "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
        ),
    ],
)
def test_other_names_are_refused_in_kafkas_words(name: str, reason: str) -> None:
    assert refuse_topic_name(name) == reason


@pytest.mark.parametrize("name", ["x" * 250, "ü", "a/b", "a\n", "\x00", "a:b", "../etc"])
def test_what_could_leave_the_data_directory_or_break_a_tool_is_refused(name: str) -> None:
    assert refuse_topic_name(name) is not None


def test_dots_and_underscores_collide() -> None:
    assert collision_key("a.b_c") == collision_key("a_b.c")
    assert collision_key("a.b") != collision_key("a-b")


def test_a_name_without_measure_is_not_repeated_in_full() -> None:
    reason = refuse_topic_name("x" * 100_000)
    assert reason is not None
    assert len(reason) < 400
