"""The harness' arithmetic: which way a ratio points, who is compared with, and where a table is written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))

import harness
import null_scp
import objects
import sender


def constant(value: float) -> harness.Round:
    return lambda: value


def result(better: str, ours: float, **others: float) -> harness.Result:
    comparison = harness.Comparison(
        "work", "unit", constant(ours), {name: constant(value) for name, value in others.items()}, 1.2, better
    )
    return harness.measure(comparison, 3, note=lambda text: None)


def test_a_rate_is_compared_with_the_fastest_peer() -> None:
    measured = result("higher", 300.0, slow=100.0, fast=200.0)
    assert (measured.best_peer, measured.ratio, measured.reached) == ("fast", 1.5, True)


def test_a_time_is_compared_with_the_shortest() -> None:
    measured = result("lower", 10.0, slow=40.0, fast=5.0)
    assert (measured.best_peer, measured.ratio, measured.reached) == ("fast", 0.5, False)


def test_a_bound_is_measured_but_not_compared_with() -> None:
    comparison = harness.Comparison(
        "work", "unit", constant(100.0), {"peer": constant(50.0)}, bounds={"ceiling": constant(9000.0)}
    )
    measured = harness.measure(comparison, 1, note=lambda text: None)
    assert (measured.best_peer, measured.ratio, measured.reached) == ("peer", 2.0, None)
    assert measured.rounds["ceiling"] == [9000.0]


def test_each_contender_is_first_in_turn() -> None:
    order: list[str] = []

    def noted(name: str) -> harness.Round:
        return lambda: float(order.append(name) is None)

    comparison = harness.Comparison("work", "unit", noted("us"), {"a": noted("a"), "b": noted("b")})
    harness.measure(comparison, 3, note=lambda text: None)
    assert order == ["us", "a", "b", "a", "b", "us", "b", "us", "a"]


def test_a_section_is_replaced_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- x: made by make bench -->\nold\n<!-- x: end -->\nafter\n")
    harness.write_section(page, "x", "new")
    assert page.read_text() == "before\n<!-- x: made by make bench -->\nnew\n<!-- x: end -->\nafter\n"
    with pytest.raises(ValueError, match="no markers for y"):
        harness.write_section(page, "y", "new")


def test_every_benchmark_has_its_section() -> None:
    scripts = [path for path in harness.README.parent.glob("*.py") if "import harness" in path.read_text("utf-8")]
    page = harness.README.read_text("utf-8")
    missing = [path.name for path in scripts if f"<!-- {path.stem}: made by make bench -->" not in page]
    assert (len(scripts) > 0, missing) == (True, [])


def test_the_sender_patches_uids_of_one_length() -> None:
    lengths = {len(objects.instance_uid(batch, number)) for batch in (0, 999) for number in (0, 10**9)}
    template = objects.template(39 * 1024, batch=0)
    assert len(lengths) == 1
    assert template.data_set[template.uid_offset :].startswith(template.uid.encode())


def test_the_null_scp_accepts_what_the_sender_proposes() -> None:
    request = sender.associate_rq("ANY", objects.CT_IMAGE_STORAGE, objects.EXPLICIT_LITTLE)
    assert sender.accepted_length(null_scp.associate_ac(request)) == null_scp.MAXIMUM_LENGTH


def test_pdus_are_no_longer_than_the_peer_allows_and_end_with_the_last_fragment() -> None:
    stream = sender.p_data(b"x" * 1000, control=0, largest=306)
    lengths, flags = [], []
    while stream:
        length = int.from_bytes(stream[2:6], "big")
        lengths.append(length)
        flags.append(stream[11])
        stream = stream[6 + length :]
    assert (lengths, flags) == ([306, 306, 306, 106], [0, 0, 0, 2])
