"""Numbers as Decimal Strings (PS3.5 section 6.2, VR DS): at most 16 characters, the nearest value they can hold."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.valuerep import format_number_as_ds

_MOST = 16


def ds_value(value: float) -> str:
    """One number; whole numbers without a point, which is worth two digits."""
    whole = str(int(value)) if float(value).is_integer() else ""
    return whole if 0 < len(whole) <= _MOST else format_number_as_ds(float(value))


def ds_values(values: Sequence[float]) -> list[str]:
    """Several numbers."""
    return [ds_value(value) for value in values]


def decimal(value: float) -> float:
    """The nearest number that a Decimal String can hold."""
    return float(ds_value(value))
