"""A shipped bundle's name wherever the host is given a bundle: configuration, optic files, doctor."""

from pathlib import Path

import numpy as np
import pytest

from host.config_file import load_config
from host.doctor import examine
from host.optic_files import OpticFileError, read_optic, separate
from optics.bundle import (
    Bundle,
    ShadowedNameWarning,
    default_bundle_path,
    read_bundle,
    resolve_bundle,
    shipped_bundles,
    write_bundle,
)
from optics.encoding import Encoding


def test_a_configuration_means_its_own_file_with_a_path_and_a_shipped_bundle_with_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("default").write_bytes(b"mine")
    Path("canopic.yaml").write_text("bundle: ./default\n")
    assert resolve_bundle(load_config(Path("canopic.yaml"), {}).config.bundle).read_bytes() == b"mine"
    Path("canopic.yaml").write_text("bundle: default\n")
    with pytest.warns(ShadowedNameWarning):
        assert resolve_bundle(load_config(Path("canopic.yaml"), {}).config.bundle) == default_bundle_path()


@pytest.mark.parametrize("name", shipped_bundles())
def test_an_optic_file_can_be_a_bundle_s_name(name: str) -> None:
    if read_bundle(shipped_bundles()[name]).encoding.filters == 1:
        assert read_optic(name).name == f"bundle {name}"
        return
    with pytest.raises(OpticFileError, match="canopic bundle export"):
        read_optic(name)


def test_a_name_that_is_none_is_told_from_those_that_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OpticFileError, match=r"wide\.canopic: no such bundle file.*default"):
        read_optic("wide.canopic")
    wide = Bundle(Encoding(np.full((1, 3, 3), 1 / 9, np.float32), np.linspace(0.1, 0.9, 15, dtype=np.float32)))
    write_bundle(wide, "wide.canopic")
    assert read_optic("wide.canopic").taps.shape == (3, 3)


def test_a_shipped_bundle_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    separate(["default"], [Path("default")])
    with pytest.raises(OpticFileError, match="which is read"):
        separate(["default"], [default_bundle_path()])


def test_doctor_looks_at_every_shipped_bundle() -> None:
    parts = {check.part: check.verdict for check in examine()}
    assert {f"{name} bundle" for name in shipped_bundles()} <= set(parts)
    assert all(parts[f"{name} bundle"] == "ok" for name in shipped_bundles())
