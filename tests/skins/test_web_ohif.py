"""OHIF mounted: what of its folder is sent how, its own routes, its configuration, and who gets none of it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import pytest

from isocenter.errors import SettingsError
from isocenter.settings import Settings
from isocenter.web.app import create_app
from isocenter.web.envelope import VIEWER_POLICY
from isocenter.web.ohif import PAGE_POLICY, SCRIPT_POLICY
from skins.conftest import archived
from skins.fake_archive import FakeArchive
from skins.test_web_gate import cookie_of, sign_in, site_at
from skins.web_harness import Web

ENTRY = "app.bundle.0123456789abcdef.js"
SCRIPT = b"console.log('the viewer');" * 20
PAGE = f'<link href="./app.css"><script src="./app-config.js"></script><script defer src="./{ENTRY}"></script>'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What `make ohif` makes, in little."""
    made = tmp_path / "ohif"
    (made / "assets").mkdir(parents=True)
    (made / "index.html").write_text(PAGE)
    (made / ENTRY).write_bytes(SCRIPT)
    (made / f"{ENTRY}.gz").write_bytes(gzip.compress(SCRIPT))
    (made / f"{ENTRY}.zst").write_bytes(imagecodecs.zstd_encode(SCRIPT))
    (made / "app.css").write_text("body {}")
    (made / "0123456789abcdef.wasm").write_bytes(b"\0asm")
    (made / "assets" / "logo.svg").write_text("<svg/>")
    (made / ".hidden.js").write_text("hidden")
    (made / "notes.txt").write_text("not of OHIF")
    (tmp_path / "secret.js").write_text("outside")
    return made


@pytest.fixture
def mounted(folder: Path, tmp_path: Path) -> Iterator[Web]:
    with archived(tmp_path / "data", web_ohif=str(folder)) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "up"),
    [("", "./"), ("viewer?StudyInstanceUIDs=1.2.3", "./"), ("viewer/dicomweb", "../"), ("a/b/c", "../../")],
)
def test_routes_of_ohif_get_its_page_which_finds_its_parts(mounted: Web, path: str, up: str) -> None:
    answer = mounted.get(f"/ohif/{path}")
    assert (200, "text/html; charset=utf-8") == (answer.status_code, answer.headers["content-type"])
    assert PAGE.replace('"./', f'"{up}') == answer.text
    assert "no-cache" == answer.headers["cache-control"]
    assert PAGE_POLICY == answer.headers["content-security-policy"]


def test_without_a_slash_it_is_found_all_the_same(mounted: Web) -> None:
    answer = mounted.get("/ohif?x=1")
    assert (307, "/ohif/?x=1") == (answer.status_code, answer.headers["location"])


@pytest.mark.parametrize(
    ("path", "media_type", "lasting"),
    [
        (ENTRY, "text/javascript; charset=utf-8", True),
        ("0123456789abcdef.wasm", "application/wasm", True),
        ("app.css", "text/css; charset=utf-8", False),
        ("assets/logo.svg", "image/svg+xml", False),
    ],
)
def test_files_are_kept_for_good_where_their_names_change_with_them(
    mounted: Web, path: str, media_type: str, lasting: bool
) -> None:
    answer = mounted.get(f"/ohif/{path}", headers={"accept-encoding": "identity"})
    assert (200, media_type) == (answer.status_code, answer.headers["content-type"])
    assert lasting == ("immutable" in answer.headers["cache-control"])
    assert "private" in answer.headers["cache-control"], "no proxy keeps what is behind the gate"
    again = mounted.get(
        f"/ohif/{path}", headers={"accept-encoding": "identity", "if-none-match": answer.headers["etag"]}
    )
    assert (304, b"") == (again.status_code, again.content)


def test_compressed_forms_are_sent_to_those_who_take_them(mounted: Web) -> None:
    tags = set()
    for coding in ("gzip", "zstd", None):
        answer = mounted.get(f"/ohif/{ENTRY}", headers={"accept-encoding": coding or "identity"})
        assert coding == answer.headers.get("content-encoding")
        assert (coding is not None) == (int(answer.headers["content-length"]) < len(SCRIPT))
        # httpx undoes gzip by itself
        assert SCRIPT == (bytes(imagecodecs.zstd_decode(answer.content)) if coding == "zstd" else answer.content)
        assert "Accept-Encoding" in answer.headers["vary"]
        tags.add(answer.headers["etag"])
    assert 3 == len(tags), "each form is something else"


def test_only_scripts_may_make_functions_of_text_and_only_where_they_are_workers(mounted: Web) -> None:
    """A worker has the policy of its script's answer; a page that of its own."""
    assert SCRIPT_POLICY == mounted.get(f"/ohif/{ENTRY}").headers["content-security-policy"]
    assert PAGE_POLICY == mounted.get("/ohif/app.css").headers["content-security-policy"]
    assert "'unsafe-eval'" not in PAGE_POLICY
    assert "script-src 'self' 'wasm-unsafe-eval';" in PAGE_POLICY
    for policy in (PAGE_POLICY, SCRIPT_POLICY):
        assert "http" not in policy
        assert "*" not in policy
    for path in ("/", "/js/main.js", "/ohif/missing.js", "/healthz"):
        assert VIEWER_POLICY == mounted.get(path).headers["content-security-policy"], path


@pytest.mark.parametrize(
    "path",
    [
        "missing.js",
        "index.html",
        "notes.txt",
        ".hidden.js",
        f"{ENTRY}.gz",
        "../secret.js",
        "..%2fsecret.js",
        "%2e%2e/secret.js",
        "assets/../../secret.js",
        "assets/..%2f..%2fsecret.js",
        "..\\secret.js",
        "//etc/passwd.js",
        "assets//logo.svg",
        "./app.css%00.js",
        "app.css/",
    ],
)
def test_no_other_path_leads_to_a_file(mounted: Web, path: str) -> None:
    answer = mounted.get(f"http://archive.test/ohif/{path}")
    assert b"outside" not in answer.content
    assert (404 == answer.status_code) or answer.headers["content-type"].startswith("text/html")
    assert b"body {}" not in answer.content


def test_the_configuration_names_no_host_and_says_who_may_store(mounted: Web) -> None:
    answer = mounted.get("/ohif/app-config.js")
    assert "text/javascript; charset=utf-8" == answer.headers["content-type"]
    assert answer.text.endswith('})({"upload":true});\n')
    assert "no-cache" == answer.headers["cache-control"]
    assert "http" not in answer.text
    assert "archive.test" not in answer.text


def test_it_is_changed_by_get_only(mounted: Web) -> None:
    assert 405 == mounted.request("POST", "/ohif/", headers={"origin": "http://archive.test"}).status_code
    assert "" == mounted.request("HEAD", f"/ohif/{ENTRY}").text


def test_without_a_folder_there_is_none(web: Web) -> None:
    for path in ("/ohif", "/ohif/", "/ohif/viewer", "/ohif/app-config.js"):
        assert 404 == web.get(path).status_code
    assert web.get("/session").json()["ohif"] is False


def test_it_is_behind_the_gate(folder: Path, tmp_path: Path) -> None:
    with site_at(tmp_path, web_ohif=str(folder)) as site:
        asked = site.web.get("/ohif/viewer?StudyInstanceUIDs=1.2", "text/html")
        assert 303 == asked.status_code
        assert "/login?next=/ohif/viewer%3FStudyInstanceUIDs%3D1.2" == asked.headers["location"]
        for path in (ENTRY, "app-config.js", "app.css", "viewer"):
            assert 401 == site.status(None, path=f"/ohif/{path}"), path
            assert 403 == site.status("write", path=f"/ohif/{path}"), path
            assert 200 == site.status("read", path=f"/ohif/{path}"), path
        reader = site.web.get("/ohif/app-config.js", headers=site.bearer("read"))
        assert reader.text.endswith('({"upload":false});\n')
        own = {"cookie": cookie_of(sign_in(site, user="anna", passcode="right"))}
        assert site.web.get("/ohif/app-config.js", headers=own).text.endswith('({"upload":true});\n')
        assert site.web.get("/session", headers=own).json()["ohif"] is True


def test_a_folder_with_something_else_is_refused_at_the_start(folder: Path, tmp_path: Path) -> None:
    archive = FakeArchive()
    for page, problem in (("<script src='/app-config.js'></script>", "make ohif"), (None, "cannot be read")):
        if page is None:
            (folder / "index.html").unlink()
        else:
            (folder / "index.html").write_text(page)
        with pytest.raises(SettingsError, match=problem):
            create_app(archive, Settings(web_ohif=str(folder)))  # type: ignore[arg-type]
