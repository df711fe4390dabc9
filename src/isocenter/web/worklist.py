"""Worklist Service, UPS-RS (PS3.18 section 11): the steps. Who is told of them is in subscriptions.py.

The rules are the archive's; here they get the statuses and Warning fields of each transaction.
"""

from __future__ import annotations

from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isocenter.archive.work import CANCELED_ALREADY, COMPLETED_ALREADY, CREATED_MODIFIED
from isocenter.errors import BadRequest, StepOver, StepUnclaimed, TransactionMissing
from isocenter.names import ae_title, is_uid
from isocenter.services.unified_procedure_step import RETURNED, STATE, TRANSACTION, text_of
from isocenter.web.context import DICOMWEB, base_url, context_of
from isocenter.web.datasets import ONE, answer_model
from isocenter.web.errors import error_response
from isocenter.web.negotiate import accepted_ranges, require
from isocenter.web.steps import data_set, path_uid, search, warn, who
from isocenter.wire.dicomjson import Model

WORKITEMS = f"{DICOMWEB}/workitems"
WORKITEM = f"{WORKITEMS}/{{workitem}}"

_SOP_INSTANCE = "00080018"
_AFFECTED = "00001000"
# 11.4.3.2, 11.7.3.2 and 11.8.3.2
_WARNINGS = {
    CREATED_MODIFIED: "The Workitem was created with modifications.",
    CANCELED_ALREADY: "The UPS is already in the requested state of CANCELED.",
    COMPLETED_ALREADY: "The UPS is already in the requested state of COMPLETED.",
}
_NOT_CLAIMED = "The target URI did not reference a claimed Workitem."


def _named(request: Request, *names: str) -> str:
    """A UID in the query: after one of these names, or alone, as the standard's templates can be read. "" without."""
    given = [value for name in names for value in request.query_params.getlist(name)]
    given += [name for name, value in request.query_params.multi_items() if not value and name[:1].isdigit()]
    if len(given) > 1 or not all(map(is_uid, given)):
        raise BadRequest("the query names something else than one UID")
    return given[0] if given else ""


def _done(request: Request, status: int, warning: int) -> Response:
    response = Response(None, status)
    return warn(response, request, _WARNINGS[warning]) if warning else response


async def create(request: Request) -> Response:
    """`POST /workitems?{workitem}`: 11.4. Without a UID in the query, the data set may say it, or we do."""
    uid = _named(request, "workitem", "AffectedSOPInstanceUID")
    model = await data_set(request)
    uid = uid or text_of(model, _AFFECTED) or text_of(model, _SOP_INSTANCE)
    done = await context_of(request).archive.work.create(model, uid, who(request))
    response = _done(request, 201, done.status)
    response.headers["location"] = response.headers["content-location"] = f"{base_url(request)}/workitems/{done.uid}"
    return response


async def retrieve(request: Request) -> Response:
    """`GET /workitems/{workitem}`: 11.5."""
    offer = require(accepted_ranges(request), ONE)
    model = await context_of(request).archive.work.get(path_uid(request, "workitem"))
    return await answer_model(request, model, offer)


async def update(request: Request) -> Response:
    """`POST /workitems/{workitem}?{transaction-uid}`: 11.6."""
    uid = path_uid(request, "workitem")
    model = await data_set(request)
    transaction = _transaction(request, model)
    try:
        await context_of(request).archive.work.set(uid, model, transaction, who(request))
    except (StepOver, TransactionMissing) as error:
        # Of this transaction alone, Table 11.6.3-1 has these under 400.
        return warn(error_response(error.code, str(error), 400, error.hint), request, error.warning)
    except StepUnclaimed as error:
        return warn(error_response(error.code, str(error), 409, error.hint), request, _NOT_CLAIMED)
    response = Response(None, 200)
    response.headers["content-location"] = f"{base_url(request)}/workitems/{uid}"
    return response


def _transaction(request: Request, model: Model) -> str:
    """The Transaction UID, which older editions have in the data set and newer ones in the query."""
    named = _named(request, "transaction-uid", "transaction", "transactionUID")
    said = text_of(model, TRANSACTION)
    if named and said and named != said:
        raise BadRequest("query and data set have two Transaction UIDs", tag_path="(0008,1195)")
    return named or said


async def change_state(request: Request) -> Response:
    """`PUT /workitems/{workitem}/state`: 11.7."""
    uid = path_uid(request, "workitem")
    model = await data_set(request)
    state, transaction = text_of(model, STATE), text_of(model, TRANSACTION)
    done = await context_of(request).archive.work.change_state(uid, state, transaction, who(request))
    return _done(request, 200, done.status)


async def request_cancel(request: Request) -> Response:
    """`POST /workitems/{workitem}/cancelrequest`: 11.8. Whoever performs the step hears of it from an AE: the user, if
    his name can be one, else us, who pass it on."""
    uid = path_uid(request, "workitem")
    why = await data_set(request, required=False)
    context, by = context_of(request), who(request)
    try:
        requester = ae_title(by)
    except ValueError:
        requester = ae_title(context.settings.dimse_aet)
    done = await context.archive.work.request_cancel(uid, why, requester, by)
    return _done(request, 202, done.status)


async def search_workitems(request: Request) -> Response:
    """`GET /workitems`: 11.9."""
    return await search(request, "unified", RETURNED)


def routes() -> Iterator[Route]:
    """Table 11.3-1."""
    yield Route(WORKITEMS, search_workitems, methods=["GET"])
    yield Route(WORKITEMS, create, methods=["POST"])
    yield Route(WORKITEM, retrieve, methods=["GET"])
    yield Route(WORKITEM, update, methods=["POST"])
    yield Route(f"{WORKITEM}/state", change_state, methods=["PUT"])
    yield Route(f"{WORKITEM}/cancelrequest", request_cancel, methods=["POST"])
