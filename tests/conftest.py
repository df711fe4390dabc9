"""What every test room shares: a private network, peers, and the corpus of real files.

The whole session runs in a network namespace of its own where the kernel allows it (private_network.py), so peers that
listen on every interface are seen by nobody, and a test that tried to reach the outside would fail.
"""

from __future__ import annotations

import csv
import gc
import os
import sys
import warnings
from collections.abc import Generator, Iterator
from functools import lru_cache
from pathlib import Path

import httpx
import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("", "architecture", "docs")]

import interop_table  # noqa: E402  (the folder of this file is not a package)
import peers  # noqa: E402
import private_network  # noqa: E402
from certificates import Certificates  # noqa: E402

# Its default of five seconds is little for a server that shares two cores with everything else
for _phase in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, _phase, 60.0)
# No example has a time of its own: the machine is shared. What the environment chose (CI) stays.
hypothesis.settings.register_profile("patient", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(interop_table.OPTION, action="store_true", help="record which interop cases pass")


def pytest_configure(config: pytest.Config) -> None:
    private_network.enter()
    if config.getoption(interop_table.OPTION):
        config.pluginmanager.register(interop_table.Recorder())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with browser tests last: Playwright keeps an event loop in this thread to the end, and no other can run
    beside it. Whole files, because a process that shares the work takes them whole."""
    browsing = {item.path for item in items if "chromium" in getattr(item, "fixturenames", ())}
    browsing |= {item.path for item in items if item.get_closest_marker("browser") is not None}
    items.sort(key=lambda item: item.path in browsing)


def pytest_report_header(config: pytest.Config) -> list[str]:
    reason = private_network.enter()
    network = "private (unshare)" if reason is None else f"the machine's ({reason}); peers open to it are skipped"
    return [
        f"network: {network}",
        f"peers: {'required' if peers.REQUIRE else 'skipped where missing'}",
        f"corpus: {corpus_folder() or 'absent, its tests are skipped'}",
    ]


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    try:
        return (yield)
    except peers.PeerUnavailable as reason:
        return _unavailable(reason)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
    try:
        return (yield)
    except peers.PeerUnavailable as reason:
        return _unavailable(reason)


def _unavailable(reason: peers.PeerUnavailable) -> object:
    if reason.missing and peers.REQUIRE:
        pytest.fail(f"{reason} (ISOCENTER_REQUIRE_PEERS=1)", pytrace=False)
    pytest.skip(str(reason))


@pytest.fixture(autouse=True)
def sockets_that_pynetdicom_forgot(request: pytest.FixtureRequest) -> Iterator[None]:
    """pynetdicom leaves the socket of an association that broke to the garbage collector, whose warning would fail
    whichever test runs at that moment. What a test of ours forgets is still found in every module without it."""
    yield
    if _uses_pynetdicom(request.path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@lru_cache
def _uses_pynetdicom(path: Path) -> bool:
    return "pynetdicom" in path.read_text("utf-8")


def corpus_folder() -> Path | None:
    """Folder of real DICOM files with an index.csv: ISOCENTER_CORPUS, or ../shared/corpus beside the repository."""
    folder = Path(os.environ.get("ISOCENTER_CORPUS", ROOT.parent / "shared" / "corpus"))
    return folder if (folder / "index.csv").is_file() else None


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The corpus folder; skips where it is absent (its files are not ours to publish)."""
    folder = corpus_folder()
    if folder is None:
        pytest.skip("no corpus of real files: set ISOCENTER_CORPUS")
    return folder


@pytest.fixture(scope="session")
def corpus_index(corpus: Path) -> list[dict[str, str]]:
    """Rows of the corpus's index.csv: source, path, sop_class, transfer_syntax, kind, sop_uid, ts_uid, sha256, ..."""
    with (corpus / "index.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Good and bad certificates; skips where there is no `openssl`."""
    return Certificates(tmp_path_factory.mktemp("certificates"))
