"""What a study looks like in a Query/Retrieve View (0008,0053), PS3.4 section C.3.5: the types, and who makes what.

A view is made of all instances of one study, as references among them have to agree. Nothing is kept: UIDs come from
those of the sources, and no time of ours stands in what is made, so that the same study gives the same view each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from isocenter.model import InstanceRef
from isocenter.wire.dicomjson import Model
from isocenter.wire.elements import Buffer


class View(StrEnum):
    """How images of CT, MR and PET are to appear; other than as received."""

    CLASSIC = "CLASSIC"
    ENHANCED = "ENHANCED"


@dataclass(frozen=True, slots=True)
class Source:
    """One stored instance. `header` is its DICOM JSON model, where bulk data may be BulkDataURIs; `read`
    gives the bytes of its whole data set, in the transfer syntax of `ref`, where they are needed. It may be called
    again, and by another thread; what it gives is let go of soon."""

    ref: InstanceRef
    header: Model = field(repr=False)
    read: Callable[[], Buffer] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Viewed:
    """One instance of a view. Without `make` it is `source`, as it was received.

    `header` is for queries: what the index would keep of it.
    `make` gives the data set in pieces, in `transfer_syntax`; blocking. It raises DataSetErrors and PixelErrors where
    what the header promised cannot be kept. `source` is one of those it was made of.
    """

    study: str
    series: str
    instance: str
    sop_class: str
    transfer_syntax: str
    header: Model = field(repr=False)
    source: InstanceRef = field(repr=False)
    make: Callable[[], Iterator[bytes]] | None = field(default=None, repr=False)
