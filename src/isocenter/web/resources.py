"""Every resource below /dicomweb as data: capabilities, OpenAPI document and reference page are made of it.

A test holds the table and the routes of the application together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from isocenter.std.non_patient import RESOURCES
from isocenter.web.negotiate import COMPRESSED_MEDIA_TYPES, DICOM, DICOM_JSON, JSON, OCTET_STREAM, ZIP

XML = "application/dicom+xml"

WADL = "application/vnd.sun.wadl+xml"


def _parts(*names: str) -> tuple[str, ...]:
    return tuple(f'multipart/related; type="{name}"' for name in names)


_MODELS = (DICOM_JSON, JSON, *_parts(XML))
_MODEL = (*_MODELS, XML)
_INSTANCES = (*_parts(DICOM), ZIP)
_INSTANCE = (*_INSTANCES, DICOM)
_CODED = tuple(dict.fromkeys(COMPRESSED_MEDIA_TYPES.values()))
_BULK = (*_parts(OCTET_STREAM, *_CODED), OCTET_STREAM, *_CODED)
_PICTURE = ("image/jpeg", "image/png")
_ITSELF = (
    "application/pdf",
    "text/xml",
    "model/stl",
    "model/obj",
    "model/mtl",
    "video/mpeg",
    "video/mp4",
    "video/H265",
)
_STORED = (DICOM_JSON, JSON, XML)
_TAKEN = (*_parts(DICOM, DICOM_JSON, XML), DICOM, DICOM_JSON, XML)

ACCEPT = "accept"
SEARCH = ("limit", "offset", "fuzzymatching", "emptyvaluematching", "multiplevaluematching", "includefield")
RENDERING = ("window", "viewport", "quality", "annotation", "iccprofile")
URI = (
    *("requestType", "studyUID", "seriesUID", "objectUID", "contentType", "charset", "transferSyntax", "frameNumber"),
    *("rows", "columns", "region", "windowCenter", "windowWidth", "imageQuality", "annotation"),
    *("presentationSeriesUID", "presentationUID", "anonymize"),
)


@dataclass(frozen=True, slots=True)
class Resource:
    """One method of one resource. `path` is below /dicomweb, its variables in braces; `answers` are media types of what
    it gives, `takes` of what it is given. `section` is that of PS3.18, "" for what is not in it. `test` is one that
    shows it."""

    method: str
    path: str
    name: str
    what: str
    section: str
    test: str
    answers: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


_STUDY, _SERIES, _INSTANCE_PATH = (
    "/studies/{study}",
    "/studies/{study}/series/{series}",
    "/studies/{study}/series/{series}/instances/{instance}",
)
_LEVELS = (("Study", _STUDY), ("Series", _SERIES), ("Instance", _INSTANCE_PATH))


def _search() -> Iterator[Resource]:
    test = "test_web_search.py"
    for name, path, what in (
        ("SearchStudies", "/studies", "all studies"),
        ("SearchSeries", "/series", "all series"),
        ("SearchInstances", "/instances", "all instances"),
        ("SearchStudySeries", f"{_STUDY}/series", "series of a study"),
        ("SearchStudyInstances", f"{_STUDY}/instances", "instances of a study"),
        ("SearchSeriesInstances", f"{_SERIES}/instances", "instances of a series"),
    ):
        yield Resource("GET", path, name, f"Search for {what}", "10.6", test, _MODELS, (*SEARCH, ACCEPT))


def _retrieve() -> Iterator[Resource]:
    for level, path in _LEVELS:
        one = level == "Instance"
        instances, models = (_INSTANCE, _MODEL) if one else (_INSTANCES, _MODELS)
        what = f"{level.lower()}, in parts{', alone' if one else ''} or zipped, in any transfer syntax"
        yield Resource(
            "GET", path, f"Retrieve{level}", f"Retrieve the {what}", "10.4.1.1.1", "test_web_retrieve.py", instances,
            (ACCEPT,),
        )  # fmt: skip
        yield Resource(
            "GET", f"{path}/metadata", f"Retrieve{level}Metadata", f"Retrieve the metadata of the {level.lower()}",
            "10.4.1.1.2", "test_web_caching.py", models, (ACCEPT,),
        )  # fmt: skip
    yield Resource(
        "GET", f"{_INSTANCE_PATH}/frames/{{frames}}", "RetrieveFrames", "Retrieve frames", "10.4.1.1.6",
        "test_web_retrieve.py", _BULK, (ACCEPT,),
    )  # fmt: skip
    yield Resource(
        "GET", f"{_INSTANCE_PATH}/bulkdata/{{path}}", "RetrieveBulkdata", "Retrieve a value that metadata refer to",
        "10.4.1.1.5", "test_web_retrieve.py", _BULK, (ACCEPT,),
    )  # fmt: skip
    for level, path in (*_LEVELS, ("Frame", f"{_INSTANCE_PATH}/frames/{{frames}}")):
        kinds = (*_PICTURE, *_ITSELF) if level == "Instance" else _PICTURE
        yield Resource(
            "GET", f"{path}/rendered", f"Render{level}", f"Retrieve a picture of the {level.lower()}", "10.4.1.1.3",
            "test_web_uri.py", kinds, (*RENDERING, ACCEPT),
        )  # fmt: skip
        yield Resource(
            "GET", f"{path}/thumbnail", f"Thumbnail{level}", f"Retrieve a small picture of the {level.lower()}",
            "10.4.1.1.4", "test_web_retrieve.py", _PICTURE, (*RENDERING, ACCEPT),
        )  # fmt: skip


def _store() -> Iterator[Resource]:
    for path, name, what in (("/studies", "Store", "instances"), (_STUDY, "StoreStudy", "instances of the study")):
        yield Resource("POST", path, name, f"Store {what}", "10.5", "test_web_store_metadata.py", _STORED, (), _TAKEN)
    for level, path in _LEVELS:
        yield Resource(
            "DELETE", path, f"Delete{level}", f"Delete the {level.lower()}, for a reason that is kept", "",
            "test_web_gate.py", (), ("reason", "force"),
        )  # fmt: skip


def _work() -> Iterator[Resource]:
    ups, subscriptions = "test_web_worklist.py", "test_web_subscriptions.py"
    one, subscriber = "/workitems/{workitem}", "/workitems/{workitem}/subscribers/{aetitle}"
    sets = (DICOM_JSON, XML)
    yield Resource("POST", "/workitems", "CreateWorkitem", "Create a step of the worklist", "11.4", ups, (),
                   ("workitem",), sets)  # fmt: skip
    yield Resource("GET", one, "RetrieveWorkitem", "Retrieve a step", "11.5", ups, _MODEL, (ACCEPT,))
    yield Resource(
        "POST", one, "UpdateWorkitem", "Change what a step says", "11.6", ups, (), ("transaction-uid",), sets
    )
    yield Resource("PUT", f"{one}/state", "ChangeWorkitemState", "Claim, complete or cancel a step", "11.7", ups, (),
                   (), sets)  # fmt: skip
    yield Resource("POST", f"{one}/cancelrequest", "RequestCancellation", "Ask for a step to be canceled", "11.8", ups,
                   (), (), sets)  # fmt: skip
    yield Resource("GET", "/workitems", "SearchWorkitems", "Search for steps of the worklist", "11.9", ups, _MODELS,
                   (*SEARCH, ACCEPT))  # fmt: skip
    yield Resource("POST", subscriber, "Subscribe", "Tell an AE of a step, or of all", "11.10", subscriptions, (),
                   ("deletionlock", "filter"))  # fmt: skip
    yield Resource("DELETE", subscriber, "Unsubscribe", "Tell it no more", "11.11", subscriptions)
    yield Resource("POST", f"{subscriber}/suspend", "Suspend", "Tell it of no more steps that come", "11.12",
                   subscriptions)  # fmt: skip
    yield Resource("GET", "/subscribers/{aetitle}", "OpenChannel", "Events of steps, on a WebSocket", "8.10.4, 11.13",
                   subscriptions)  # fmt: skip


_NPI = "test_npi.py"
_CHANGES = "test_web_changes.py"
_CAPABILITIES = "test_web_capabilities.py"
# fmt: off
_OTHERS = (
    Resource("GET", "/{npi}", "SearchNonPatient", "Search for objects of no patient", "12.6", _NPI, _MODELS,
             (*SEARCH, ACCEPT)),
    Resource("GET", "/{npi}/{uid}", "RetrieveNonPatient", "Retrieve an object of no patient", "12.4", _NPI,
             (*_INSTANCE, *_MODEL), (ACCEPT,)),
    Resource("GET", "/{npi}/{uid}/bulkdata/{path}", "RetrieveNonPatientBulkdata", "Retrieve a value of it", "F.2.6",
             _NPI, _BULK, (ACCEPT,)),
    Resource("POST", "/{npi}", "StoreNonPatient", "Store objects of no patient", "12.5", _NPI, _STORED, (), _TAKEN),
    Resource("POST", "/{npi}/{uid}", "StoreNonPatientInstance", "Store one under its UID", "12.5", _NPI, _STORED, (),
             _TAKEN),
    Resource("GET", "/wado", "RetrieveUri", "URI Service (WADO-URI)", "9", "test_web_uri.py",
             (DICOM, *_PICTURE, *_ITSELF, *_MODEL), URI),
    Resource("GET", "/changes", "Changes", "What was stored, replaced or deleted since an entry", "", _CHANGES,
             (JSON,), ("since", "limit")),
    Resource("GET", "/events", "Events", "The same, told as it happens", "", _CHANGES, ("text/event-stream",),
             ("since",)),
    Resource("OPTIONS", "", "Capabilities", "Retrieve what this service can do", "8.9", _CAPABILITIES, (WADL, JSON)),
    Resource("OPTIONS", "/", "Capabilities", "Retrieve what this service can do", "8.9", _CAPABILITIES, (WADL, JSON)),
    Resource("GET", "/openapi.json", "OpenApi", "The same as an OpenAPI document", "", _CAPABILITIES, (JSON,)),
)
# fmt: on

RESOURCE_TABLE: tuple[Resource, ...] = (*_search(), *_retrieve(), *_store(), *_work(), *_OTHERS)

KINDS = tuple(RESOURCES)
"""What `{npi}` may be."""
