"""Isocenter: a complete DICOM system. The public names are loaded when first used."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "create": "isocenter.iod.create",
    "connect": "isocenter.net.client",
    "Archive": "isocenter.archive.archive",
    "IsocenterError": "isocenter.errors",
    "Level": "isocenter.model",
    "Query": "isocenter.model",
    "Scope": "isocenter.model",
    "Settings": "isocenter.settings",
    "volume": "isocenter.archive.volumes",
    "volumes": "isocenter.archive.volumes",
    "walk": "isocenter.archive.walk",
    "web_client": "isocenter.net.web_client",
}

__all__ = ["__version__", "sync", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name == "sync":
        return importlib.import_module("isocenter.net.blocking")
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'isocenter' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
