"""What every error of ours can do."""

from __future__ import annotations

import pickle

import pytest

from isocenter.errors import AssociationRejected, DataSetError, IsocenterError, OperationFailed, PixelError


@pytest.mark.parametrize(
    "error",
    [
        DataSetError("too long", tag_path="(0008,1140)[0].(0008,1155)", offset=132),
        AssociationRejected("PACS: association rejected", result=1, source=1, reason=7),
        OperationFailed("out of resources", status=0xA700),
        PixelError("does not decode", frame=3),
    ],
)
def test_an_error_goes_from_process_to_process(error: IsocenterError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.args, again.__dict__) == (str(error), error.args, error.__dict__)
    assert again.hint == error.hint
