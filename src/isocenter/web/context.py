"""What every resource needs: archive and settings, and what a request says about itself.

Paths come from outside. They are checked here once, and only checked values reach a response.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import anyio
from starlette.requests import Request

from isocenter.errors import BadRequest, NotFound
from isocenter.model import InstanceRef, Scope
from isocenter.names import is_uid
from isocenter.settings import Settings
from isocenter.std.non_patient import RESOURCES
from isocenter.web.identity import identity_of
from isocenter.web.visible import VisibleArchive
from isocenter.wire.limits import Limits

if TYPE_CHECKING:
    from isocenter.archive.archive import Archive

DICOMWEB = "/dicomweb"

PREFIX = "isocenter.prefix"
"""Where forwarded.py leaves, in the ASGI scope of a request, what a proxy has before our paths."""


def is_data(path: str) -> bool:
    """Whether a path is one of the DICOMweb services, and not of the viewer or the server itself."""
    return path == DICOMWEB or path.startswith(f"{DICOMWEB}/")


@dataclass(frozen=True)
class Context:
    """One per application. `decoding` bounds the threads that decode, so that reading files is not starved."""

    archive: Archive
    settings: Settings
    limits: Limits
    decoding: anyio.CapacityLimiter


def context_of(request: Request) -> Context:
    """What the request needs; the archive in it holds only what is there for whoever asks."""
    context = cast(Context, request.app.state.context)
    identity = identity_of(request)
    if not identity.restricted:
        return context
    # It has the verbs that resources use, and refuses the others.
    return replace(context, archive=cast("Archive", VisibleArchive(context.archive, identity)))


def prefix_of(scope: Mapping[str, Any]) -> str:
    """What stands before our paths as this client reaches them: "/pacs"; "" without such a proxy."""
    return cast(str, scope.get(PREFIX, ""))


def base_url(request: Request) -> str:
    """The DICOMweb base URI as this client reaches it; reception.py has looked at the Host field."""
    host = request.headers["host"]
    address, port = request.scope.get("server") or ("", None)
    if host.strip("[]") == address and port not in (None, 80, 443):
        # dicomweb-client leaves the port out. Whoever names our own address did not come through a proxy's port.
        host = f"{host}:{port}"
    return f"{request.url.scheme}://{host}{prefix_of(request.scope)}{DICOMWEB}"


def scope_of(request: Request) -> Scope:
    """Study, series and instance of the path, or `uid` of a non-patient instance. Raises BadRequest for what is no
    UID."""
    path = request.path_params
    for name in ("study", "series", "instance", "uid"):
        if name in path and not is_uid(path[name]):
            raise BadRequest(f"the {name} in the path is not a UID")
    if "uid" in path:
        return Scope("", "", path["uid"])
    return Scope(path["study"], path.get("series"), path.get("instance"))


async def instance_of(request: Request) -> InstanceRef:
    """The one instance of the path. Raises NotFound, also for a non-patient one of another kind than the path's."""
    ref = (await context_of(request).archive.select(scope_of(request)))[0]
    kind = request.path_params.get("npi")
    if kind is not None and ref.sop_class not in RESOURCES[kind]:
        raise NotFound("nothing is stored there")
    return ref
