"""The viewer's files, under addresses that say which they are.

They are read once, when the server starts, and served from memory, compressed once for each coding. A page names them
below `/static/<version>/`, where the version is a digest of them all: what lies there never changes, so that a browser
keeps it and does not ask again. Modules import each other by relative addresses and so stay within one version, without
anything of them being rewritten. The same files are also there by their plain names (`/js/login.js`), to be asked for
again with their entity tag.

A page that was opened before an upgrade asks for modules of the version it came with. It gets those of now, which are
better than none, under terms that keep nobody from asking again.

What a page needs is asked for with the page itself, or the browser would find one import after the other: which modules
reach which is read from their import lines.
"""

from __future__ import annotations

import posixpath
import re
import zlib
from collections.abc import Iterable
from functools import cache
from hashlib import blake2b
from html import escape
from pathlib import Path
from typing import Final

import imagecodecs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from isocenter.web.caching import LASTING, unchanged
from isocenter.wire.contentcoding import ZSTD, chosen_coding

STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
_SHORTEST = 512  # bytes that are worth compressing
_IMPORT = re.compile(r"^import [^;]*?from \"([^\"]+)\";", re.MULTILINE)
# Where the page names a file of the viewer: relative to itself, as it lies in its folder.
_OWN = '="./'


class Asset:
    """One file. `forms` are its bytes by content coding, "" as they are."""

    def __init__(self, name: str, data: bytes) -> None:
        self.media_type = _TYPES[Path(name).suffix]
        self.tag = blake2b(data, digest_size=12).hexdigest()
        self.forms = {"": data}

    def form(self, coding: str) -> tuple[str, bytes]:
        """The bytes in a coding, or as they are where it saves nothing; with the name of what it is."""
        plain = self.forms[""]
        if len(plain) < _SHORTEST:
            return "", plain
        if coding not in self.forms:
            self.forms[coding] = _compressed(plain, coding)
        return coding, self.forms[coding]


def _compressed(plain: bytes, coding: str) -> bytes:
    if coding == ZSTD:
        return bytes(imagecodecs.zstd_encode(plain, level=15))
    return zlib.compress(plain, 9, zlib.MAX_WBITS | 16)  # RFC 1952


class Assets:
    """All files below a folder, as they are now."""

    def __init__(self, folder: Path = STATIC) -> None:
        paths = sorted(path for path in folder.rglob("*") if path.suffix in _TYPES and path.is_file())
        self._files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        self._assets = {name: Asset(name, data) for name, data in self._files.items()}
        digest = blake2b(digest_size=8)
        for name, asset in self._assets.items():
            digest.update(f"{name} {asset.tag}\n".encode())
        self.version = digest.hexdigest()

    def modules(self, *names: str) -> list[str]:
        """The modules that some need before they run, themselves among them, in the order of their imports."""
        found: dict[str, None] = dict.fromkeys(names)
        for name in (waiting := list(names)):
            for target in _IMPORT.findall(self._files[name].decode()):
                reached = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
                if reached not in found:
                    found[reached] = None
                    waiting.append(reached)
        return list(found)

    def page(self, name: str, up: str, head: Iterable[str], first: str = "") -> bytes:
        """A page whose address is so far below the application ("../", twice, or "./"): its files by their lasting
        addresses, with `head` at the end of its head. `first` says to it what it shows first, before all else."""
        text = self._files[name].decode().replace(_OWN, f'="{up}{self.base}')
        text = text.replace("</head>", "".join(f"{line}\n" for line in head) + "</head>", 1)
        if first:
            text = text.replace('id="app"', f'id="app" data-first="{escape(first)}"', 1)
            text = text.replace("js/main.js", "js/first.js", 1)
        return text.encode()

    @property
    def base(self) -> str:
        """Where the files lie, below the application."""
        return f"static/{self.version}/"

    async def lasting_file(self, request: Request) -> Response:
        """`/static/<version>/<path>`."""
        asked = request.path_params
        return self._answer(request, asked["path"], LASTING if asked["version"] == self.version else "no-cache")

    async def file(self, request: Request) -> Response:
        """`/<path>`."""
        return self._answer(request, request.path_params["path"], "no-cache")

    def _answer(self, request: Request, path: str, keeping: str) -> Response:
        asset = self._assets.get(path)
        if asset is None:
            raise HTTPException(404)
        coding, body = asset.form(chosen_coding(request.headers.get("accept-encoding")))
        fields = {"etag": f'"{asset.tag}{coding}"', "cache-control": keeping, "vary": "Accept-Encoding"}
        if coding:
            fields["content-encoding"] = coding
        return unchanged(request, fields) or Response(body, headers={**fields, "content-type": asset.media_type})


@cache
def own_assets() -> Assets:
    """The viewer's, read once in a process."""
    return Assets()
