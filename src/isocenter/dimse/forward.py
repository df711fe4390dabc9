"""Jobs of kind "forward": instances of the archive to a peer by C-STORE, as they are stored or transcoded.

One try goes over all that is left, on one association after the other. The object that an association was lost with
waits for the next try, so that one that takes the peer down does not stand before the others for ever; where several
were under way, they go once more one by one, as it shows only then which it was. An object that cannot be read fails by
itself, with its reason; one that this process lacks descriptors or memory for waits for the next try. Where the rule
wants commitment, what the peer took becomes part of a job that asks for it, in the transaction that says it was taken.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing

from isocenter.archive.archive import Archive
from isocenter.archive.jobs import Work
from isocenter.archive.routing import COMMITTED
from isocenter.dimse import sending
from isocenter.dimse.commitment_request import wanted_for
from isocenter.dimse.content import Stored
from isocenter.dimse.peers import associate_with
from isocenter.dimse.retrieve import per_association
from isocenter.dimse.selecting import Selector
from isocenter.errors import AssociationAborted, NetworkError, OperationFailed, OutOfResources, SettingsError
from isocenter.known_peers import KnownPeer
from isocenter.model import InstanceRef, Level
from isocenter.net.requestor import Proposal, Requestor
from isocenter.services.base import Cancellation
from isocenter.services.retrieve import Selection, Suboperation
from isocenter.services.storage_commitment import Reference
from isocenter.settings import Settings
from isocenter.std.statuses import STORAGE, kind_of, meaning_of
from isocenter.wire.limits import Limits

_AT_ONCE = 1000  # instances of one association
_MOST_BARREN = 2  # associations in a row that are lost before anything was answered
_MOST_REFUSED = 8  # temporary refusals in a row (or shortages of ours), after which we leave it alone for a while
_SAVE_EVERY = 2.0  # seconds; each time costs a transaction
_SAVE_COUNT = 200

# Statuses that the same object will get again (PS3.4 B.2.3, PS3.7 C.5): it is not what the SOP class says, it cannot be
# understood, it is there with other content, or nobody there takes its class.
_FOR_GOOD = frozenset({0x0111, 0x0117, 0x0122})

# What a file says that cannot be read: the disk, the file system's own checks, or the server that it lies on. Other
# errors are of the connection, or of a shortage that passes, and say nothing of the object that was under way.
_OF_THE_FILE = frozenset(
    {errno.EIO, errno.ENODATA, errno.EBADMSG, errno.EUCLEAN, errno.EILSEQ, errno.EREMOTEIO, errno.ESTALE}
)


def _is_for_good(status: int) -> bool:
    return status in _FOR_GOOD or status >> 8 == 0xA9 or status >> 12 == 0xC


class Forwarder:
    """A Performer. `peer` gives the peer of a name, None if it is not (or no longer) in the settings file."""

    def __init__(self, archive: Archive, settings: Settings, peer: Callable[[str], KnownPeer | None]) -> None:
        self._selector = Selector(archive)
        self._stored = Stored(archive, Limits.of(settings))
        self._settings = settings
        self._peer = peer

    async def perform(self, work: Work) -> None:
        peer = self._peer(work.job.target)
        if peer is None:
            raise SettingsError(f"there is no [[peer]] named {work.job.target}")
        while uids := await work.items(_AT_ONCE):
            refs = await self._selector.select(Selection(Level.IMAGE, instances=tuple(uids)))
            # What was deleted meanwhile is not to be forwarded any more.
            await work.save(dropped=set(uids) - {ref.instance for ref in refs})
            for proposals, some in per_association(refs):
                await self._send(work, peer, proposals, some)

    async def _send(
        self, work: Work, peer: KnownPeer, proposals: Sequence[Proposal], refs: Sequence[InstanceRef]
    ) -> None:
        left = sending.Work(refs, Cancellation())
        classes = {ref.instance: ref.sop_class for ref in refs}
        settings, barren = self._settings, 0
        while not left.over:
            association = await associate_with(peer, proposals, settings)
            tally = _Tally(work, classes, settings.commitment_ask_after)
            try:
                await self._on_one(association, left, tally)
            except (NetworkError, OSError) as error:
                if isinstance(error, OperationFailed):
                    raise
                work.trouble = str(error)
                if len(tally.lost) > 1:
                    left.put_back([ref for ref in refs if ref.instance in tally.lost])
                    settings = settings.replace(dimse_window=1)
                    continue
                if isinstance(error, OSError) and error.errno in _OF_THE_FILE and tally.lost:
                    # It broke off in the middle of this one.
                    why = f"the object's file cannot be read: {error.strerror}"
                    await work.save(failed=dict.fromkeys(tally.lost, why))
                    continue
                barren = 0 if tally.answered else barren + 1
                if barren == _MOST_BARREN:
                    raise error if isinstance(error, NetworkError) else AssociationAborted(str(error)) from error

    async def _on_one(self, association: Requestor, left: sending.Work, tally: _Tally) -> None:
        sender = sending.Sender(self._stored, {})
        try:
            async with aclosing(sender.send(left, association)) as steps:
                async for step in steps:
                    await tally.take(step)
            await association.release()
        except BaseException:
            association.abort()
            raise
        finally:
            await tally.save()


class _Tally:
    """Sorts outcomes, and saves them some at a time."""

    def __init__(self, work: Work, classes: Mapping[str, str], ask_after: float) -> None:
        self.answered = 0
        self.lost: set[str] = set()  # what the association ended with
        self._work = work
        self._ask_after = ask_after
        self._classes = classes
        self._done: list[str] = []
        self._failed: dict[str, str] = {}
        self._refused = self._short = 0  # in a row
        self._saved_at = time.monotonic()

    async def take(self, step: Suboperation) -> None:
        """One outcome. Raises OperationFailed after too many temporary refusals in a row, OutOfResources after as many
        shortages of our own."""
        if step.lost:
            self.lost.add(step.sop_instance)
            return
        if step.again:
            self._work.trouble = step.why
            self._short += 1
            if self._short == _MOST_REFUSED:
                raise OutOfResources(step.why)
            return
        self._short = 0
        if step.status is None:
            self._failed[step.sop_instance] = step.why
            return
        self.answered += 1
        self._refused = 0 if self._sorted(step.sop_instance, step.status) else self._refused + 1
        if self._refused == _MOST_REFUSED:
            raise OperationFailed(self._work.trouble, status=step.status)
        if len(self._done) + len(self._failed) >= _SAVE_COUNT or time.monotonic() - self._saved_at > _SAVE_EVERY:
            await self.save()

    def _sorted(self, uid: str, status: int) -> bool:
        """Whether the object need not be sent again."""
        if kind_of(status) in ("success", "warning"):
            self._done.append(uid)
            return True
        text = f"C-STORE: {status:04X} {meaning_of(status, STORAGE)}"
        if _is_for_good(status):
            self._failed[uid] = text
            return True
        self._work.trouble = text
        return False

    async def save(self) -> None:
        done, self._done, failed, self._failed = self._done, [], self._failed, {}
        self._saved_at = time.monotonic()
        then = []
        if done and self._work.job.key == COMMITTED:
            references = [Reference(self._classes[uid], uid) for uid in done]
            then = [wanted_for(self._work.job.target, references, self._ask_after)]
        await self._work.save(done=done, failed=failed, then=then)
