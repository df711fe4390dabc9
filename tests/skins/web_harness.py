"""The web skin called in process: an event loop in a thread of its own, so that plain test functions can ask."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import httpx
import pydicom
from anyio.from_thread import BlockingPortal, start_blocking_portal
from pydicom.uid import generate_uid
from starlette.types import ASGIApp

from isocenter.wire.multipart import MultipartParser, MultipartWriter, PartData, PartEnded, PartStarted

BOUNDARY = "boundary-of-the-tests"


@dataclass
class Web:
    """`archive` is whatever the application stands on; `portal` runs coroutines where the application runs."""

    app: ASGIApp
    archive: Any
    portal: BlockingPortal
    client: httpx.AsyncClient

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            return await self.client.request(method, path, **options)

        return self.portal.call(ask)

    def get(self, path: str, accept: str | None = None, **options: Any) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if accept is not None:
            headers["accept"] = accept
        return self.request("GET", path, headers=headers, **options)

    def store(self, *objects: bytes, path: str = "/dicomweb/studies", **options: Any) -> httpx.Response:
        content = multipart(*objects)
        headers = {"content-type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'}
        return self.request("POST", path, content=content, headers=headers | options.pop("headers", {}), **options)


@contextmanager
def web_of(app: ASGIApp, archive: Any, portal: BlockingPortal) -> Iterator[Web]:
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 40000))
    yield Web(app, archive, portal, httpx.AsyncClient(transport=transport, base_url="http://archive.test"))


@contextmanager
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as running:
        yield running


def multipart(*objects: bytes, part_type: str = "application/dicom") -> bytes:
    writer = MultipartWriter(BOUNDARY)
    return b"".join(writer.part({"Content-Type": part_type}) + data for data in objects) + writer.end()


def parts_of(response: httpx.Response) -> list[tuple[dict[str, str], bytes]]:
    """Header fields and bodies of a multipart answer."""
    boundary = response.headers["content-type"].split("boundary=")[1].strip('"')
    parser = MultipartParser(boundary)
    parts: list[tuple[dict[str, str], bytearray]] = []
    for event in parser.receive(response.content):
        if isinstance(event, PartStarted):
            parts.append((dict(event.headers), bytearray()))
        elif isinstance(event, PartData):
            parts[-1][1].extend(event.data)
        else:
            assert isinstance(event, PartEnded) or len(parts)
    parser.close()
    return [(headers, bytes(body)) for headers, body in parts]


async def in_pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def saved(data_set: pydicom.Dataset, **options: Any) -> bytes:
    output = BytesIO()
    data_set.save_as(output, enforce_file_format=True, **options)
    return output.getvalue()


def copies(data_set: pydicom.Dataset, count: int, **attributes: Any) -> list[bytes]:
    """Files of one series that differ in SOP Instance UID and Instance Number."""
    files = []
    for number in range(1, count + 1):
        for keyword, value in attributes.items():
            setattr(data_set, keyword, value)
        data_set.InstanceNumber = number
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        files.append(saved(data_set))
    return files
