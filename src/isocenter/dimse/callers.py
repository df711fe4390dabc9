"""What a known peer may ask for: service names of its table (known_peers.py) as a limit on abstract syntaxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from isocenter.known_peers import ALL_SERVICES
from isocenter.std import sop_classes as sop
from isocenter.std.non_patient import NON_PATIENT_MODELS
from isocenter.ul.negotiation import Support

_SERVICE_OF = {
    sop.VERIFICATION: "echo",
    sop.PATIENT_ROOT_FIND: "find",
    sop.STUDY_ROOT_FIND: "find",
    sop.MODALITY_WORKLIST_FIND: "find",
    sop.PATIENT_ROOT_MOVE: "move",
    sop.STUDY_ROOT_MOVE: "move",
    sop.COMPOSITE_INSTANCE_ROOT_MOVE: "move",
    sop.COMPOSITE_INSTANCE_ROOT_GET: "get",
    sop.WITHOUT_BULK_DATA_GET: "get",
    sop.PATIENT_ROOT_GET: "get",
    sop.STUDY_ROOT_GET: "get",
    sop.STORAGE_COMMITMENT_PUSH: "commit",
    sop.INSTANCE_AVAILABILITY_NOTIFICATION: "store",  # who may send objects may say that there are some
    **{model.find: "find" for model in NON_PATIENT_MODELS},
    **{model.move: "move" for model in NON_PATIENT_MODELS},
    **{model.get: "get" for model in NON_PATIENT_MODELS},
}


def allowed(supports: Callable[[str], Support | None], services: frozenset[str]) -> Callable[[str], Support | None]:
    """`supports` as far as `services` go. Without "store", "get" still takes objects of ours on the same association,
    for which the peer is SCP of the storage classes (PS3.4 section C.5.3). What belongs to none of the names, only
    those may ask for who may ask for all."""
    if services >= ALL_SERVICES:
        return supports

    def limited(abstract_syntax: str) -> Support | None:
        support = supports(abstract_syntax)
        if support is None or _SERVICE_OF.get(abstract_syntax) in services:
            return support
        if abstract_syntax == sop.STORAGE_COMMITMENT_PUSH and support.scu:
            return replace(support, scp=False)  # it may not ask us, but it may report on what we asked of it
        if abstract_syntax in _SERVICE_OF:
            return None
        # The rest of what we support are storage classes, private ones among them
        if "store" in services:
            return support if "get" in services else replace(support, scu=False)
        return replace(support, scp=False) if "get" in services and support.scu else None

    return limited
