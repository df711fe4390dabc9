"""Table 9-10 is the standard's: compared with pynetdicom's, which was typed from the same page by other people."""

from __future__ import annotations

import pytest

from isocenter.ul.table import NEXT_STATE, TRANSITIONS, Event, State


def test_table_equals_pynetdicoms() -> None:
    fsm = pytest.importorskip("pynetdicom.fsm")
    ours = {(f"Evt{event.value}", f"Sta{state.value}"): action for (event, state), action in TRANSITIONS.items()}
    assert fsm.TRANSITION_TABLE == ours


def test_every_event_and_state_is_in_the_table() -> None:
    assert set(Event) == {event for event, _ in TRANSITIONS}
    assert set(State) == {state for _, state in TRANSITIONS}


def test_every_action_leads_somewhere() -> None:
    assert set(NEXT_STATE) == set(TRANSITIONS.values())
