"""The first unstable offset, held against a twin that remembers every transaction."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from broker.storage.open_transactions import OpenTransactions


@dataclass
class Known:
    first: int
    last: int | None = None


def twin_first_unstable(known: list[Known], high_watermark: int) -> int | None:
    unstable = [one.first for one in known if one.last is None or one.last >= high_watermark]
    return min(unstable, default=None)


@given(st.lists(st.tuples(st.sampled_from(["begin", "end", "commit"]), st.integers(0, 30)), max_size=60))
def test_it_is_the_oldest_that_is_open_or_not_yet_replicated(events: list[tuple[str, int]]) -> None:
    transactions, known = OpenTransactions(), list[Known]()
    offset = high_watermark = 0
    for event, number in events:
        open_now = [one for one in known if one.last is None]
        if event == "begin":
            transactions.begin(offset, offset)
            known.append(Known(offset))
            offset += 1
        elif event == "end" and open_now:
            chosen = open_now[number % len(open_now)]
            ended = transactions.end(chosen.first, offset, aborted=False)
            chosen.last = offset
            left = [one.first for one in known if one.last is None]
            assert ended.last_stable_offset == min(left, default=offset + 1)
            offset += 1
        elif event == "commit":
            high_watermark = min(offset, high_watermark + number)
        assert transactions.first_unstable(high_watermark) == twin_first_unstable(known, high_watermark)
        assert len(transactions) == len([one for one in known if one.last is None])
