"""The digits on a printed mask: the bundle's mask passes, any other blinds."""

from dataclasses import replace

import pytest

from host.mask.printed import mask_id, printed_cause
from optics.bundle import Attachment, default_bundle_path, read_bundle

ID = "ab12cd34" + "0" * 56


@pytest.fixture(scope="module")
def bundle():
    return replace(read_bundle(default_bundle_path()), mask=Attachment({"id": ID}))


@pytest.mark.parametrize("written", [None, "ab12", "AB12CD34", "ab12 cd34", ID])
def test_the_right_mask(bundle, written):
    assert printed_cause(written, bundle) is None


@pytest.mark.parametrize(
    ("written", "told"),
    [("ab13", "was made for mask ab12cd34"), ("ab1", "no mask's"), ("mask-7", "no mask's"), ("", "no mask's")],
)
def test_another_mask(bundle, written, told):
    cause = printed_cause(written, bundle)
    assert cause is not None
    assert (cause.kind, cause.latched) == ("mask_id", True)
    assert told in cause.reason
    assert cause.advice
    assert printed_cause("ab12cd34", bundle) is None


def test_a_bundle_without_a_mask():
    bare = replace(read_bundle(default_bundle_path()), mask=None)
    assert mask_id(bare) is None
    assert printed_cause(None, bare) is None
    cause = printed_cause("ab12", bare)
    assert cause is not None
    assert "names no mask" in cause.reason
    assert printed_cause("ab12", replace(bare, mask=Attachment({"id": 3}))) is not None
