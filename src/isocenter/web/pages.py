"""The pages of the viewer, each with what it is about to ask for.

A page is the same few lines whatever it shows; it reads its own address. But a browser that has to run modules before
it knows what is wanted asks for the image last of all. So the server reads the address, too, and names the frame in the
page's head, and in its body how samples become greys (pixels/plain.py): the browser has asked for the frame before the
first line of the viewer runs, and a few modules show it (js/first.js). Of other images the server makes the picture.
In the same way the study list's page asks for the first of its rows.
That is a help and nothing else. What the page shows it decides itself; if the guess was wrong, or took too long to
make, the image comes as it would have come.

Of what is stored, nothing but UIDs and such numbers stands in a page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from html import escape
from typing import Any

import anyio
import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from isocenter.errors import IsocenterError
from isocenter.model import Equal, Found, InstanceRef, Level, Query, Scope
from isocenter.names import is_uid
from isocenter.pixels.plain import PlainGreys, plain_greys, shown_aspect
from isocenter.pixels.transcode import can_decode
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from isocenter.web.assets import Assets, own_assets
from isocenter.web.caching import ASK_AGAIN
from isocenter.web.context import DICOMWEB, Context, context_of
from isocenter.web.negotiate import OCTET_STREAM
from isocenter.web.qido import INSTANCE_UID, SERIES_UID, STUDY_UID

PATIENCE = 1.0  # seconds that a page waits for what is only a help
_SERIES_NUMBER, _MODALITY, _INSTANCE_NUMBER = 0x00200011, 0x00080060, 0x00200013
_FRAMES = 0x00280008
_DESCRIBED = (_INSTANCE_NUMBER, _FRAMES)
_LARGEST_PICTURE = 4_000_000  # pixels; larger ones take the server longer to make than the viewer to come
_DEEPEST = 16  # folders in an address: the way back from there stands in every line of the page's head
# Modalities of what was made from images, or is none: js/panels/series.js puts them last.
_LATER = frozenset(
    ("SR", "PR", "KO", "RTSTRUCT", "RTPLAN", "REG", "DOC", "ECG", "HD", "PLAN", "RWV", "FID", "M3D", "SEG")
)
_FIRST_NUMBERS = ("0", "1")

FRAME_QUERY = f"accept={OCTET_STREAM};transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}"
"""How the viewer asks for frames (js/dicomweb.js), letter by letter, or the browser would ask for two things."""

PICTURE_QUERY = "accept=image/png"
"""And for pictures that the server makes."""

LIST_QUERIES = ("studies?includefield=StudyDescription&orderby=-StudyDate%2C-StudyTime&limit=100&offset=0", "tally?")
"""And what the study list asks for at first, where its address says nothing else (js/studypages.js)."""


@cache
def _modules(assets: Assets, *names: str) -> tuple[str, ...]:
    return tuple(assets.modules(*names))


def _preloading(assets: Assets, up: str, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        yield f'<link rel="modulepreload" href="{up}{assets.base}{name}">'


def _asking(address: str) -> str:
    return f'<link rel="preload" as="fetch" crossorigin href="{escape(address)}">'


def _later(assets: Assets, up: str, needed: tuple[str, ...], *names: str) -> Iterator[str]:
    """What modules need more than those. The page takes it from here when what it shows first is on the screen."""
    yield '<template id="later">'
    yield from _preloading(assets, up, tuple(one for one in _modules(assets, *names) if one not in needed))
    yield "</template>"


async def studies(request: Request) -> Response:
    """`/`: the list of studies."""
    assets = own_assets()
    needed = _modules(assets, "js/main.js", "js/panels/studies.js", "js/panels/upload.js", "js/panels/language.js")
    asked = () if request.query_params else LIST_QUERIES
    head = [
        *(_asking(f"{DICOMWEB[1:]}/{query}") for query in asked),
        f'<link rel="preload" as="style" href="{assets.base}css/list.css">',
        *_preloading(assets, "", needed),
        *_later(assets, "", needed, "js/viewer.js"),
    ]
    return _answer(assets.page("index.html", "", head))


async def display(request: Request) -> Response:
    """`/display`: the calibration of the screen."""
    assets = own_assets()
    head = _preloading(assets, "", _modules(assets, "js/main.js", "js/display/page.js"))
    return _answer(assets.page("index.html", "", head))


async def procedures(request: Request) -> Response:
    """`/procedures`: what is scheduled."""
    assets = own_assets()
    head = _preloading(assets, "", _modules(assets, "js/main.js", "js/procedures/page.js"))
    return _answer(assets.page("index.html", "", head))


async def view(request: Request) -> Response:
    """`/view/<study>[/<series>[/<instance>]]`: images."""
    assets = own_assets()
    scope = request.scope
    below = scope.get("raw_path") or scope["path"].encode()
    deep = below.count(b"/") - 1
    if deep > _DEEPEST:
        raise HTTPException(404)
    up = "../" * deep
    uids = [part if is_uid(part) else "" for part in request.path_params["path"].split("/")[:3]]
    study, series, instance = (*uids, "", "", "")[:3]
    if request.query_params.get("planes") and series:
        names = _modules(assets, "js/main.js", "js/volume/page.js", "js/loader.js")
        return _answer(assets.page("index.html", up, _preloading(assets, up, names)))
    first = None
    # What else an address says, of windows and of several cells, the viewer itself has to read first.
    if study and set(request.query_params) <= {"frame"}:
        with anyio.move_on_after(PATIENCE):
            first = await _first(request, study, series, instance)
    if first is None:
        names = _modules(assets, "js/main.js", "js/viewer.js")
        return _answer(assets.page("index.html", up, _preloading(assets, up, names)))
    needed = _modules(assets, "js/first.js")
    at = f"{up}{DICOMWEB[1:]}/studies/{study}/series/{first['series']}/instances/{first['instance']}"
    frame = f"{at}/frames/{first['frame']}" + (f"?{FRAME_QUERY}" if first["greys"] else f"/rendered?{PICTURE_QUERY}")
    head = [
        _asking(frame),
        *_preloading(assets, up, needed),
        *_later(assets, up, needed, "js/main.js", "js/viewer.js"),
    ]
    return _answer(assets.page("index.html", up, head, json.dumps(first, separators=(",", ":"))))


def _answer(page: bytes) -> Response:
    return Response(page, media_type="text/html", headers={"cache-control": ASK_AGAIN})


def _frame(request: Request) -> int:
    text = request.query_params.get("frame", "")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 8 else 1


async def _first(request: Request, study: str, series: str, instance: str) -> Mapping[str, Any] | None:
    """The image that the address shows first, as js/first.js wants it; None if there is none that can be shown without
    knowing more, or nobody can tell which it is without looking further."""
    context = context_of(request)
    archive = context.archive
    within = Equal(STUDY_UID, (study,))
    try:
        if not series:
            found = await archive.find(Query(Level.SERIES, (within,), include=(_SERIES_NUMBER, _MODALITY)))
            series = min(found, key=_series_order).series or "" if found else ""
        within_series = within, Equal(SERIES_UID, (series,))
        which = Equal(INSTANCE_UID, (instance,)) if instance else Equal(_INSTANCE_NUMBER, _FIRST_NUMBERS)
        rows = await archive.find(Query(Level.IMAGE, (*within_series, which), include=_DESCRIBED, limit=3, bare=True))
        rows.sort(key=_instance_order)
        if not rows or (len(rows) > 1 and _instance_order(rows[0]) == _instance_order(rows[1])):
            return None
        several = (_value(rows[0].attributes, _FRAMES) or 1) != 1  # which come after single images, and move
        if several and not instance:
            return None
        ref = (await archive.select(Scope(study, series, rows[0].instance)))[0]
        told = await anyio.to_thread.run_sync(
            _told, context, ref, _frame(request), limiter=context.decoding, abandon_on_cancel=True
        )
    except IsocenterError:
        return None  # as the viewer will be told when it asks
    return told and {"study": study, "series": series, "instance": ref.instance, **told}


def _told(context: Context, ref: InstanceRef, number: int) -> Mapping[str, Any] | None:
    """What js/first.js wants to know of a frame; None of one that nobody can show or that takes long; blocking. Raises
    as `Archive.image`."""
    if not can_decode(ref.transfer_syntax):
        return None
    with context.archive.image(ref) as image:
        if number > image.number_of_frames:
            return None
        plain = plain_greys(image, number)
        if plain is None and image.rows * image.columns > _LARGEST_PICTURE:
            return None
        return {
            "frame": number,
            "rows": image.rows,
            "columns": image.columns,
            "aspect": shown_aspect(image, number),
            "coloured": not image.layout.photometric.startswith("MONOCHROME"),
            "greys": plain and _in_words(plain),
        }


def _in_words(plain: PlainGreys) -> Mapping[str, Any]:
    window = plain.window
    return {
        "bitsAllocated": plain.bits_allocated,
        "bitsStored": plain.bits_stored,
        "signed": plain.signed,
        "slope": plain.rescale.slope,
        "intercept": plain.rescale.intercept,
        "window": window and {"center": window.center, "width": window.width, "function": window.function, "label": ""},
        "inverse": plain.inverse,
        "padding": plain.padding,
    }


def _series_order(series: Found) -> tuple[bool, float, str]:
    """As js/panels/series.js puts them."""
    attributes = series.attributes
    return _value(attributes, _MODALITY) in _LATER, _number(_value(attributes, _SERIES_NUMBER)), series.series or ""


def _instance_order(instance: Found) -> float:
    return _number(_value(instance.attributes, _INSTANCE_NUMBER))


def _value(attributes: Mapping[str, Any], tag: int) -> Any:
    """The first value of an attribute; None without one."""
    values = attributes.get(f"{tag:08X}", {}).get("Value")
    return values[0] if values else None


def _number(value: Any) -> float:
    return value if isinstance(value, (int, float)) else float("inf")


def routes() -> Iterator[BaseRoute]:
    """The pages, and after all other routes, the files."""
    assets = own_assets()
    yield Route("/", studies, methods=["GET"])
    yield Route("/display", display, methods=["GET"])
    yield Route("/procedures", procedures, methods=["GET"])
    yield Route("/view/{path:path}", view, methods=["GET"])
    yield Route("/static/{version}/{path:path}", assets.lasting_file, methods=["GET"])
    yield Route("/{path:path}", assets.file, methods=["GET"])
