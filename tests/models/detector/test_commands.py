"""The commands from end to end on small made-up archives: each gives what the next one takes."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.detector import cache, gaussian_encoding
from models.detector.archives import DataMissingError
from models.encoding_file import read_encoding
from optics.bundle import read_bundle
from tests.models.detector.test_ship import evidence_of

pytest.importorskip("torch", reason="training needs torch: pip install 'canopic[train]'")
pytest.importorskip("onnx", reason="export needs onnx: pip install 'canopic[train]'")


def test_from_archives_to_a_bundle_with_its_card(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.detector import evaluate, ship, train, workflow

    monkeypatch.setattr(cache, "SHARD", 4)
    monkeypatch.setattr(workflow, "CALIBRATION_SCENES", 2)
    # With three training scenes the validation part may be empty by chance of their names: hold out one by name.
    for module in (gaussian_encoding, evaluate):
        monkeypatch.setattr(module, "validation_part", lambda name: name == "0.jpg")
    encoding, folder, kept = tmp_path / "encoding.npz", tmp_path / "detector", tmp_path / "cache"
    gaussian_encoding.main(encoding, small_data)
    for plain, out in ((False, folder), (True, tmp_path / "ceiling")):
        train.main(small_data, out, str(encoding), scenes=4, steps=2, batch=2, cache=kept, plain=plain)
    evaluate.main(small_data, detector=folder, ceiling=tmp_path / "ceiling", out=tmp_path / "evaluation.json")
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert set(report) == {
        "encoding_id", "model_sha256", "plain_model_sha256", "data_sha256", "surroundings", "codes", "plain"
    }  # fmt: skip
    assert report["encoding_id"] == read_encoding(encoding).id
    assert report["codes"]["scenes"] == 1
    assert report["codes"]["ap"]["faces"] == 1
    found = evidence_of(read_encoding(encoding))
    (tmp_path / "evidence.json").write_text(json.dumps(found))
    shipped = tmp_path / "mine.canopic"
    ship.main(folder, tmp_path / "evaluation.json", shipped, tmp_path / "evidence.json")
    bundle = read_bundle(shipped)
    assert bundle.encoding == read_encoding(encoding)
    assert bundle.evidence["training"]["steps_done"] == 2
    card = shipped.with_suffix(".md").read_text()
    assert "12.3 %" in card
    assert "Two recordings" not in card
    assert f"Measured on the model with SHA-256 `{report['model_sha256'][:16]}`" in card


def test_missing_archives_end_the_command_with_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gaussian_encoding.main(tmp_path / "encoding.npz", tmp_path)
    assert "is missing" in capsys.readouterr().err
    with pytest.raises(DataMissingError):
        gaussian_encoding.exposed_values(tmp_path, gaussian_encoding.gaussian_kernel(4.0))
    assert not list(np.atleast_1d(list(tmp_path.glob("*.npz"))))
