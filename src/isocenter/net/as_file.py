"""A pydicom data set as the bytes of the file it would be, for whoever sends objects and was given one."""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeGuard, TypeVar

from isocenter.errors import DataSetError, UsageError
from isocenter.wire.elements import path_of

if TYPE_CHECKING:
    from pydicom import Dataset

T = TypeVar("T")
# How pydicom's writer names the element it failed at; the rest of its words are a traceback, and the value.
_AT = re.compile(r"With tag \(([0-9a-f]{4}),([0-9a-f]{4})\) got exception", re.IGNORECASE)


def is_dataset(item: object) -> TypeGuard[Dataset]:
    """Whether something is a pydicom data set; pydicom, which takes a while, is not imported to find out."""
    return hasattr(item, "save_as")


def several(items: Iterable[T]) -> Iterator[T]:
    """The items, one by one. Raises UsageError for a single one, whose letters or elements are no items."""
    if isinstance(items, str | bytes | os.PathLike) or is_dataset(items):
        raise UsageError("store() takes several objects: write store([one])")
    return iter(items)


def file_of(ds: Dataset) -> bytes:
    """The file with its preamble and file meta information, which is completed as pydicom does (PS3.10 section 7.1).

    Raises DataSetError for a data set that cannot be written, or that does not say in which transfer syntax.
    """
    buffer = io.BytesIO()
    try:
        ds.save_as(buffer, enforce_file_format=True)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, OSError, struct.error) as error:
        # OSError is what pydicom makes of a number that is none; the buffer itself raises nothing.
        tags = [int(group + number, 16) for group, number in _AT.findall(str(error))]
        why = "the element's value does not fit its VR" if tags else str(error)
        raise DataSetError(f"the data set cannot be written: {why}", tag_path=path_of(tags)) from None
    return buffer.getvalue()
