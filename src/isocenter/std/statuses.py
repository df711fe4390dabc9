"""DIMSE status codes and their meanings: PS3.7 Annex C for all services, PS3.4 for each service class.

A meaning is looked up by service class, then in the general table; families (A7xx, Cxxx ...) match when no single code
does.
"""

from __future__ import annotations

from typing import Literal

Kind = Literal["success", "pending", "cancel", "warning", "failure"]

SUCCESS = 0x0000
CANCEL = 0xFE00
PENDING = 0xFF00
PENDING_WITH_WARNING = 0xFF01

# PS3.7 C.2 to C.5
GENERAL: dict[int, str] = {
    0x0000: "Success",
    0x0001: "Requested optional attributes are not supported",
    0x0105: "No such attribute",
    0x0106: "Invalid attribute value",
    0x0107: "Attribute list error",
    0x0110: "Processing failure",
    0x0111: "Duplicate SOP Instance",
    0x0112: "No such SOP Instance",
    0x0113: "No such event type",
    0x0114: "No such argument",
    0x0115: "Invalid argument value",
    0x0116: "Attribute value out of range",
    0x0117: "Invalid SOP Instance",
    0x0118: "No such SOP Class",
    0x0119: "Class-instance conflict",
    0x0120: "Missing attribute",
    0x0121: "Missing attribute value",
    0x0122: "SOP Class not supported",
    0x0123: "No such action type",
    0x0124: "Not authorized",
    0x0210: "Duplicate invocation",
    0x0211: "Unrecognized operation",
    0x0212: "Mistyped argument",
    0x0213: "Resource limitation",
    0xFE00: "Cancel",
    0xFF00: "Pending",
}

# PS3.4 B.2.3
STORAGE: dict[int, str] = {
    0xB000: "Coercion of data elements",
    0xB006: "Elements discarded",
    0xB007: "Data set does not match SOP Class",
    0xA700: "Refused: out of resources",
    0xA900: "Error: data set does not match SOP Class",
    0xC000: "Error: cannot understand",
}

# PS3.4 C.4.1.1.4
FIND: dict[int, str] = {
    0xFF01: "Pending; optional keys are not supported for existence or matching",
    0xA700: "Refused: out of resources",
    0xA900: "Error: identifier does not match SOP Class",
    0xC000: "Failed: unable to process",
}

# PS3.4 C.4.2.1.5 and C.4.3.1.4 (C-GET has no move destination)
MOVE: dict[int, str] = {
    0xB000: "Sub-operations complete, one or more failures or warnings",
    0xA701: "Refused: out of resources, unable to calculate number of matches",
    0xA702: "Refused: out of resources, unable to perform sub-operations",
    0xA801: "Refused: move destination unknown",
    0xA900: "Error: identifier does not match SOP Class",
    0xAA00: "None of the frames requested were found in the SOP Instance",
    0xAA01: "Unable to create new object for this SOP Class",
    0xAA02: "Unable to extract frames",
    0xAA03: "Time-based request received for a non-time-based original SOP Instance",
    0xAA04: "Invalid request",
    0xC000: "Failed: unable to process",
}
GET = {code: text for code, text in MOVE.items() if code != 0xA801}

# PS3.4 F.7.2.2
MPPS: dict[int, str] = {
    0x0110: "Performed procedure step may no longer be updated",
}

# PS3.4 J.3.2 has the general codes only; PS3.3 C.14 (0008,1197) Failure Reason uses these beside them
COMMITMENT_FAILURE_REASONS: dict[int, str] = {
    0x0110: "Processing failure",
    0x0112: "No such object instance",
    0x0213: "Resource limitation",
    0x0122: "Referenced SOP Class not supported",
    0x0119: "Class/instance conflict",
    0x0131: "Duplicate transaction UID",
}

# PS3.4 H.4
PRINT: dict[int, str] = {
    0xB600: "Memory allocation not supported",
    0xB601: "Film session printing (collation) is not supported",
    0xB602: "Film session SOP Instance hierarchy does not contain image box SOP Instances (empty page)",
    0xB603: "Film box SOP Instance hierarchy does not contain image box SOP Instances (empty page)",
    0xB604: "Image size is larger than image box size, the image has been demagnified",
    0xB605: "Requested Min Density or Max Density outside of printer's operating range",
    0xB609: "Image size is larger than the image box size, the image has been cropped to fit",
    0xB60A: "Image size or combined print image size is larger than the image box size, the image has been decimated",
    0xC600: "Film session SOP Instance hierarchy does not contain film box SOP Instances",
    0xC601: "Unable to create print job SOP Instance, print queue is full",
    0xC602: "Unable to create print job SOP Instance, print queue is full",
    0xC603: "Image size is larger than image box size",
    0xC605: "Insufficient memory in printer to store the image",
    0xC613: "Combined print image size is larger than the image box size",
    0xC616: "There is an existing film box that has not been printed",
}

# PS3.4 CC.2
UPS: dict[int, str] = {
    0xB300: "The UPS was created with modifications",
    0xB301: "Deletion lock not granted",
    0xB304: "The UPS is already in the requested state of CANCELED",
    0xB305: "Coerced invalid values to valid values",
    0xB306: "The UPS is already in the requested state of COMPLETED",
    0xC300: "The UPS may no longer be updated",
    0xC301: "The correct transaction UID was not provided",
    0xC302: "The UPS is already IN PROGRESS",
    0xC303: "The UPS may only become SCHEDULED via N-CREATE, not N-SET or N-ACTION",
    0xC304: "The UPS has not met final state requirements",
    0xC307: "The UPS does not exist",
    0xC308: "The receiving AE title is unknown to the SCP",
    0xC309: "The UPS was not created in the SCHEDULED state",
    0xC310: "The UPS is not yet IN PROGRESS",
    0xC311: "The UPS is already COMPLETED",
    0xC312: "The performer cannot be contacted",
    0xC313: "The performer chooses not to cancel",
    0xC314: "The action is not appropriate for the specified instance",
    0xC315: "The SCP does not support event reports",
}

# PS3.4 S.3.2, R.3, Q.4.1
MEDIA_CREATION: dict[int, str] = {
    0x0001: "Requested optional attributes are not supported",
    0xA510: "An initiate media creation action has already been received for this SOP Instance",
    0xC201: "Media creation request already completed",
    0xC202: "Media creation request already in progress and cannot be interrupted",
    0xC203: "Cancellation denied for unspecified reason",
}
RELEVANT_PATIENT: dict[int, str] = {
    0xA700: "Refused: out of resources",
    0xA900: "Error: identifier does not match SOP Class",
    0xC000: "Unable to process",
    0xC100: "More than one match found",
    0xC200: "Unable to support requested template",
}

_FAMILIES: tuple[tuple[int, int, str], ...] = (
    (0xFF00, 0xA700, "Refused: out of resources"),
    (0xFF00, 0xA900, "Error: data set does not match SOP Class"),
    (0xF000, 0xC000, "Error: cannot understand"),
)


def kind_of(status: int) -> Kind:
    """Which of the five kinds a code is (PS3.7 Annex C.1): the codes of PS3.7 and PS3.4 and their ranges."""
    if status == SUCCESS:
        return "success"
    if status in (PENDING, PENDING_WITH_WARNING):
        return "pending"
    if status == CANCEL:
        return "cancel"
    if status in (0x0001, 0x0107, 0x0116) or status & 0xF000 == 0xB000:
        return "warning"
    return "failure"


def meaning_of(status: int, service: dict[int, str] | None = None) -> str:
    """The meaning of a code, as `service` (one of this module's tables) has it, or in general.

    Codes that stand nowhere get the name of their kind.
    """
    text = (service or {}).get(status) or GENERAL.get(status)
    if text is not None:
        return text
    for mask, value, family in _FAMILIES:
        if status & mask == value:
            return (service or {}).get(value, family)
    return kind_of(status).capitalize()
