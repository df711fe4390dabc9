"""Non-Patient Instance Service (PS3.18 section 12): hanging protocols, colour palettes, implant templates and the like.

The transactions are those of studies, on one level. A name in the path stands for the SOP classes of a kind.
"""

from __future__ import annotations

from collections.abc import Iterator

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isocenter.errors import BadRequest
from isocenter.model import Level
from isocenter.names import is_uid
from isocenter.std.non_patient import RESOURCES
from isocenter.web.bulkdata import retrieve_bulkdata
from isocenter.web.context import DICOMWEB, instance_of
from isocenter.web.datasets import ONE, answer_metadata
from isocenter.web.negotiate import accepted_ranges, not_acceptable, ranked
from isocenter.web.qido import search
from isocenter.web.receiver import Target
from isocenter.web.stow import store_into
from isocenter.web.wado import ALONE, PARTS, ZIPPED, answer_instances, choose_instances, instance_offers


class _Resource(Convertor[str]):
    """The npi-names of section 12.1.1 in a path, and nothing else."""

    regex = "|".join(RESOURCES)

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("npi", _Resource())


async def search_npi(request: Request) -> Response:
    """`GET /{npi-name}`: 12.6."""
    return await search(request, Level.IMAGE, RESOURCES[request.path_params["npi"]])


async def retrieve_npi(request: Request) -> Response:
    """`GET /{npi-name}/{uid}`: 12.4. The instance, alone if the client does not mind, or its JSON."""
    ranges = accepted_ranges(request)
    ref = await instance_of(request)
    instances = choose_instances([ref], ranges, (ALONE, PARTS, ZIPPED))
    model = ranked(ranges, ONE)
    if instances is not None and (model is None or instances[0] >= model[0]):
        return await answer_instances(request, [ref], instances[1])
    if model is None:
        offers = [offer for way in (ALONE, PARTS) for offer in instance_offers(ref.transfer_syntax, way)]
        raise not_acceptable([*offers, *ONE])
    return await answer_metadata(request, ref.scope, model[1])


async def store_npi(request: Request) -> Response:
    """`POST /{npi-name}`, `POST /{npi-name}/{uid}`: 12.5. Objects of other kinds, or with another UID, are refused."""
    uid = request.path_params.get("uid", "")
    if uid and not is_uid(uid):
        raise BadRequest("the uid in the path is not a UID")
    return await store_into(request, Target(sop_classes=RESOURCES[request.path_params["npi"]], instance=uid))


def routes() -> Iterator[Route]:
    """Table 12.3-2. Bulk data is where the JSON says that it is (section F.2.6)."""
    kind = f"{DICOMWEB}/{{npi:npi}}"
    instance = f"{kind}/{{uid}}"
    yield Route(kind, search_npi, methods=["GET"])
    yield Route(kind, store_npi, methods=["POST"])
    yield Route(instance, retrieve_npi, methods=["GET"])
    yield Route(instance, store_npi, methods=["POST"])
    yield Route(f"{instance}/bulkdata/{{path:path}}", retrieve_bulkdata, methods=["GET"])
