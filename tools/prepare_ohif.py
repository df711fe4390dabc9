"""Fetches OHIF from npm and prepares it for `isocenter serve --ohif FOLDER`; run by `make ohif`.

What is left out: dicom-microscopy-viewer, whose parts are LGPL, with the mode and the extension that would load it;
the ONNX runtime, 136 MB for one tool whose model comes from elsewhere; service workers, which fetch code from
elsewhere; and what serves other set-ups. What is changed: the page has no inline script, so that a content security
policy without 'unsafe-inline' lets it run; each script finds the others beside itself, wherever the folder is mounted;
and no route leads to what is left out. Each of these changes must be found as often as is expected here, or nothing is
written: another version needs another look.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import imagecodecs

from isocenter.web.ohif import CODINGS, COMPRESSED_TYPES

PACKAGE = "@ohif/app"
VERSION = "3.13.2"
SHA512 = "WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="

LEFT_OUT = (
    "dicom-microscopy-viewer/*",
    *("5189.*", "5731.*", "8832.*", "9290.*"),  # microscopy: viewport, mathjs for it, extension, mode
    "ort/*",
    *("*.map", "sw.js", "init-service-worker.js", "google.js", "silent-refresh.html", "oidc-client.min.js"),
    *("es6-shim.min.js", "polyfill.min.js", "_headers", "_redirects", "serve.json", "manifest.json"),
    *("app-config.js", "index.html", "customizations/index.html"),
    *("assets/apple-touch-*", "assets/android-*", "assets/firefox*", "assets/mstile-*", "assets/yandex*"),
    *("assets/browserconfig.xml", "assets/manifest.webapp", "assets/coast-*"),
)
# What is replaced, by what, and in how many places of all scripts and style sheets.
CHANGES = (
    (
        '__webpack_require__.p = "/";',
        '__webpack_require__.p = new URL(".", self.document ? document.currentScript.src : self.location.href).href;',
        8,
    ),
    ('pluginImports_modes.push("@ohif/mode-microscopy");\n', "", 1),
    ("url(/a34f9d1faa5f3315.woff2)", "url(a34f9d1faa5f3315.woff2)", 5),
)
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>OHIF Viewer</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="dark">
<meta name="theme-color" content="#000000">
<link rel="icon" href="./assets/favicon-32x32.png" type="image/png">
<link rel="stylesheet" href="./app.bundle.css">
<script src="./app-config.js"></script>
<script defer src="./{entry}"></script>
</head>
<body>
<noscript>OHIF needs JavaScript.</noscript>
<div id="react-portal"></div>
<div id="root"></div>
</body>
</html>
"""


def fetch(folder: Path) -> Path:
    """The package as npm gives it. Raises SystemExit if it is another one than was looked at."""
    command = ["npm", "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(folder), "--silent"]
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode != 0:
        raise SystemExit(f"npm could not fetch {PACKAGE}@{VERSION}")
    (archive,) = folder.glob("*.tgz")
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != SHA512:
        raise SystemExit(f"{PACKAGE}@{VERSION} is not what it was: its SHA-512 is {found}")
    return archive


def unpack(archive: Path, folder: Path) -> tuple[int, int]:
    """Files that are kept into `folder`; bytes of the whole package, and of what is left out."""
    everything = left_out = 0
    with tarfile.open(archive) as package:
        for member in package:
            name = PurePosixPath(member.name)
            inner = str(name.relative_to("package/dist")) if name.is_relative_to("package/dist") else ""
            everything += member.size
            if name == PurePosixPath("package/LICENSE"):
                inner = "LICENSE"
            elif not member.isfile() or not inner or any(fnmatch(inner, pattern) for pattern in LEFT_OUT):
                left_out += member.size
                continue
            target = folder / inner
            target.parent.mkdir(parents=True, exist_ok=True)
            content = package.extractfile(member)
            assert content is not None, "a file has content"
            target.write_bytes(content.read())
    return everything, left_out


def change(folder: Path) -> None:
    """Make `CHANGES`, and write the page."""
    counts = [0] * len(CHANGES)
    for file in sorted((*folder.glob("*.js"), *folder.glob("*.css"))):
        text = file.read_bytes()
        changed = text
        for number, (old, new, _) in enumerate(CHANGES):
            counts[number] += changed.count(old.encode())
            changed = changed.replace(old.encode(), new.encode())
        if changed != text:
            file.write_bytes(changed)
    for found, (old, _, expected) in zip(counts, CHANGES, strict=True):
        if found != expected:
            raise SystemExit(f"{old.strip()!r} stands {found} times in {PACKAGE}@{VERSION}, not {expected} times")
    entries = [one.name for one in folder.glob("app.bundle.*.js") if re.fullmatch(r"app\.bundle\.\w+\.js", one.name)]
    if len(entries) != 1:
        raise SystemExit(f"{PACKAGE}@{VERSION} has {len(entries)} scripts to begin with")
    (folder / "index.html").write_text(PAGE.format(entry=entries[0]), "utf-8")


def compress(folder: Path) -> None:
    """Beside each file of text its compressed forms, made once and well."""
    ways = {
        "gzip": lambda data: imagecodecs.gzip_encode(data, level=9),
        "zstd": lambda data: imagecodecs.zstd_encode(data, level=15),
    }
    for file in sorted(folder.rglob("*")):
        if file.suffix in COMPRESSED_TYPES and file.name != "index.html":
            data = file.read_bytes()
            for coding, suffix in CODINGS.items():
                packed = bytes(ways[coding](data))
                if len(packed) < len(data):
                    file.with_name(file.name + suffix).write_bytes(packed)


def size_of(folder: Path, *suffixes: str) -> int:
    return sum(
        file.stat().st_size
        for file in folder.rglob("*")
        if file.is_file() and (not suffixes or file.suffix in suffixes)
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the prepared viewer goes; what is there is replaced")
    folder: Path = parser.parse_args().folder.resolve()
    if folder.exists() and any(folder.iterdir()) and not (folder / "index.html").is_file():
        raise SystemExit(f"{folder} holds something else")
    if shutil.which("npm") is None:
        raise SystemExit("npm is missing: apt-get install nodejs npm")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".ohif-") as name:
        fresh = Path(name) / "ohif"
        fresh.mkdir()
        everything, left_out = unpack(fetch(Path(name)), fresh)
        change(fresh)
        compress(fresh)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    forms = size_of(folder, *CODINGS.values())
    mb = 1_000_000
    print(
        f"{PACKAGE} {VERSION} (MIT) is in {folder}: {size_of(folder) / mb:.0f} MB, {forms / mb:.0f} MB of them "
        f"compressed forms; {left_out / mb:.0f} of {everything / mb:.0f} MB are left out",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
