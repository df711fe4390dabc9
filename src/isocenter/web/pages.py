"""The pages of the viewer, each with what it is about to ask for.

A page is the same few lines whatever it shows; it reads its own address. But the server reads the address, too, and
names the modules in the page's head: the browser has asked for all of them before the first line of the viewer runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from isocenter.web.assets import Assets, own_assets
from isocenter.web.caching import ASK_AGAIN


@cache
def _modules(assets: Assets, *names: str) -> tuple[str, ...]:
    return tuple(assets.modules(*names))


def _preloading(assets: Assets, up: str, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        yield f'<link rel="modulepreload" href="{up}{assets.base}{name}">'


async def studies(request: Request) -> Response:
    """`/`: the list of studies."""
    assets = own_assets()
    head = _preloading(assets, "", _modules(assets, "js/main.js", "js/panels/studies.js", "js/panels/upload.js"))
    return _answer(assets.page("index.html", "", head))


async def view(request: Request) -> Response:
    """`/view/<study>[/<series>[/<instance>]]`: images."""
    assets = own_assets()
    scope = request.scope
    below = scope.get("raw_path") or scope["path"].encode()
    up = "../" * (below.removeprefix(scope.get("root_path", "").encode()).count(b"/") - 1)
    if request.query_params.get("planes"):
        names = _modules(assets, "js/main.js", "js/volume/page.js", "js/loader.js")
        return _answer(assets.page("index.html", up, _preloading(assets, up, names)))
    names = _modules(assets, "js/main.js", "js/viewer.js")
    return _answer(assets.page("index.html", up, _preloading(assets, up, names)))


async def display(request: Request) -> Response:
    """`/display`: the calibration of the screen."""
    assets = own_assets()
    head = _preloading(assets, "", _modules(assets, "js/main.js", "js/display/page.js"))
    return _answer(assets.page("index.html", "", head))


def _answer(page: bytes) -> Response:
    return Response(page, media_type="text/html", headers={"cache-control": ASK_AGAIN})


def routes() -> Iterator[BaseRoute]:
    """The pages, and after all other routes, the files."""
    assets = own_assets()
    yield Route("/", studies, methods=["GET"])
    yield Route("/view/{path:path}", view, methods=["GET"])
    yield Route("/display", display, methods=["GET"])
    yield Route("/static/{version}/{path:path}", assets.lasting_file, methods=["GET"])
    yield Route("/{path:path}", assets.file, methods=["GET"])
