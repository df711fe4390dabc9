"""tools/prepare_ohif.py on a package like OHIF's, in little: what is left out, changed and compressed."""

from __future__ import annotations

import importlib.util
import io
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).resolve().parents[2] / "tools" / "prepare_ohif.py"
RUNTIME = b'__webpack_require__.p = "/";\n'


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prepare_ohif", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def package(folder: Path, files: dict[str, bytes]) -> Path:
    archive = folder / "app.tgz"
    with tarfile.open(archive, "w:gz") as made:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return archive


def scripts(workers: int) -> dict[str, bytes]:
    app = RUNTIME + b'pluginImports_modes.push("@ohif/mode-microscopy");\nstart();\n' + b"// long\n" * 500
    style = b"@font-face{src:url(/a34f9d1faa5f3315.woff2)}" * 5
    others = {f"dist/{number}.bundle.0123456789abcdef.js": RUNTIME for number in range(workers)}
    return {"dist/app.bundle.0123456789abcdef.js": app, "dist/app.bundle.css": style, **others}


def test_what_is_left_out(tool: ModuleType, tmp_path: Path) -> None:
    left_out = {
        "dist/ort/ort-wasm.wasm": b"x" * 70,
        "dist/dicom-microscopy-viewer/dicomMicroscopyViewer.min.js": b"x" * 20,
        "dist/5731.bundle.694bce33e168bf29.js": b"x" * 10,
        "dist/8832.css": b"x",
        "dist/sw.js": b"x",
        "dist/app-config.js": b"x",
        "dist/index.html": b"x",
        "package.json": b"x",
    }
    kept = {"LICENSE": b"MIT", "dist/57.bundle.js": b"12", "dist/assets/favicon.ico": b"3"}
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    everything, gone = tool.unpack(package(tmp_path, left_out | kept), fresh)
    assert (6 + 105, 105) == (everything, gone)
    found = {str(path.relative_to(fresh)) for path in fresh.rglob("*") if path.is_file()}
    assert {"LICENSE", "57.bundle.js", "assets/favicon.ico"} == found


def test_what_is_changed(tool: ModuleType, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    tool.unpack(package(tmp_path, scripts(7)), fresh)
    tool.change(fresh)
    tool.compress(fresh)
    app = (fresh / "app.bundle.0123456789abcdef.js").read_text()
    assert "microscopy" not in app
    assert 'p = "/"' not in app
    assert "document.currentScript.src" in app
    assert "url(/" not in (fresh / "app.bundle.css").read_text()
    page = (fresh / "index.html").read_text()
    assert 'src="./app.bundle.0123456789abcdef.js"' in page
    assert "<script>" not in page
    for suffix in (".gz", ".zst"):
        assert 0 < (fresh / f"app.bundle.0123456789abcdef.js{suffix}").stat().st_size < len(app)
    assert not (fresh / "index.html.gz").exists(), "the page is made for each address"


def test_another_version_needs_another_look(tool: ModuleType, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    tool.unpack(package(tmp_path, scripts(6)), fresh)
    with pytest.raises(SystemExit, match=r"7 times in @ohif/app@3\.13\.2, not 8 times"):
        tool.change(fresh)


def test_a_folder_of_somebody_else_stays(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    monkeypatch.setattr("sys.argv", ["prepare_ohif.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="holds something else"):
        tool.main()
    assert (tmp_path / "thesis.txt").exists()
