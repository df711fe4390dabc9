"""OHIF at /ohif/, where a folder with it is named (`web.ohif`): another viewer over the same DICOMweb.

`make ohif` prepares such a folder (tools/prepare_ohif.py). It is read once, at the start: a file that was there then
is found by its exact path, and no other path leads to the disk. Paths that name no file are OHIF's own routes and get
its page, which names its parts relative to itself, so that it works wherever a proxy mounts us. The configuration is
made here.

OHIF needs more of the browser than our own viewer: WebAssembly for its decoders, style elements, workers and images
made of memory. So its answers, and no others, have a policy of their own, which lets no request go elsewhere. Its page
runs no text as script. Its decoders do (Emscripten makes functions that call C++ of text), but they run in workers,
which have the policy that their script came with, and no page to change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from isocenter.errors import SettingsError
from isocenter.settings import Settings
from isocenter.web.caching import ASK_AGAIN, LASTING, unchanged
from isocenter.web.context import prefix_of
from isocenter.web.identity import WRITE, identity_of
from isocenter.wire.contentcoding import GZIP, ZSTD, chosen_coding

PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; font-src 'self' data:; "
    "connect-src 'self' blob: data:; media-src 'self' blob:; object-src 'self' blob:; frame-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SCRIPT_POLICY = "default-src 'self'; script-src 'self' 'unsafe-eval'; connect-src 'self' blob: data:"
MEDIA_TYPES = {
    ".css": "text/css",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".jsonc": "text/plain",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}
COMPRESSED_TYPES = (".css", ".js", ".json", ".jsonc", ".svg", ".wasm")
CODINGS = {GZIP: ".gz", ZSTD: ".zst"}
"""What the compressed form of a file is called beside it."""

_CONFIGURATION = Path(__file__).with_name("ohif-config.js")
# The name of such a file changes with its content: main.bundle.0f6159c501addfe9.js, 5130ccb17e3f3f5b.wasm
_HASHED = re.compile(r"(?:.*\.)?[0-9a-f]{16}\.\w+")


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    media_type: str
    tag: str
    lasting: bool
    forms: dict[str, Path]


class Ohif:
    """What is in the folder. Raises SettingsError where that is no prepared OHIF."""

    def __init__(self, folder: Path) -> None:
        page = folder / "index.html"
        try:
            self._page = page.read_text("utf-8")
            self._files = {str(path.relative_to(folder)): _described(path) for path in _files(folder)}
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"web.ohif: {folder} cannot be read: {error}") from None
        if 'src="./app-config.js"' not in self._page:
            raise SettingsError(f"web.ohif: {folder} is not an OHIF prepared for Isocenter; `make ohif` prepares one")
        self._configuration = _CONFIGURATION.read_text("utf-8")

    async def answer(self, request: Request) -> Response:
        """A file of OHIF's, or its page for a route of its own. 404 for a file that is not there."""
        path: str = request.path_params["path"]
        file = self._files.get(path)
        if file is not None:
            return _sent(request, file)
        if "." in path.rpartition("/")[2]:
            raise HTTPException(404)
        up = "../" * path.count("/") or "./"
        return _own(Response(self._page.replace('="./', f'="{up}'), media_type="text/html"))

    async def configuration(self, request: Request) -> Response:
        """`app-config.js`: how OHIF reaches our DICOMweb, and what this user may do with it."""
        facts = {"upload": WRITE in identity_of(request).scopes}
        script = f"{self._configuration.rstrip()}({orjson.dumps(facts).decode()});\n"
        return _own(Response(script, media_type=MEDIA_TYPES[".js"]))


def _files(folder: Path) -> Iterator[Path]:
    """Files of OHIF's, without those that begin with a dot, the page, and compressed forms."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in MEDIA_TYPES and not hidden and path.name != "index.html" and path.is_file():
            yield path


def _described(path: Path) -> _File:
    facts = path.stat()
    forms = {coding: path.with_name(path.name + suffix) for coding, suffix in CODINGS.items()}
    return _File(
        path,
        MEDIA_TYPES[path.suffix],
        f"{facts.st_mtime_ns:x}-{facts.st_size:x}",
        _HASHED.fullmatch(path.name) is not None,
        {coding: form for coding, form in forms.items() if form.is_file()},
    )


def _sent(request: Request, file: _File) -> Response:
    coding = chosen_coding(request.headers.get("accept-encoding"))
    form = file.forms.get(coding)
    fields = {
        "etag": f'"{file.tag}-{coding}"' if form else f'"{file.tag}"',
        "cache-control": LASTING if file.lasting else ASK_AGAIN,
        "vary": "Accept-Encoding",
    }
    if form is not None:
        fields["content-encoding"] = coding
    known = unchanged(request, fields)
    return _own(known or FileResponse(form or file.path, media_type=file.media_type, headers=fields))


def _own(response: Response) -> Response:
    is_script = response.media_type == MEDIA_TYPES[".js"]
    response.headers["content-security-policy"] = SCRIPT_POLICY if is_script else PAGE_POLICY
    return response


async def _to_folder(request: Request) -> Response:
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"{prefix_of(request.scope)}/ohif/{query}", 307)


def routes(settings: Settings) -> Iterator[BaseRoute]:
    """`/ohif/` with all below it; nothing where no folder is named. Raises SettingsError."""
    if not settings.web_ohif:
        return
    ohif = Ohif(Path(settings.web_ohif))
    yield Route("/ohif", _to_folder, methods=["GET"])
    yield Route("/ohif/app-config.js", ohif.configuration, methods=["GET"])
    yield Route("/ohif/{path:path}", ohif.answer, methods=["GET"])
