"""Stored instances as views take them, and what a peer reads of what views make."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from isocenter.model import InstanceRef
from isocenter.views.study import viewed
from isocenter.views.view import Source, View, Viewed
from isocenter.wire.dicomjson import dataset_json
from isocenter.wire.part10 import file_meta, read_header

__all__ = ["View", "classes", "file_of", "read", "source", "sources", "viewed"]


def source(given: Dataset | bytes | Path, reads: list[str] | None = None) -> Source:
    """One instance as the archive has it; `reads` is told of each time its bytes are asked for."""
    if isinstance(given, Dataset):
        file = BytesIO()
        given.save_as(file, enforce_file_format=True)
        data = file.getvalue()
    else:
        data = given if isinstance(given, bytes) else given.read_bytes()
    meta = read_header(data)
    body = data[meta.data_set_offset :]
    header = dataset_json(body, meta.transfer_syntax, bulk_uri="bulk")
    uids = [str(header[tag]["Value"][0]) for tag in ("0020000D", "0020000E", "00080018", "00080016")]
    ref = InstanceRef(*uids, meta.transfer_syntax, uids[2], len(data), meta.data_set_offset, "", "")

    def bytes_of() -> bytes:
        if reads is not None:
            reads.append(uids[2])
        return body

    return Source(ref, header, bytes_of)


def sources(given: Iterable[Dataset | bytes | Path]) -> list[Source]:
    """Instances of one study."""
    return [source(one) for one in given]


def file_of(one: Viewed) -> bytes:
    """A Part 10 file of what a view made."""
    assert one.make is not None
    body = b"".join(one.make())
    return file_meta(one.sop_class, one.instance, one.transfer_syntax) + body


def read(one: Viewed) -> Dataset:
    """The same as pydicom reads it, every value of it."""
    ds = pydicom.dcmread(BytesIO(file_of(one)))
    ds.decode()
    assert str(ds)  # every element is converted
    return ds


def classes(found: Iterable[Viewed]) -> list[str]:
    """The SOP Class of each."""
    return [one.sop_class for one in found]
