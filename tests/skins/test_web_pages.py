"""The viewer's pages and files: what they name, how long they are kept, and in which codings they come."""

from __future__ import annotations

import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx
import imagecodecs
import pytest

from isocenter.web.assets import STATIC, Assets
from skins.web_harness import Web

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
        ("/", ("js/main.js", "js/panels/studies.js", "js/panels/upload.js")),
        ("/view/1.2.3?window=40,400", ("js/main.js", "js/viewer.js")),
        ("/view/1.2.3/4.5?planes=a", ("js/main.js", "js/volume/page.js", "js/loader.js")),
    ],
)
def test_a_page_names_all_modules_that_it_begins_with_and_no_others(
    web: Web, path: str, modules: tuple[str, ...]
) -> None:
    page = web.get(path).text
    preloaded = re.findall(r'<link rel="modulepreload" href="[./]*static/[0-9a-f]{16}/([^"]+)">', page)
    assert reached(*modules) == set(preloaded)
    assert len(preloaded) == len(set(preloaded))


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
