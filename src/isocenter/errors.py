"""Every error Isocenter raises on purpose.

Each class knows what a DIMSE peer (PS3.7 Annex C, PS3.4 Annex B) and a web client (RFC 9110, PS3.18 section 8.5)
are told, whether the same request may succeed later, and what the person at the keyboard can do about it.
Messages never contain patient data: tags, offsets, UIDs and lengths only.

Long because it is the one list of them: a few lines for each.
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar


class IsocenterError(Exception):
    """Root of the tree.

    `tag_path` names the place in a data set, as "(0008,1140)[0].(0008,1155)"; `offset` is a byte offset in the
    input. Both are None where they have no meaning.
    """

    code: ClassVar[str] = "processing-failure"
    dimse_status: ClassVar[int] = 0x0110
    http_status: ClassVar[int] = 500
    retry: ClassVar[bool] = False
    hint: str = ""

    def __init__(self, message: str, *, tag_path: str | None = None, offset: int | None = None) -> None:
        self.message = message
        self.tag_path = tag_path
        self.offset = offset
        where = ""
        if tag_path:
            where += f" at {tag_path}"
        if offset is not None:
            where += f" (byte {offset})"
        super().__init__(message + where)

    def __reduce__(self) -> tuple[Any, ...]:
        # One process raises what another has met. Exceptions are made again from `args`, which do not hold all of it.
        return _made_again, (type(self), self.args), self.__dict__


def _made_again(kind: type[IsocenterError], args: tuple[Any, ...]) -> IsocenterError:
    return kind.__new__(kind, *args)


# --- the bytes are wrong -------------------------------------------------------------------------------------------


class DataSetError(IsocenterError):
    """The data set cannot be understood (PS3.4 B.2.3: 0xC000)."""

    code = "data-set-malformed"
    dimse_status = 0xC000
    http_status = 400
    hint = "The object is damaged; `isocenter dump FILE` shows how far it can be read."


class TruncatedError(DataSetError):
    """The data set ends before its last element does."""

    code = "data-set-truncated"
    hint = "Send the object again; the transfer or the file is incomplete."


class NotDicomError(DataSetError):
    """The bytes are not a DICOM file (PS3.10 section 7.1)."""

    code = "not-dicom"
    hint = "Only DICOM Part 10 files and bare data sets are accepted."


class LimitExceeded(DataSetError):
    """A limit of the settings table was exceeded before anything was allocated."""

    code = "limit-exceeded"
    http_status = 413
    hint = "If the object is legitimate, raise the limit named in the message."


class InvalidUID(DataSetError):
    """A UID is missing or not of the form of PS3.5 section 9.1."""

    code = "invalid-uid"
    dimse_status = 0xC001
    hint = "A UID has at most 64 digits and dots, no empty component and no leading zero."


class InstanceMismatch(DataSetError):
    """SOP Class or Instance UID of data set and command (or file meta information) differ (PS3.4 B.2.3: 0xA900)."""

    code = "instance-mismatch"
    dimse_status = 0xA900
    http_status = 409
    hint = "The sender announces another object than it sends."


class UnsupportedTransferSyntax(DataSetError):
    """The transfer syntax is not one this operation can work with."""

    code = "transfer-syntax-not-supported"
    dimse_status = 0x0122
    http_status = 415
    hint = "The page of codecs in the documentation lists what is read and written."


# --- pixel data ----------------------------------------------------------------------------------------------------


class PixelError(DataSetError):
    """Pixel data do not fit their description, or cannot be decoded. `frame` is the 1-based frame number."""

    code = "pixel-data"
    http_status = 422

    def __init__(
        self, message: str, *, frame: int | None = None, tag_path: str | None = None, offset: int | None = None
    ) -> None:
        self.frame = frame
        super().__init__(message if frame is None else f"frame {frame}: {message}", tag_path=tag_path, offset=offset)


class NoSuchFrame(PixelError):
    """A frame number outside 1..Number of Frames."""

    code = "no-such-frame"
    http_status = 404
    hint = "Frames are numbered from 1 to Number of Frames (0028,0008)."


class CodecMissing(PixelError):
    """No installed codec can decode or encode this transfer syntax."""

    code = "codec-missing"
    http_status = 406
    hint = "The page of codecs in the documentation lists what is read and written."


class NotAVolume(IsocenterError):
    """Images that do not make a volume (one array with a place for each value), and why."""

    code = "not-a-volume"
    http_status = 422


class FrameRetrieveError(IsocenterError):
    """Some frames of an object cannot be had as an object of their own (PS3.4 Table Y.4-1)."""

    code = "frames-not-retrievable"
    dimse_status = 0xAA02
    http_status = 422


class FramesNotFound(FrameRetrieveError):
    """None of the frames asked for are in the object."""

    code = "frames-not-found"
    dimse_status = 0xAA00


class NoFrameObject(FrameRetrieveError):
    """No valid object of this SOP class can be made of some of the frames."""

    code = "no-frame-object"
    dimse_status = 0xAA01


class NotTimeBased(FrameRetrieveError):
    """Frames were asked for by time, and the object does not say when they are."""

    code = "not-time-based"
    dimse_status = 0xAA03


class InvalidFrameRange(FrameRetrieveError):
    """The frames are not named as PS3.4 section Y.3.2.1 wants it."""

    code = "invalid-frame-range"
    dimse_status = 0xAA04
    http_status = 400


# --- the archive ---------------------------------------------------------------------------------------------------


class OutOfResources(IsocenterError):
    """Refused: out of resources (PS3.4 B.2.3: 0xA700)."""

    code = "out-of-resources"
    dimse_status = 0xA700
    http_status = 507
    retry = True
    hint = "Free space on the data disk; senders retry by themselves."


class ArchiveBusy(OutOfResources):
    """The index is locked or the server is shutting down."""

    code = "busy"
    http_status = 503
    hint = "Try again in a few seconds."


_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN})


def is_shortage(error: BaseException) -> bool:
    """Whether an error says only that this process, or this machine, had too little of something at the moment."""
    if isinstance(error, OSError):
        return error.errno in _SHORTAGES
    return isinstance(error, OutOfResources | MemoryError)


class DuplicateInstance(IsocenterError):
    """The SOP Instance UID is stored with other bytes, and the policy is `reject` (PS3.7 Annex C: 0x0111)."""

    code = "duplicate-sop-instance"
    dimse_status = 0x0111
    http_status = 409
    hint = "Set `archive.on_conflict` to keep-first or replace to decide otherwise."


class NotFound(IsocenterError):
    """No such study, series, instance, frame or path."""

    code = "not-found"
    dimse_status = 0x0112
    http_status = 404


class StillWanted(IsocenterError):
    """What would be deleted is to be forwarded, or answered for, and that is not done yet."""

    code = "still-wanted"
    http_status = 409
    retry = True
    hint = "`isocenter jobs` shows it; ?force=true deletes all the same."


class JobFailed(IsocenterError):
    """A job cannot succeed, however often it is tried."""

    code = "job-failed"
    hint = "`isocenter jobs retry ID` tries it again once the reason is gone."


class StepError(IsocenterError):
    """A procedure step cannot be changed as asked for. `warning` is what PS3.18 sections 11.6.3.2 to 11.8.3.2 have a
    web server say of it; the statuses are those of PS3.4 Tables CC.2.1-2 and CC.2.2-2."""

    code = "procedure-step"
    http_status = 409
    warning: ClassVar[str] = "The submitted request is inconsistent with the state of the UPS Instance."


class StepOver(StepError):
    """The step is completed or canceled."""

    code = "step-over"
    dimse_status = 0xC300


class TransactionMissing(StepError):
    """Whoever performs a step shows the Transaction UID that it was claimed with."""

    code = "transaction-missing"
    dimse_status = 0xC301
    warning = "The Transaction UID is missing."


class TransactionIncorrect(TransactionMissing):
    """It is another one."""

    code = "transaction-incorrect"
    warning = "The Transaction UID is incorrect."


class StepClaimed(StepError):
    """The step is in progress already."""

    code = "step-claimed"
    dimse_status = 0xC302


class StepNotRenewed(StepError):
    """A step is scheduled when it is created, and never again."""

    code = "step-not-renewed"
    dimse_status = 0xC303


class StepUnfinished(StepError):
    """Attributes lack that a step has to have when it is over (PS3.4 CC.2.5.1.1)."""

    code = "step-unfinished"
    dimse_status = 0xC304


class StepNotScheduled(StepError):
    """A step is created in another state than SCHEDULED."""

    code = "step-not-scheduled"
    dimse_status = 0xC309
    http_status = 400


class StepUnclaimed(StepError):
    """The step is not in progress yet."""

    code = "step-unclaimed"
    dimse_status = 0xC310


class StepCompleted(StepError):
    """A step that is completed cannot be canceled."""

    code = "step-completed"
    dimse_status = 0xC311
    warning = "The UPS is already COMPLETED."


class PerformerUnreachable(StepError):
    """Nobody is subscribed to the step who could be asked to cancel it."""

    code = "performer-unreachable"
    dimse_status = 0xC312
    warning = "The performer cannot be contacted."


class StepInappropriate(StepError):
    """The action is for another kind of UID (PS3.4 Table CC.2.3-3)."""

    code = "step-inappropriate"
    dimse_status = 0xC314
    http_status = 400


class PerformedStepOver(IsocenterError):
    """A performed procedure step that is over is not changed any more (PS3.4 F.7.2.2.3)."""

    code = "performed-step-over"
    dimse_status = 0x0110
    http_status = 409


class NoSuchStep(NotFound):
    """No such unified procedure step (PS3.4 Annex CC)."""

    code = "no-such-step"
    dimse_status = 0xC307


class DuplicateStep(IsocenterError):
    """The UID is that of a step, or transaction, that is known (PS3.7 Annex C: 0x0111)."""

    code = "duplicate-step"
    dimse_status = 0x0111
    http_status = 409


class IntegrityError(IsocenterError):
    """Stored bytes and their digest differ."""

    code = "integrity"
    hint = "Run `isocenter check`; restore the object from a copy."


class DataFolderInUse(IsocenterError):
    """Another process holds the data folder."""

    code = "data-folder-in-use"
    http_status = 503
    hint = "Stop the other server, or choose another folder with --data."


class DataFolderError(IsocenterError):
    """The data folder is not one, is not writable, or was made by a newer version."""

    code = "data-folder"
    hint = "Choose another folder with --data."


# --- requests ------------------------------------------------------------------------------------------------------


class BadRequest(IsocenterError):
    """A query, path or header that cannot be understood."""

    code = "bad-request"
    dimse_status = 0xA900
    http_status = 400


class AttributeMissing(BadRequest):
    """An attribute that a normalized service requires is not there (PS3.7 Annex C: 0x0120)."""

    code = "attribute-missing"
    dimse_status = 0x0120


class AttributeValueMissing(BadRequest):
    """An attribute that has to have a value has none (PS3.7 Annex C: 0x0121)."""

    code = "attribute-value-missing"
    dimse_status = 0x0121


class AttributeInvalid(BadRequest):
    """An attribute has a value that it cannot have (PS3.7 Annex C: 0x0106)."""

    code = "attribute-invalid"
    dimse_status = 0x0106


class InvalidArgument(BadRequest):
    """Information of a normalized service (PS3.7 section 10) that lacks something or has a value that cannot be."""

    code = "invalid-argument"
    dimse_status = 0x0115


class NotAcceptable(IsocenterError):
    """None of the media types the client accepts can be produced."""

    code = "not-acceptable"
    http_status = 406


class PreconditionFailed(IsocenterError):
    """What is stored is not what the request is about, by its If-Match (RFC 9110 section 13.1.1)."""

    code = "precondition-failed"
    http_status = 412


class RangeNotSatisfiable(IsocenterError):
    """A range of bytes beyond the end of what has `length` of them (RFC 9110 section 15.5.17)."""

    code = "range-not-satisfiable"
    http_status = 416

    def __init__(self, message: str, *, length: int) -> None:
        self.length = length
        super().__init__(message)


class UnsupportedMediaType(IsocenterError):
    """The request body has a media type this resource does not take."""

    code = "unsupported-media-type"
    http_status = 415


class PayloadTooLarge(LimitExceeded):
    """The request body is over the configured limit."""

    code = "payload-too-large"


class UriTooLong(LimitExceeded):
    """Path and query of a request are over web.max_url."""

    code = "uri-too-long"
    http_status = 414


class HeadersTooLarge(LimitExceeded):
    """The header fields of a request are over web.max_headers."""

    code = "headers-too-large"
    http_status = 431


class Misdirected(IsocenterError):
    """The request is for a host that we are not (RFC 9110 section 15.5.20)."""

    code = "misdirected"
    http_status = 421
    hint = "List the names by which this server is called in web.hosts."


class Unauthenticated(IsocenterError):
    """The request shows no credentials, or such as are not believed."""

    code = "unauthenticated"
    dimse_status = 0x0124
    http_status = 401
    hint = "A token, a name with its passcode, or a session is needed."


class Forbidden(IsocenterError):
    """Whoever asks may not do this (PS3.7 Annex C: 0x0124, not authorized)."""

    code = "forbidden"
    dimse_status = 0x0124
    http_status = 403


class TooManyRequests(IsocenterError):
    """A client asks more, or fails to authenticate more often, than the settings let it."""

    code = "too-many-requests"
    http_status = 429
    retry = True
    hint = "Wait as long as Retry-After says."

    def __init__(self, message: str, *, wait: float) -> None:
        self.wait = wait
        """Seconds."""
        super().__init__(message)


class UsageError(IsocenterError):
    """An argument to a function or command cannot be used as given."""

    code = "usage"
    http_status = 400


class SettingsError(IsocenterError):
    """A setting has a value that cannot be used; the message names setting and source."""

    code = "settings"


class CannotListen(IsocenterError):
    """The address is taken, not ours, or needs rights we do not have."""

    code = "cannot-listen"
    http_status = 503
    hint = "Is another server running there? Choose another address with --dimse or --http (port 0: any free one)."


# --- the network ---------------------------------------------------------------------------------------------------


class NetworkError(IsocenterError):
    """Root of everything that ends an association."""

    code = "network"
    http_status = 502
    retry = True


class ConnectFailed(NetworkError):
    """No transport connection to the peer."""

    code = "connect-failed"
    hint = "Check host and port, and that the peer is running."


class IssuerUnreachable(NetworkError):
    """The keys of who issues tokens cannot be fetched, so that no token can be verified."""

    code = "issuer-unreachable"
    http_status = 503
    hint = "Check jwt.keys and jwt.issuer, and that this machine reaches them."


class AssociationRejected(NetworkError):
    """A-ASSOCIATE-RJ (PS3.8 section 9.3.4); `result`, `source` and `reason` as received."""

    code = "association-rejected"
    retry = False

    def __init__(self, message: str, *, result: int, source: int, reason: int) -> None:
        self.result, self.source, self.reason = result, source, reason
        self.hint = _REJECTED.get((source, reason), "")
        super().__init__(message)


_UNSAID = "Often it does not know our AE title (--calling), or wants to know who asks (--user, --token-file)."
_BUSY = "Try again later, or with fewer associations at a time (--jobs)."
# Source and reason (PS3.8 Table 9-21): what whoever called can do
_REJECTED = {
    (1, 1): _UNSAID,
    (1, 3): "Call by an AE title that the peer knows (--calling), or have ours entered there.",
    (1, 7): "The AE title before the @ is the peer's own: ask what it calls itself.",
    (2, 1): _UNSAID,
    (3, 1): _BUSY,
    (3, 2): _BUSY,
}


class AssociationAborted(NetworkError):
    """A-ABORT or loss of the connection (PS3.8 section 9.3.8)."""

    code = "association-aborted"


class NoPresentationContext(NetworkError):
    """The peer accepted no presentation context fit for the request."""

    code = "no-presentation-context"
    retry = False
    hint = "The peer does not support this, or not for our AE title (--calling)."


class OperationFailed(NetworkError):
    """The peer answered a request with a failure (std/statuses.py); `status` as received."""

    code = "operation-failed"
    retry = False

    def __init__(self, message: str, *, status: int) -> None:
        self.status = status
        super().__init__(message)


class PeerTimeout(NetworkError):
    """The peer was silent for longer than the timeout."""

    code = "peer-timeout"
    http_status = 504


class ProtocolError(NetworkError):
    """The peer violated PS3.7 or PS3.8; the association was aborted."""

    code = "protocol"
    retry = False


# --- TLS -----------------------------------------------------------------------------------------------------------


class TlsError(NetworkError):
    """The connection could not be secured, or its protection failed (PS3.15 Annex B); nothing was sent in the clear."""

    code = "tls"
    retry = False


class NotTls(TlsError):
    """One side speaks TLS, the other plain DICOM."""

    code = "tls-not-spoken"
    hint = "Plain DICOM and TLS have ports of their own (TLS by convention 2762); check port and --tls on both sides."


class TlsNegotiationFailed(TlsError):
    """No version or cipher suite in common; older ones than TLS 1.2 and RFC 9325 allow are never agreed to."""

    code = "tls-negotiation"
    hint = "The peer has to support TLS 1.2 or 1.3 with ECDHE and AES-GCM; an older one has to be updated."


class CertificateExpired(TlsError):
    """A certificate outside the time for which it is valid."""

    code = "tls-certificate-expired"
    hint = "Renew the certificate, and check the clocks of both machines."


class UntrustedCertificate(TlsError):
    """A certificate that no known authority signed, or that is too weak or revoked."""

    code = "tls-certificate-untrusted"
    hint = "Give the file of the authority's certificate (a self-signed one is its own) with --ca or tls.ca."


class WrongHostName(TlsError):
    """The peer's certificate is for another name or address."""

    code = "tls-host-name"
    hint = "Connect by the name in the certificate, or, where it names none, leave the test out by --no-verify-host."


class CertificateRequired(TlsError):
    """Mutual authentication: the side that connects has to show a certificate and did not."""

    code = "tls-certificate-required"
    hint = "The client needs a certificate: --cert FILE --key FILE, or tls.certificate and tls.key."
