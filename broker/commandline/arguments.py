"""Small languages of the command line: partitions of a topic, lists of configs.

Every function raises ``ValueError`` with a sentence that says what to write instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence


def parse_topic_partitions(text: str) -> tuple[str, tuple[int, ...] | None]:
    """``orders`` (all its partitions, ``None``) or ``orders:0,1``, as Kafka's tools write it."""
    topic, colon, partitions = text.partition(":")
    if not topic:
        raise ValueError(f"{text!r} names no topic")
    if not colon:
        return topic, None
    if not all(part.isdecimal() for part in partitions.split(",")):
        raise ValueError(f"{text!r} is not TOPIC or TOPIC:PARTITION,PARTITION")
    return topic, tuple(sorted({int(part) for part in partitions.split(",")}))


def merge_topics(chosen: Iterable[tuple[str, tuple[int, ...] | None]]) -> dict[str, tuple[int, ...] | None]:
    """Several ``--topic`` as one mapping; a topic that was once named whole is whole."""
    merged: dict[str, tuple[int, ...] | None] = {}
    for topic, partitions in chosen:
        before = merged.get(topic, ())
        merged[topic] = None if partitions is None or before is None else tuple(sorted({*before, *partitions}))
    return merged


def parse_assignments(texts: Iterable[str]) -> dict[str, str]:
    """``name=value`` lists: ``a=1,b=2`` in one argument or in several. Brackets keep commas: ``policy=[compact,delete]``."""
    found: dict[str, str] = {}
    for text in texts:
        for item in _split(text):
            name, equals, value = item.partition("=")
            if not equals or not name.strip():
                raise ValueError(f"{item!r} is not NAME=VALUE")
            value = value.strip()
            if value.startswith("[") and value.endswith("]"):
                value = value[1:-1]
            found[name.strip()] = value
    return found


def one_of(words: Sequence[str]) -> Callable[[str], str]:
    """Reads one of ``words``, in upper or lower case."""
    known = {word.lower(): word for word in words}

    def read(text: str) -> str:
        word = known.get(text.lower())
        if word is None:
            raise ValueError(f"{text!r} is none of {', '.join(words)}")
        return word

    return read


def parse_names(texts: Iterable[str]) -> list[str]:
    """``a,b`` in one argument or in several; each once, in order."""
    names = [name.strip() for text in texts for name in text.split(",")]
    if not all(names):
        raise ValueError("a name is missing beside a comma")
    return list(dict.fromkeys(names))


def _split(text: str) -> list[str]:
    """At commas outside of brackets."""
    items, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if character == "," and depth == 0:
            items.append(text[start:position])
            start = position + 1
    return [*items, text[start:]]
