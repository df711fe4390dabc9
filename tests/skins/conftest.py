"""The web skin over the real archive, and over a fake for failures that cannot be had on demand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from isocenter.settings import Settings
from isocenter.web.app import create_app
from skins.fake_archive import FakeArchive
from skins.web_harness import Web, portal, web_of

HOSTS = "archive.test, pacs.example.org"


@contextmanager
def archived(folder: Path, **rows: Any) -> Iterator[Web]:
    """The web skin over an empty archive in a folder."""
    from isocenter.archive.archive import Archive

    settings = Settings(
        archive_data=folder, archive_minimum_free=0, web_max_upload=32 * 1024 * 1024, web_hosts=HOSTS, **rows
    )
    with portal() as running:
        archive = running.call(Archive.open, settings.archive_data, settings)
        with web_of(create_app(archive, settings), archive, running) as client:
            yield client
        running.call(archive.close)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """An archive of its own."""
    with archived(tmp_path / "data") as client:
        yield client


@pytest.fixture
def replacing(tmp_path: Path) -> Iterator[Web]:
    """The same where the latest object under a UID counts."""
    with archived(tmp_path / "data", archive_on_conflict="replace") as client:
        yield client


@pytest.fixture
def fake() -> Iterator[Web]:
    """The web skin over a fake archive."""
    archive = FakeArchive()
    settings = Settings(web_max_upload=4 * 1024 * 1024, web_default_limit=5, web_max_limit=10, web_hosts=HOSTS)
    with portal() as running, web_of(create_app(archive, settings), archive, running) as client:  # type: ignore[arg-type]
        yield client
