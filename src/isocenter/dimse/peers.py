"""Associations of ours with the peers of the settings file."""

from __future__ import annotations

from collections.abc import Sequence

from isocenter.known_peers import KnownPeer
from isocenter.net.address import Address
from isocenter.net.requestor import Proposal, Requestor, associate
from isocenter.net.tls import client_context
from isocenter.services.base import Services
from isocenter.settings import Settings


async def associate_with(
    peer: KnownPeer, proposals: Sequence[Proposal], settings: Settings, services: Services | None = None
) -> Requestor:
    """An association with a known peer under our own title, with TLS where its table says so.

    Raises what net.requestor.associate() raises, and SettingsError for certificates that cannot be used.
    """
    return await associate(
        Address(peer.aet, peer.host, peer.port),
        proposals,
        calling=settings.dimse_aet,
        settings=settings,
        tls=client_context(settings) if peer.tls else None,
        services=services or Services(),
        window=settings.dimse_window,
    )
