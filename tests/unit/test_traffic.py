"""Token buckets and crowds: fair to each, and bounded however many come."""

from __future__ import annotations

import pytest

from isocenter.web.traffic import Buckets, Crowd, network_of


def test_a_bucket_fills_as_time_passes() -> None:
    buckets = Buckets(rate=2, burst=3)
    assert [buckets.take("a", 0.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("a", 0.25) == pytest.approx(0.25)
    assert buckets.take("a", 0.5) == 0
    assert buckets.take("a", 0.5) == 0.5
    assert buckets.wait("a", 1.0) == 0
    assert buckets.take("a", 100.0) == 0
    assert [buckets.take("a", 100.0) for _ in range(3)] == [0, 0, 0.5], "no more than the bucket holds"


def test_others_have_buckets_of_their_own_and_asking_takes_nothing() -> None:
    buckets = Buckets(rate=1, burst=1)
    assert [buckets.take("a", 0.0), buckets.take("b", 0.0)] == [0, 0]
    assert [buckets.wait("a", 0.0), buckets.wait("c", 0.0), buckets.wait("c", 0.0)] == [1, 0, 0]
    assert len(buckets) == 2


def test_the_table_is_bounded_and_forgets_who_was_not_seen_for_longest() -> None:
    buckets = Buckets(rate=0.001, burst=1, most=100)
    for number in range(1000):
        assert buckets.take(f"stranger {number}", float(number)) == 0
        buckets.take("regular", float(number))
    assert len(buckets) == 100
    assert buckets.take("stranger 999", 999.0) > 0
    assert buckets.take("stranger 0", 999.0) == 0


def test_a_clock_that_stands_gives_nothing() -> None:
    buckets = Buckets(rate=1, burst=2)
    assert [buckets.take("a", 5.0) for _ in range(3)] == [0, 0, 1]


def test_a_token_that_was_not_used_goes_back() -> None:
    buckets = Buckets(rate=1, burst=2)
    assert [buckets.take("a", 0.0), buckets.take("a", 0.0)] == [0, 0]
    buckets.give("a", 0.0)
    assert [buckets.take("a", 0.0), buckets.take("a", 0.0)] == [0, 1]
    for _ in range(9):
        buckets.give("a", 0.0)
    assert [buckets.take("a", 0.0) for _ in range(3)] == [0, 0, 1]
    buckets.give("nobody", 0.0)
    assert len(buckets) == 1


def test_a_crowd_has_room_again_and_remembers_nobody() -> None:
    crowd = Crowd(2)
    assert [crowd.enter("a"), crowd.enter("a"), crowd.enter("a"), crowd.enter("b")] == [True, True, False, True]
    crowd.leave("a")
    assert crowd.enter("a")
    for who in ("a", "a", "b"):
        crowd.leave(who)
    assert len(crowd) == 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("", ""),
        ("not an address", "not an address"),
    ],
)
def test_what_one_customer_has_for_himself(address: str, network: str) -> None:
    assert network_of(address) == network
