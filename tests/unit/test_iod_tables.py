"""The tables that complete objects: nothing of Type 1 may be missing, and everything of Type 2 is there."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

import isocenter
from isocenter.errors import DataSetError
from isocenter.iod import tables
from isocenter.iod.tables import _tables

IODS = list(_tables()["iods"])


def test_every_keyword_is_in_the_dictionary() -> None:
    unknown = [word for module in _tables()["modules"].values() for word in module if tag_for_keyword(word) is None]
    assert unknown == []


@pytest.mark.parametrize("name", IODS)
def test_every_module_of_an_iod_has_its_attributes(name: str) -> None:
    iod = tables.iod(name)
    assert iod.sop_class.startswith("1.2.840.10008.5.1.4.1.1.")
    assert "sop-common" in iod.modules
    assert [module for module in iod.modules if not isinstance(tables.attributes(module), dict)] == []


def ct() -> Dataset:
    ds = isocenter.create(np.zeros((2, 2), "i2"), modality="CT", pixel_spacing=(1, 1))
    assert isinstance(ds, Dataset)
    return ds


REQUIRED = [
    (kind, word)
    for module, usage in tables.iod("ct-image").modules.items()
    if usage == "M"
    for word, kind in tables.attributes(module).items()
    if kind in ("1", "2")
]


@pytest.mark.parametrize(("kind", "word"), REQUIRED)
def test_a_ct_has_every_type_1_and_2_attribute(kind: str, word: str) -> None:
    ds = ct()
    assert word in ds
    del ds[word]
    if kind == "1":
        with pytest.raises(DataSetError, match=word):
            tables.complete(ds, "ct-image")
        setattr(ds, word, None)
        with pytest.raises(DataSetError, match=word):
            tables.complete(ds, "ct-image")
    else:
        tables.complete(ds, "ct-image")
        assert ds[word].is_empty
