"""Instance Availability Notification over the archive: jobs of kind "notify", and what others notify us of.

A job holds the instances that came to one study until it was quiet for jobs.notify_after, so that a peer hears of a
study a few times and not of each image.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence

from isocenter.archive.archive import Archive
from isocenter.archive.jobs import JobFailed, Work
from isocenter.dimse.peers import associate_with
from isocenter.dimse.selecting import Selector
from isocenter.errors import SettingsError
from isocenter.iod.uids import UIDs
from isocenter.known_peers import KnownPeer
from isocenter.model import InstanceRef, Level
from isocenter.net.normalized import failure_of
from isocenter.net.requestor import Proposal, Requestor
from isocenter.services.availability import Available, Notification, notification_model
from isocenter.services.base import Peer
from isocenter.services.normalized import TRANSFER_SYNTAXES, encoded, normalized_request
from isocenter.services.retrieve import Selection
from isocenter.settings import Settings
from isocenter.std.sop_classes import INSTANCE_AVAILABILITY_NOTIFICATION
from isocenter.wire.command import Verb

log = logging.getLogger("isocenter.dimse")

_AT_ONCE = 1000  # instances of one notification

# The peer will not take the same again (PS3.7 C.5): something is wrong with attributes, class or verb.
_FOR_GOOD = frozenset({0x0105, 0x0106, 0x0117, 0x0118, 0x0119, 0x0120, 0x0121, 0x0122, 0x0211, 0x0212})


class Notifier:
    """A Performer. `peer` gives the peer of a name, None if it is not (or no longer) in the settings file."""

    def __init__(self, archive: Archive, settings: Settings, peer: Callable[[str], KnownPeer | None]) -> None:
        self._selector = Selector(archive)
        self._settings = settings
        self._peer = peer

    async def perform(self, work: Work) -> None:
        peer = self._peer(work.job.target)
        if peer is None:
            raise SettingsError(f"there is no [[peer]] named {work.job.target}")
        association = None
        try:
            while uids := await work.items(_AT_ONCE):
                refs = await self._selector.select(
                    Selection(Level.IMAGE, studies=(work.job.key,), instances=tuple(uids))
                )
                # What was deleted meanwhile, or replaced by an object of another study, is not available there.
                gone = set(uids) - {ref.instance for ref in refs}
                if refs:
                    association = association or await associate_with(
                        peer, [Proposal(INSTANCE_AVAILABILITY_NOTIFICATION, TRANSFER_SYNTAXES)], self._settings
                    )
                    await self._notify(association, work.job.key, refs)
                await work.save(done=[ref.instance for ref in refs], dropped=gone)
        except BaseException:
            if association is not None:
                association.abort()
            raise
        if association is not None:
            await association.release()

    async def _notify(self, association: Requestor, study: str, refs: Sequence[InstanceRef]) -> None:
        aets = (self._settings.dimse_aet,)
        instances = tuple(Available(ref.series, ref.sop_class, ref.instance, aets) for ref in refs)
        context = association.context_for(INSTANCE_AVAILABILITY_NOTIFICATION)
        model = notification_model(Notification(study, instances))
        attributes = await asyncio.to_thread(encoded, model, context.transfer_syntax, ())
        command = normalized_request(
            Verb.N_CREATE,
            association.next_message_id(),
            INSTANCE_AVAILABILITY_NOTIFICATION,
            UIDs().new("notification"),
        )
        failed = failure_of(Verb.N_CREATE, await association.request(context, command, [attributes]))
        if failed is not None:
            raise JobFailed(str(failed)) if failed.status in _FOR_GOOD else failed


def log_notification(notification: Notification, peer: Peer) -> None:
    """Keep in the log which instances a peer says it has."""
    counts = Counter(one.availability for one in notification.instances)
    log.info(
        "%s %s: study %s: %s, to be retrieved from %s",
        peer.address,
        peer.calling,
        notification.study,
        ", ".join(f"{count} instances {word}" for word, count in counts.items()),
        ", ".join(sorted({aet for one in notification.instances for aet in one.retrieve_aets})),
    )
