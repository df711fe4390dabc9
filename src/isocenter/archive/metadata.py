"""DICOM JSON metadata of many instances (PS3.18 section 10.4), prepared once for each series and kept compressed.

A run is the metadata of consecutive instances of a series, one JSON object a line. It is made when first asked for and
kept in the index; instances that came later make another run, anything else that happens to the series drops its runs.
The base URI of bulk data is not known then: a random token stands for it in the text, and is replaced on the way out.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from itertools import groupby

from isocenter.archive.audit import log
from isocenter.errors import ArchiveBusy, OutOfResources
from isocenter.index.base import Housekeeping, MetadataRun, NumberedRef
from isocenter.model import Level, Scope
from isocenter.store.base import BlobStore
from isocenter.wire.dicomjson import dumps
from isocenter.wire.seriesjson import SeriesJson

_RUN = 256
_LEVEL = 3  # of zlib: more makes metadata little smaller and much later


def instances(store: BlobStore, index: Housekeeping, scope: Scope, base_uri: str) -> Iterator[list[bytes]]:
    """The metadata of a scope's instances in index order, some at a time; blocking, for a thread."""
    base = dumps(base_uri.rstrip("/"))[1:-1]
    numbered = index.numbered(scope)
    if scope.level == Level.IMAGE:
        token = _token()
        for text in _texts(store, numbered, token):
            yield [text.replace(token.encode(), base)]
        return
    for series_id, group in groupby(numbered, key=lambda item: item.series_id):
        wanted = list(group)
        for run in index.metadata_runs(series_id):
            if not wanted or run.last_instance > wanted[-1].instance_id:
                break
            yield _lines(zlib.decompress(run.body), run.token, base)
            wanted = [item for item in wanted if item.instance_id > run.last_instance]
        for at in range(0, len(wanted), _RUN):
            yield _make(store, index, wanted[at : at + _RUN], base)


def _make(store: BlobStore, index: Housekeeping, items: Sequence[NumberedRef], base: bytes) -> list[bytes]:
    """The metadata of consecutive instances of a series, which is kept as a run."""
    token = _token()
    text = b"\n".join(_texts(store, items, token))
    last = items[-1]
    run = MetadataRun(last.series_id, last.instance_id, len(items), token, zlib.compress(text, _LEVEL))
    try:
        index.add_metadata_run(run)
    except (ArchiveBusy, OutOfResources) as error:
        # Only the next reader's time is lost.
        log.info("metadata could not be kept: %s", error)
    return _lines(text, token, base)


def _lines(text: bytes, token: str, base: bytes) -> list[bytes]:
    return text.replace(token.encode(), base).split(b"\n")


def _texts(store: BlobStore, items: Sequence[NumberedRef], token: str) -> Iterator[bytes]:
    """The metadata of each instance, with the token for the base URI."""
    series = SeriesJson(token)
    for _, _, ref in items:
        path = f"{token}/{ref.resource}/bulkdata"
        with store.open(ref.blob) as blob:
            text = series.text(blob.view(), ref.transfer_syntax, start=ref.data_set_offset)
        yield text.replace(token.encode(), dumps(path)[1:-1])


def _token() -> str:
    # Random for each run, so that no text received earlier can contain it.
    return f"bulk:{os.urandom(16).hex()}"
