"""Names of shipped bundles: what they stand for, and that no file takes a name's place."""

from pathlib import Path

import pytest

from optics.archive import BundleError
from optics.bundle import (
    ShadowedNameWarning,
    default_bundle_path,
    names_bundle,
    read_bundle,
    resolve_bundle,
    shipped_bundles,
)


def test_names_stand_for_the_bundles_of_the_package() -> None:
    shipped = shipped_bundles()
    assert next(iter(shipped)) == "default"
    for name, path in shipped.items():
        assert resolve_bundle(name) == path
        assert path.name == f"{name}.canopic"
        assert path.parent.name == "bundles"
    assert resolve_bundle("default") == default_bundle_path()


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.canopic").write_bytes(b"anything")
    assert resolve_bundle(str(tmp_path / "mine.canopic")) == tmp_path / "mine.canopic"
    assert resolve_bundle(tmp_path / "mine.canopic") == tmp_path / "mine.canopic"


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(BundleError) as told:
        resolve_bundle("defualt")
    assert "no such bundle file" in str(told.value)
    assert all(name in str(told.value) for name in shipped_bundles())
    assert 'did you mean "default"?' in str(told.value)
    with pytest.raises(BundleError) as told:
        resolve_bundle("absent/qqqq.canopic")
    assert "did you mean" not in str(told.value)


def test_a_name_that_this_installation_lacks_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("optics.bundle.shipped_bundles", lambda: {"default": tmp_path / "default.canopic"})
    with pytest.raises(BundleError, match="ships no private bundle: use default, or give the path") as told:
        resolve_bundle("private")
    assert "install canopic again" not in str(told.value)
    Path("private").write_bytes(b"")
    with pytest.warns(ShadowedNameWarning), pytest.raises(BundleError, match="ships no private bundle"):
        resolve_bundle("private")
    monkeypatch.setattr("optics.bundle.shipped_bundles", dict)
    with pytest.raises(BundleError, match=r"default bundle is missing from this installation.*install canopic again"):
        resolve_bundle("default")


def test_a_file_does_not_shadow_a_name_and_is_reached_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = default_bundle_path()
    Path("default").write_bytes(b"mine")
    with pytest.warns(ShadowedNameWarning, match="write ./default for the file"):
        assert resolve_bundle("default") == shipped
    mine = resolve_bundle("./default")
    assert mine.read_bytes() == b"mine"
    # Handed on as text, as the daemon does to its processes, it is still the file.
    assert resolve_bundle(str(mine)) == mine
    with pytest.raises(BundleError, match="not a CAnOPIC bundle"):
        read_bundle(mine)


def test_what_can_only_be_a_bundle_is_told_from_other_files() -> None:
    assert all(names_bundle(text) for text in ("default", "private", "useful", "mine.canopic", "./a/b.canopic"))
    assert not any(names_bundle(text) for text in ("./default", "psf.npz", "kernel.npy", "defaults"))
