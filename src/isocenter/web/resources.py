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
_BULKS = _parts(OCTET_STREAM, *_CODED)
_BULK = (*_BULKS, OCTET_STREAM, *_CODED)
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
LISTING = ("words", "orderby")
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
    shows it, as "file::function" below tests/skins."""

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
    test = "test_web_search.py::test_how_many_answers"
    for name, path, what in (
        ("SearchStudies", "/studies", "all studies"),
        ("SearchSeries", "/series", "all series"),
        ("SearchInstances", "/instances", "all instances"),
        ("SearchStudySeries", f"{_STUDY}/series", "series of a study"),
        ("SearchStudyInstances", f"{_STUDY}/instances", "instances of a study"),
        ("SearchSeriesInstances", f"{_SERIES}/instances", "instances of a series"),
    ):
        more = LISTING if path == "/studies" else ()
        yield Resource("GET", path, name, f"Search for {what}", "10.6", test, _MODELS, (*SEARCH, *more, ACCEPT))
    yield Resource("GET", "/tally", "TallyStudies", "How many of the studies found have each modality", "",
                   "test_web_listing.py::test_how_many_studies_have_each_modality", (JSON,),
                   (*SEARCH, "words"))  # fmt: skip


def _retrieve() -> Iterator[Resource]:
    for level, path in _LEVELS:
        one = level == "Instance"
        instances, models = (_INSTANCE, _MODEL) if one else (_INSTANCES, _MODELS)
        test = "test_an_instance_alone_and_as_a_part" if one else "test_a_study_and_a_series_come_whole"
        what = f"{level.lower()}, in parts{', alone' if one else ''} or zipped, in any transfer syntax"
        yield Resource(
            "GET", path, f"Retrieve{level}", f"Retrieve the {what}", "10.4.1.1.1", f"test_web_retrieve.py::{test}",
            instances, (ACCEPT,) if one else (ACCEPT, "dicomdir"),
        )  # fmt: skip
        yield Resource(
            "GET", f"{path}/metadata", f"Retrieve{level}Metadata", f"Retrieve the metadata of the {level.lower()}",
            "10.4.1.1.2", "test_web_retrieve.py::test_metadata_at_three_levels", models, (ACCEPT,),
        )  # fmt: skip
        yield Resource(
            "GET", f"{path}/bulkdata", f"Retrieve{level}Bulkdata", f"Retrieve all bulk data of the {level.lower()}",
            "10.4.1.1.5", "test_web_bulk.py::test_each_value_as_its_uri_gives_it", _BULKS, (ACCEPT,),
        )  # fmt: skip
        yield Resource(
            "GET", f"{path}/pixeldata", f"Retrieve{level}PixelData", f"Retrieve all pixel data of the {level.lower()}",
            "10.4.1.1.6", "test_web_bulk.py::test_in_compressed_media_types", _BULKS, (ACCEPT,),
        )  # fmt: skip
    yield Resource(
        "GET", f"{_INSTANCE_PATH}/frames/{{frames}}", "RetrieveFrames", "Retrieve frames", "10.4.1.1.6",
        "test_web_retrieve.py::test_native_frames_are_the_bytes_of_the_pixel_data", _BULK, (ACCEPT,),
    )  # fmt: skip
    yield Resource(
        "GET", f"{_INSTANCE_PATH}/bulkdata/{{path}}", "RetrieveBulkdata", "Retrieve a value that metadata refer to",
        "10.4.1.1.5", "test_web_retrieve.py::test_every_bulk_data_uri_works", _BULK, (ACCEPT,),
    )  # fmt: skip
    for level, path in (*_LEVELS, ("Frame", f"{_INSTANCE_PATH}/frames/{{frames}}")):
        kinds = (*_PICTURE, *_ITSELF) if level == "Instance" else _PICTURE
        test = "test_web_retrieve.py::test_pictures_at_all_levels"
        yield Resource(
            "GET", f"{path}/rendered", f"Render{level}", f"Retrieve a picture of the {level.lower()}", "10.4.1.1.3",
            test, kinds, (*RENDERING, ACCEPT),
        )  # fmt: skip
        yield Resource(
            "GET", f"{path}/thumbnail", f"Thumbnail{level}", f"Retrieve a small picture of the {level.lower()}",
            "10.4.1.1.4", test, _PICTURE, (*RENDERING, ACCEPT),
        )  # fmt: skip


def _store() -> Iterator[Resource]:
    for path, name, what, test in (
        ("/studies", "Store", "instances", "test_all_stored"),
        (_STUDY, "StoreStudy", "instances of the study", "test_the_study_of_the_path"),
    ):
        test = f"test_web_store.py::{test}"
        yield Resource("POST", path, name, f"Store {what}", "10.5", test, _STORED, (), _TAKEN)
    deleted = "test_web_visible.py::test_only_what_one_may_see_can_be_deleted_and_it_is_recorded"
    for level, path in _LEVELS:
        yield Resource(
            "DELETE", path, f"Delete{level}", f"Delete the {level.lower()}, for a reason that is kept", "",
            deleted, (), ("reason", "force"),
        )  # fmt: skip


def _work() -> Iterator[Resource]:
    ups = "test_web_worklist.py::test_a_step_is_created_claimed_filled_in_and_completed"
    subscriptions = "test_web_subscriptions.py::test_all_steps_that_are_there_and_come"
    channel = "test_web_subscriptions.py::test_a_step_is_followed_from_the_subscription_to_its_end"
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
    yield Resource("POST", f"{one}/cancelrequest", "RequestCancellation", "Ask for a step to be canceled", "11.8",
                   "test_web_worklist.py::test_cancellation_is_asked_for", (), (), sets)  # fmt: skip
    yield Resource("GET", "/workitems", "SearchWorkitems", "Search for steps of the worklist", "11.9",
                   "test_web_worklist.py::test_searches_match_as_those_for_studies", _MODELS,
                   (*SEARCH, ACCEPT))  # fmt: skip
    yield Resource("POST", subscriber, "Subscribe", "Tell an AE of a step, or of all", "11.10", subscriptions, (),
                   ("deletionlock", "filter"))  # fmt: skip
    yield Resource("DELETE", subscriber, "Unsubscribe", "Tell it no more", "11.11", channel)
    yield Resource("POST", f"{subscriber}/suspend", "Suspend", "Tell it of no more steps that come", "11.12",
                   subscriptions)  # fmt: skip
    yield Resource("GET", "/subscribers/{aetitle}", "OpenChannel", "Events of steps, on a WebSocket", "8.10.4, 11.13",
                   channel)  # fmt: skip


def _commitment() -> Iterator[Resource]:
    path, test = "/commitment-requests/{transaction}", "test_web_commitment.py::test_what_is_in_safekeeping_is_said"
    yield Resource("POST", path, "RequestCommitment", "Ask whether objects are in safekeeping", "13.4", test, _MODEL,
                   (ACCEPT,), (DICOM_JSON, XML))  # fmt: skip
    yield Resource("GET", path, "CommitmentResult", "What came of it", "13.5", test, _MODEL, (ACCEPT,))


def _modality() -> Iterator[Resource]:
    sets = (DICOM_JSON, XML)
    finds = "test_web_modality.py::test_a_modality_finds_its_work"
    planned = "test_web_modality.py::test_a_step_is_scheduled_changed_and_taken_back"
    goes_on = "test_web_modality.py::test_a_modality_begins_goes_on_and_ends"
    scheduled, performed = "/modality-scheduled-procedure-steps", "/modality-performed-procedure-steps/{mpps}"
    yield Resource("GET", scheduled, "SearchScheduledSteps", "Search for what modalities are to do", "14.4", finds,
                   _MODELS, (*SEARCH, ACCEPT))  # fmt: skip
    yield Resource("POST", scheduled, "ScheduleStep", "Schedule a step, or change one", "", planned, (), (), sets)
    yield Resource("DELETE", f"{scheduled}/{{study}}/{{step}}", "UnscheduleStep", "Take a step back", "", planned)
    yield Resource("POST", performed, "CreatePerformedStep", "A modality begins; with `update` it goes on, or ends",
                   "15.4, 15.5", goes_on, (), ("update",), sets)  # fmt: skip
    yield Resource("GET", performed, "RetrievePerformedStep", "Retrieve what a modality says of its step", "15.6",
                   goes_on, _MODEL, ("includefield", ACCEPT))  # fmt: skip


_NPI, _CHANGES, _CAPABILITIES = "test_npi.py::", "test_web_changes.py::", "test_web_capabilities.py::"
# fmt: off
_OTHERS = (
    Resource("GET", "/{npi}", "SearchNonPatient", "Search for objects of no patient", "12.6",
             _NPI + "test_searching", _MODELS, (*SEARCH, ACCEPT)),
    Resource("GET", "/{npi}/{uid}", "RetrieveNonPatient", "Retrieve an object of no patient", "12.4",
             _NPI + "test_the_forms_of_an_instance", (*_INSTANCE, *_MODEL), (ACCEPT,)),
    Resource("GET", "/{npi}/{uid}/bulkdata/{path}", "RetrieveNonPatientBulkdata", "Retrieve a value of it", "F.2.6",
             _NPI + "test_the_forms_of_an_instance", _BULK, (ACCEPT,)),
    Resource("POST", "/{npi}", "StoreNonPatient", "Store objects of no patient", "12.5",
             _NPI + "test_each_kind_is_stored_found_and_retrieved", _STORED, (), _TAKEN),
    Resource("POST", "/{npi}/{uid}", "StoreNonPatientInstance", "Store one under its UID", "12.5",
             _NPI + "test_storing_under_a_uid", _STORED, (), _TAKEN),
    Resource("GET", "/wado", "RetrieveUri", "URI Service (WADO-URI)", "9",
             "test_web_uri.py::test_what_an_object_comes_as",
             (DICOM, *_PICTURE, *_ITSELF, *_MODEL), URI),
    Resource("GET", "/changes", "Changes", "What was stored, replaced or deleted since an entry", "",
             _CHANGES + "test_what_happened_since", (JSON,), ("since", "limit")),
    Resource("GET", "/events", "Events", "The same, told as it happens", "",
             _CHANGES + "test_what_happens_is_told_as_it_happens", ("text/event-stream",), ("since", "summary")),
    Resource("OPTIONS", "", "Capabilities", "Retrieve what this service can do", "8.9", _CAPABILITIES + "test_wadl",
             (WADL, JSON)),
    Resource("OPTIONS", "/", "Capabilities", "Retrieve what this service can do", "8.9", _CAPABILITIES + "test_wadl",
             (WADL, JSON)),
    Resource("GET", "/openapi.json", "OpenApi", "The same as an OpenAPI document", "", _CAPABILITIES + "test_openapi",
             (JSON,)),
)
# fmt: on

RESOURCE_TABLE: tuple[Resource, ...] = (
    *_search(),
    *_retrieve(),
    *_store(),
    *_work(),
    *_commitment(),
    *_modality(),
    *_OTHERS,
)

KINDS = tuple(RESOURCES)
"""What `{npi}` may be."""
