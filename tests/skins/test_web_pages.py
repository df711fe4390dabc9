"""The viewer's pages and files: what they name, how long they are kept, and in which codings they come."""

from __future__ import annotations

import json
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
import httpx
import imagecodecs
import pydicom
import pytest
from pydicom.data import get_testdata_file

from isocenter.errors import ArchiveBusy
from isocenter.model import Origin
from isocenter.web import pages
from isocenter.web.assets import STATIC, Assets
from isocenter.web.site_tokens import issue
from skins.conftest import archived
from skins.web_harness import Web, saved

LIST = ("js/panels/studies.js", "js/panels/upload.js", "js/panels/language.js")
LASTING = "private, max-age=31536000, immutable"


def named(page: str) -> list[str]:
    """Addresses of files in a page, in their order."""
    return re.findall(r'(?:href|src)="([^"]*static/[^"]+)"', page)


def reached(*names: str) -> set[str]:
    """What modules import before they run, found by another way than the server's: from the files."""
    seen: set[Path] = set()
    waiting = [STATIC / name for name in names]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            lines = re.findall(r'\bimport\b[^;"]*"(\.[^"]+)";', path.read_text("utf-8"))
            waiting += [(path.parent / line).resolve() for line in lines]
    return {path.relative_to(STATIC).as_posix() for path in seen}


@pytest.mark.parametrize(
    ("path", "modules"),
    [
        ("/", ("js/main.js", *LIST)),
        ("/display", ("js/main.js", "js/display/page.js")),
        ("/procedures", ("js/main.js", "js/procedures/page.js")),
        ("/view/1.2.3?window=40,400", ("js/main.js", "js/viewer.js")),
        ("/view/1.2.3/4.5?planes=a", ("js/main.js", "js/volume/page.js", "js/loader.js")),
    ],
)
def test_a_page_names_all_modules_that_it_begins_with_and_no_others(
    web: Web, path: str, modules: tuple[str, ...]
) -> None:
    page = web.get(path).text.partition("<template")[0]
    preloaded = re.findall(r'<link rel="modulepreload" href="[./]*static/[0-9a-f]{16}/([^"]+)">', page)
    assert reached(*modules) == set(preloaded)
    assert len(preloaded) == len(set(preloaded))


def test_an_address_of_very_many_folders_makes_no_very_long_page(web: Web) -> None:
    """Each link of a page leads back through all folders of its address."""
    assert 200 == web.get("/view/1.2/3.4/5.6/" + "/" * 8).status_code
    assert 404 == web.get("/view/1.2" + "/" * 20_000).status_code


@pytest.mark.parametrize("path", ["/", "/view/1.2", "/view/1.2/", "/view/1.2/3.4/5.6?frame=2", "/view/a%2Fb/c"])
def test_whatever_a_page_names_is_there_relative_to_its_address(web: Web, path: str) -> None:
    """So that a proxy may put the application below a path of its own."""
    page = web.get(path)
    names = named(page.text)
    assert len(names) > 10
    assert not any(name.startswith("/") for name in names)
    for name in names:
        assert page.url.join(name).path.startswith("/static/")
        answer = web.get(str(page.url.join(name)))
        assert (200, LASTING) == (answer.status_code, answer.headers["cache-control"]), name


def test_a_page_is_asked_for_again_each_time(web: Web) -> None:
    for path in ("/", "/view/1.2"):
        answer = web.get(path)
        assert "private, no-cache" == answer.headers["cache-control"]
        assert "etag" not in answer.headers


def test_a_file_that_changes_has_another_address_and_so_have_all(tmp_path: Path) -> None:
    shutil.copytree(STATIC, tmp_path / "static")
    before = Assets(tmp_path / "static")
    assert before.version == Assets(tmp_path / "static").version == Assets().version
    changed = tmp_path / "static" / "js" / "tools.js"
    changed.write_text(changed.read_text() + "// and more\n")
    after = Assets(tmp_path / "static")
    assert before.version != after.version
    assert named(before.page("index.html", "", []).decode()) != named(after.page("index.html", "", []).decode())


def test_a_page_of_another_version_gets_the_files_of_this_one_for_the_moment(web: Web) -> None:
    answer = web.get("/static/0123456789abcdef/js/main.js")
    assert (STATIC / "js" / "main.js").read_bytes() == answer.content
    assert "no-cache" == answer.headers["cache-control"]
    assert 304 == web.get(answer.url.path, headers={"if-none-match": answer.headers["etag"]}).status_code
    assert 404 == web.get("/static/0123456789abcdef/js/none.js").status_code


@pytest.mark.parametrize(
    ("coding", "undone"), [("gzip", lambda data: zlib.decompress(data, 31)), ("zstd", imagecodecs.zstd_decode)]
)
def test_text_comes_compressed_for_whoever_takes_that(web: Web, coding: str, undone: Callable[[bytes], bytes]) -> None:
    plain = (STATIC / "css" / "app.css").read_bytes()
    with web.portal.wrap_async_context_manager(
        web.client.stream("GET", "/css/app.css", headers={"accept-encoding": coding})
    ) as answer:
        assert coding == answer.headers["content-encoding"]
        assert "Accept-Encoding" == answer.headers["vary"]
        data = b"".join(web.portal.call(_raw, answer))
    assert plain == bytes(undone(data))
    assert len(data) < len(plain) / 2
    as_it_is = web.get("/css/app.css", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in as_it_is.headers
    assert plain == as_it_is.content
    assert as_it_is.headers["etag"] != answer.headers["etag"]


async def _raw(answer: httpx.Response) -> list[bytes]:
    return [piece async for piece in answer.aiter_raw()]


# --- the first image of an address


def slices(study: str, series: str, numbers: list[int | None], **attributes: Any) -> list[bytes]:
    """CTs of a series; the UID of each ends with its place in `numbers`."""
    made = []
    for place, number in enumerate(numbers):
        ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{series}.{place}"
        ds.InstanceNumber = number
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)
        made.append(saved(ds))
    return made


def told(web: Web, path: str) -> dict[str, Any] | None:
    """What a page says of the image that it shows first."""
    found = re.search(r'data-first="([^"]*)"', web.get(path).text)
    return cast("dict[str, Any]", json.loads(unescape(found[1]))) if found else None


def first_of(web: Web, path: str) -> str:
    """Which image that is: "series/instance", or "" for none."""
    first = told(web, path)
    return f"{first['series']}/{first['instance']}" if first else ""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine finds the first image, too, which a page otherwise leaves out."""
    monkeypatch.setattr(pages, "PATIENCE", 60.0)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Studies 1.1 to 1.8, each with something else about its first image."""
    with archived(tmp_path_factory.mktemp("pages")) as web:
        objects = [
            *slices("1.1", "1.1.9", [3, 1, 2], SeriesNumber=5),
            *slices("1.1", "1.1.8", [1], SeriesNumber=7),
            *slices("1.1", "1.1.7", [1], SeriesNumber=1, Modality="SEG"),
            *slices("1.2", "1.2.1", [1, 0, 2]),
            *slices("1.3", "1.3.1", [1, 1]),
            *slices("1.4", "1.4.1", [None, 7]),
            *slices("1.5", "1.5.1", [1], BitsStored=12),  # High Bit is 15
            *slices("1.6", "1.6.1", [1], NumberOfFrames=2, PixelData=bytes(2 * 2 * 128 * 128)),
            *slices("1.7", "1.7.1", [1], PatientID="<b>7", PatientName='"><script>'),
            *slices("1.8", "1.8.1", [1], WindowCenter="40.5", WindowWidth=400, VOILUTFunction="SIGMOID"),
        ]
        assert 200 == web.store(*objects).status_code
        yield web


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("/view/1.1", "1.1.9/1.1.9.1"),  # the lowest Series Number of what was acquired, Instance Number 1
        ("/view/1.1/", "1.1.9/1.1.9.1"),
        ("/view/1.1/1.1.8", "1.1.8/1.1.8.0"),
        ("/view/1.1/1.1.9/1.1.9.0", "1.1.9/1.1.9.0"),
        ("/view/1.1/1.1.9/1.1.9.0?frame=1", "1.1.9/1.1.9.0"),
        ("/view/1.2", "1.2.1/1.2.1.1"),
        ("/view/1.5", "1.5.1/1.5.1.0"),
        ("/view/1.6/1.6.1/1.6.1.0?frame=2", "1.6.1/1.6.1.0"),
        # Which it is, the viewer finds out: two are the first, none has the number, ...
        ("/view/1.3", ""),
        ("/view/1.4", ""),
        ("/view/1.6", ""),  # it moves, and what does not comes before it
        ("/view/1.6/1.6.1/1.6.1.0?frame=3", ""),
        ("/view/1.1?window=40,400", ""),  # only the viewer knows all that an address can say
        ("/view/1.1/1.1.9/1.1.9.0?grid=2x1", ""),
        ("/view/1.9", ""),
        ("/view/1.1/1.2.1", ""),
        ("/view/1.1/1.1.9/1.2.1.0", ""),
        ("/view/", ""),
        ("/view/x", ""),
        ("/", ""),
    ],
)
def test_the_first_image_of_an_address(stored: Web, path: str, first: str) -> None:
    assert first == first_of(stored, path)
    assert any("/instances/" in one for one in fetched_ahead(stored, path)) == bool(first)


def fetched_ahead(web: Web, path: str) -> list[str]:
    """What a page has the browser ask for before its code runs."""
    links = re.findall(r'<link rel="preload" as="fetch" crossorigin href="([^"]+)">', web.get(path).text)
    return [unescape(link) for link in links]


def test_the_list_asks_for_its_first_rows_unless_its_address_searches(stored: Web) -> None:
    rows, tally = fetched_ahead(stored, "/")
    assert 200 == stored.get(f"/{rows}").status_code == stored.get(f"/{tally}").status_code
    assert "1.1" in [one["0020000D"]["Value"][0] for one in stored.get(f"/{rows}").json()]
    assert [] == fetched_ahead(stored, "/?text=somebody")


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/view/1.1", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"),
        ("/view/1.6/1.6.1/1.6.1.0?frame=2", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"),
        ("/view/1.5", "image/png"),  # whose bits the server puts right
    ],
)
def test_what_a_page_asks_for_is_what_the_viewer_takes(stored: Web, path: str, media_type: str) -> None:
    (link,) = fetched_ahead(stored, path)
    frame = str(stored.get(path).url.join(link))
    answer = stored.get(frame, accept="*/*")
    assert media_type == answer.headers["content-type"]
    first = told(stored, path)
    assert first is not None
    assert (128, 128) == (first["rows"], first["columns"])
    if first["greys"]:
        assert first["rows"] * first["columns"] * first["greys"]["bitsAllocated"] / 8 == len(answer.content)
    else:
        assert answer.content.startswith(b"\x89PNG")
    assert LASTING == answer.headers["cache-control"]
    client = (STATIC / "js" / "dicomweb.js").read_text()
    assert f'"{urlsplit(frame).query}"' in client, "letter by letter, or it would be fetched twice"


def test_a_page_says_how_samples_become_greys(stored: Web) -> None:
    assert {
        "study": "1.1",
        "series": "1.1.9",
        "instance": "1.1.9.1",
        "frame": 1,
        "rows": 128,
        "columns": 128,
        "aspect": 1.0,
        "coloured": False,
        "greys": {
            "bitsAllocated": 16,
            "bitsStored": 16,
            "signed": True,
            "slope": 1.0,
            "intercept": -1024.0,
            "window": None,
            "inverse": False,
            "padding": [-2000, -2000],
        },
    } == told(stored, "/view/1.1")
    windowed = told(stored, "/view/1.8")
    assert windowed is not None
    assert {"center": 40.5, "width": 400.0, "function": "SIGMOID", "label": ""} == windowed["greys"]["window"]


def test_what_is_needed_for_the_first_image_is_little_and_the_rest_waits_in_the_page(stored: Web) -> None:
    at_once, _, later = stored.get("/view/1.1").text.partition('<template id="later">')
    first, rest = (
        {name.partition("/js/")[2] for name in named(part) if name.endswith(".js")} for part in (at_once, later)
    )
    assert {f"js/{name}" for name in first} == reached("js/first.js")
    assert {f"js/{name}" for name in first | rest} == reached("js/main.js", "js/first.js", "js/viewer.js")
    assert not first & rest
    assert not {"main.js", "viewport.js", "image.js", "dicomweb.js", "toolbar.js"} & first


def test_nothing_of_a_patient_stands_in_a_page(stored: Web) -> None:
    page = stored.get("/view/1.7").text
    assert "data-first" in page
    assert "<b>7" not in page
    assert "><script>" not in page.replace('<script type="module"', "")


def test_who_may_not_see_a_study_is_not_told_of_its_images(tmp_path: Path) -> None:
    _, token = issue(tmp_path / "tokens", "one", ["read"], patients=["P1"])
    with archived(tmp_path / "data", web_tokens=str(tmp_path / "tokens")) as web:
        objects = [*slices("1.1", "1.1.1", [1], PatientID="P1"), *slices("1.2", "1.2.1", [1], PatientID="P2")]

        async def ingest() -> None:
            for data in objects:
                await web.archive.ingest([data], Origin("test"))

        web.portal.call(ingest)
        asked = {"authorization": f"Bearer {token}"}
        assert "data-first" in web.get("/view/1.1", headers=asked).text
        assert "data-first" not in web.get("/view/1.2", headers=asked).text
        assert 401 == web.get("/view/1.1").status_code


def test_a_page_does_not_wait_for_an_index_that_is_not_there(fake: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PATIENCE", 0.1)

    async def find(query: object) -> None:
        raise ArchiveBusy("the index is locked")

    async def wait(query: object) -> None:
        await anyio.sleep_forever()

    for work in (find, wait):
        fake.archive.find = work
        page = fake.get("/view/1.1")
        assert 200 == page.status_code
        assert "data-first" not in page.text
        assert "js/viewer.js" in page.text.partition("<template")[0]
