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

import orjson

from isocenter.archive.audit import log
from isocenter.errors import ArchiveBusy, OutOfResources
from isocenter.index.base import Housekeeping, MetadataRun, NumberedRef
from isocenter.model import InstanceRef, Level, Scope
from isocenter.store.base import BlobStore
from isocenter.wire.dicomjson import dataset_json, dumps

_RUN = 256
_LEVEL = 3  # of zlib: more makes metadata little smaller and much later


def instances(store: BlobStore, index: Housekeeping, scope: Scope, base_uri: str) -> Iterator[list[bytes]]:
    """The metadata of a scope's instances in index order, some at a time; blocking, for a thread."""
    base = orjson.dumps(base_uri.rstrip("/"))[1:-1]
    numbered = index.numbered(scope)
    if scope.level == Level.IMAGE:
        for item in numbered:
            token = _token()
            yield [_one(store, item.ref, token).replace(token.encode(), base)]
        return
    for series_id, group in groupby(numbered, key=lambda item: item.series_id):
        wanted = list(group)
        for run in index.metadata_runs(series_id):
            if not wanted or run.last_instance > wanted[-1].instance_id:
                break
            yield _lines(run, base)
            wanted = [item for item in wanted if item.instance_id > run.last_instance]
        for at in range(0, len(wanted), _RUN):
            run = _make(store, series_id, wanted[at : at + _RUN])
            try:
                index.add_metadata_run(run)
            except (ArchiveBusy, OutOfResources) as error:
                # Only the next reader's time is lost.
                log.info("metadata could not be kept: %s", error)
            yield _lines(run, base)


def _make(store: BlobStore, series_id: int, items: Sequence[NumberedRef]) -> MetadataRun:
    token = _token()
    text = b"\n".join(_one(store, item.ref, token) for item in items)
    return MetadataRun(series_id, items[-1].instance_id, len(items), token, zlib.compress(text, _LEVEL))


def _lines(run: MetadataRun, base: bytes) -> list[bytes]:
    return zlib.decompress(run.body).replace(run.token.encode(), base).split(b"\n")


def _one(store: BlobStore, ref: InstanceRef, token: str) -> bytes:
    path = f"{token}/studies/{ref.study}/series/{ref.series}/instances/{ref.instance}/bulkdata"
    with store.open(ref.blob) as blob:
        return dumps(dataset_json(blob.view(), ref.transfer_syntax, start=ref.data_set_offset, bulk_uri=path))


def _token() -> str:
    # Random for each run, so that no text received earlier can contain it.
    return f"bulk:{os.urandom(16).hex()}"
