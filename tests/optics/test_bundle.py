"""Bundles: what is written is read back, the id is of the content alone, and nothing but an intact bundle is read."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optics.archive import ARRAY_DTYPES, array_from_bytes, array_to_bytes, canonical_json, pack, unpack
from optics.bundle import (
    Attachment,
    Bundle,
    BundleError,
    bundle_from_bytes,
    bundle_to_bytes,
    read_bundle,
    write_bundle,
)
from optics.description import describe, export_encoding
from optics.encoding import Encoding


def example(**changes: Any) -> Bundle:
    kernel = np.outer(np.hanning(9), np.hanning(7)).astype(np.float32)[None]
    encoding = Encoding(kernel / kernel.sum(), np.sort(np.float32([0.2] * 5 + [0.5] * 5 + [0.7] * 5)))
    about = {"encoding_id": encoding.id, "score_threshold": 0.45, "card": "faces, research only"}
    fields: dict[str, Any] = {
        "encoding": encoding,
        "models": {"detector.onnx": b"\x08\x07weights" * 40},
        "metadata": {"detector.onnx": about},
        "evidence": {"identity": {"accuracy": 0.104, "chance": 1 / 69}, "note": "Grösse ≤ 1"},
        "mask": Attachment({"kind": "phase", "pitch_um": 3.0}, {"height_um": np.arange(12.0).reshape(3, 4)}),
        "calibration": Attachment({"temperature_c": 21.5}),
    }
    return Bundle(**{**fields, **changes})


CONTENT = bundle_to_bytes(example())


def entries_of(content: bytes) -> dict[str, bytes]:
    return unpack(content)


def with_entries(**changes: bytes) -> bytes:
    """The example's file with entries replaced, but the old manifest."""
    return pack({**entries_of(CONTENT), **{name.replace("__", "/"): data for name, data in changes.items()}})


def with_manifest(change: dict[str, Any]) -> bytes:
    entries = entries_of(CONTENT)
    manifest = {**json.loads(entries["manifest.json"]), **change}
    return pack({**entries, "manifest.json": canonical_json(manifest)})


def same(first: Bundle, second: Bundle) -> bool:
    return first.id == second.id and bundle_to_bytes(first) == bundle_to_bytes(second)


# --- round trip and identity --------------------------------------------------------------------------------------


def test_what_is_written_is_read(tmp_path: Path) -> None:
    bundle = example(rows_px=240, columns_px=320)
    write_bundle(bundle, tmp_path / "a.canopic")
    read = read_bundle(tmp_path / "a.canopic")
    assert same(bundle, read)
    assert read.encoding == bundle.encoding
    assert (read.rows_px, read.columns_px) == (240, 320)
    assert read.models == bundle.models
    assert read.metadata == bundle.metadata
    assert read.evidence == bundle.evidence
    assert read.mask is not None
    assert read.mask.document == {"kind": "phase", "pitch_um": 3.0}
    assert np.array_equal(read.mask.arrays["height_um"], np.arange(12.0).reshape(3, 4))
    assert read.calibration is not None
    assert read.calibration.arrays == {}
    assert [path.name for path in tmp_path.iterdir()] == ["a.canopic"]


def test_an_encoding_alone_is_a_bundle() -> None:
    bundle = Bundle(example().encoding)
    read = bundle_from_bytes(bundle_to_bytes(bundle))
    assert same(bundle, read)
    assert read.mask is None
    assert read.models == {}


def test_the_file_is_the_same_every_time_and_begins_with_the_manifest() -> None:
    assert bundle_to_bytes(example()) == CONTENT
    assert zipfile.ZipFile(io.BytesIO(CONTENT)).namelist()[0] == "manifest.json"


def test_the_id_is_independent_of_how_the_file_is_packed() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in reversed(entries_of(CONTENT).items()):
            info = zipfile.ZipInfo(name, date_time=(2024, 5, 17, 12, 30, 0))
            info.comment = b"packed elsewhere"
            archive.writestr(info, content)
    assert buffer.getvalue() != CONTENT
    assert same(bundle_from_bytes(buffer.getvalue()), example())


def test_any_change_of_content_changes_the_id() -> None:
    other = Encoding(example().encoding.kernels, np.full(15, 0.5, dtype=np.float32))
    ids = {
        example().id,
        example(rows_px=472).id,
        example(columns_px=632).id,
        example(models={"detector.onnx": b"other"}).id,
        example(evidence={}).id,
        example(mask=None).id,
        example(mask=Attachment({"kind": "phase", "pitch_um": 3.0})).id,
        example(calibration=Attachment({"temperature_c": 22.0})).id,
        Bundle(other).id,
        Bundle(example().encoding).id,
    }
    assert len(ids) == 10


@given(st.sampled_from(ARRAY_DTYPES), st.lists(st.integers(0, 4), max_size=3), st.integers(0, 2**32))
def test_arrays_of_every_dtype_and_shape_come_back(dtype: str, shape: list[int], seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 2, shape).astype(dtype)
    for given_array in (array, np.asarray(array, order="F"), array.astype(array.dtype.newbyteorder(">"))):
        read = array_from_bytes("a.npy", array_to_bytes(given_array))
        assert read.dtype.str == dtype
        assert read.shape == tuple(shape)
        assert np.array_equal(read, array)
    assert np.array_equal(np.load(io.BytesIO(array_to_bytes(array)), allow_pickle=False), array)


# --- what is refused ----------------------------------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_changed_byte_is_refused_or_changes_nothing(data: st.DataObject) -> None:
    content = bytearray(CONTENT)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    refused_or_same(bytes(content))


def test_every_byte_of_the_file_flipped_once_is_refused_or_changes_nothing() -> None:
    for position in range(len(CONTENT)):
        refused_or_same(CONTENT[:position] + bytes([CONTENT[position] ^ 0xFF]) + CONTENT[position + 1 :])


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(CONTENT) - 1))
def test_a_truncated_file_is_refused(length: int) -> None:
    with pytest.raises(BundleError):
        bundle_from_bytes(CONTENT[:length])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    for content in (noise, b"PK\x03\x04" + noise, noise + CONTENT[-22:]):
        with pytest.raises(BundleError):
            bundle_from_bytes(content)


@given(st.binary(max_size=200))
def test_noise_in_an_array_is_refused_or_an_array(noise: bytes) -> None:
    start = array_to_bytes(np.zeros(3))[:10]
    try:
        array_from_bytes("a.npy", start + noise)
    except BundleError:
        return


def refused_or_same(content: bytes) -> None:
    try:
        bundle = bundle_from_bytes(content)
    except BundleError:
        return
    assert same(bundle, example())


def test_a_damaged_entry_is_named_with_both_digests() -> None:
    message = r"entry models/detector\.onnx is damaged: expected SHA-256 \w{64}, found \w{64}"
    with pytest.raises(BundleError, match=message):
        bundle_from_bytes(with_entries(**{"models__detector.onnx": b"other weights"}))


def test_a_newer_schema_is_refused_with_what_to_do() -> None:
    with pytest.raises(BundleError, match=r"schema 2, this version of canopic reads up to 1: upgrade canopic \(pip"):
        bundle_from_bytes(with_manifest({"schema": 2, "entries": {"something": "new"}}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a CAnOPIC bundle"),
        (b"\x89PNG\r\n", "not a CAnOPIC bundle"),
        (CONTENT[:-30], "truncated or damaged"),
        (pack({"readme.txt": b"hello"}), "manifest.json is missing"),
        (
            pack({"kernels.npy": b"", "thresholds.npy": b""}),
            "an encoding alone, not a CAnOPIC bundle: .* train a detec",
        ),
        (pack({"manifest.json": b"[]"}), "not a JSON object"),
        (pack({"manifest.json": b"{"}), "not valid JSON"),
        (pack({"manifest.json": b"[" * 100_000}), "not valid JSON"),
        (pack({"manifest.json": b'{"format":"wheel"}'}), "does not describe a CAnOPIC bundle"),
        (with_manifest({"schema": True}), "schema must be a whole number"),
        (with_manifest({"schema": 0}), "schema must be a whole number"),
        (with_manifest({"entries": []}), "entries must be an object"),
        (with_manifest({"id": "0" * 64}), "manifest.json is damaged: expected id 0000"),
        (with_manifest({"more": 1}), "manifest.json is damaged"),
        (with_entries(extra=b"1"), "entry extra is not in the manifest"),
        (pack({"manifest.json": entries_of(CONTENT)["manifest.json"]}), "entry calibration.json is missing"),
    ],
)
def test_what_is_no_intact_bundle_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        bundle_from_bytes(content)


def test_compressed_entries_and_unfolding_sizes_are_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b"0" * 10_000_000)
    with pytest.raises(BundleError, match="larger than the file"):
        bundle_from_bytes(buffer.getvalue())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b"0123")
    with pytest.raises(BundleError, match="compressed"):
        bundle_from_bytes(buffer.getvalue())


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "a\\b", "a//b", "./a", "", ".."])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(BundleError, match="plain"):
        pack({name: b"1"})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"1")
    with pytest.raises(BundleError, match="plain"):
        unpack(buffer.getvalue())
    with pytest.raises(BundleError, match="plain"):
        bundle_to_bytes(example(mask=Attachment({}, {name: np.zeros(1)})))


def test_entries_that_occur_twice_are_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a", b"2")
    with pytest.raises(BundleError, match="twice"):
        unpack(buffer.getvalue())


def test_a_model_for_another_encoding_is_refused_when_made_and_when_read() -> None:
    other = {"detector.onnx": {"encoding_id": "0" * 64}}
    with pytest.raises(BundleError, match=r"detector\.onnx was trained for encoding 0000"):
        example(metadata=other)
    with pytest.raises(BundleError, match="was trained for encoding"):
        bundle_from_bytes(rebuilt({"models.json": canonical_json(other)}))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"models.json": b"{}"}, "must match"),
        ({"sensor.json": b'{"columns_px":640,"rows_px":480.0}'}, "rows_px must be whole pixels"),
        ({"sensor.json": b'{"columns_px": 640}'}, "canonical"),
        ({"encoding/thresholds.npy": array_to_bytes(np.zeros(15))}, "encoding is invalid"),
        ({"encoding/thresholds.npy": array_to_bytes(np.zeros(15, dtype=np.float32))}, "encoding.json names encoding"),
        ({"encoding/kernels.npy": b"\x93NUMPY\x01\x00"}, "kernels.npy is not a valid .npy"),
        ({"mask/height_um.npy": array_to_bytes(np.zeros(4))[:-1]}, "holds 31 bytes"),
        ({"mask/height_um.txt": b""}, "none that schema 1 knows"),
        ({"notes.txt": b""}, "none that schema 1 knows"),
        ({"models/a/b": b""}, "plain file name"),
    ],
)
def test_a_valid_manifest_does_not_make_its_content_trusted(entries: dict[str, bytes], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        bundle_from_bytes(rebuilt(entries))


def rebuilt(changes: dict[str, bytes]) -> bytes:
    """The example's file with other entries and a manifest whose digests fit: what someone hostile would make."""
    entries = {name: data for name, data in entries_of(CONTENT).items() if name != "manifest.json"}
    entries.update(changes)
    manifest: dict[str, Any] = {
        "format": "canopic-bundle",
        "schema": 1,
        "entries": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in entries.items()
        },
    }
    manifest["id"] = hashlib.sha256(canonical_json(manifest)).hexdigest()
    return pack({"manifest.json": canonical_json(manifest), **entries})


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [("|O", "(1,)"), ("<f8", "(99999999999,)"), ("<f8", "(-1,)"), (">f8", "(1,)"), ("<U4", "(1,)"), ("<f8", "(0.5,)")],
)
def test_array_headers_that_promise_something_else_are_refused(dtype: str, shape: str) -> None:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(8)
    with pytest.raises(BundleError, match=r"entry a\.npy"):
        array_from_bytes("a.npy", content)


@pytest.mark.parametrize("evidence", [{"x": float("nan")}, {"x": object()}, {"x": b"raw"}])
def test_values_without_json_are_refused(evidence: dict[str, object]) -> None:
    with pytest.raises(BundleError, match="not storable as JSON"):
        bundle_to_bytes(example(evidence=evidence))
    with pytest.raises(BundleError, match="cannot be stored"):
        bundle_to_bytes(example(mask=Attachment({}, {"names": np.array(["a"])})))


def test_files_that_cannot_be_read_are_bundle_errors_with_their_path(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"absent\.canopic: cannot be read: No such file"):
        read_bundle(tmp_path / "absent.canopic")
    (tmp_path / "noise.canopic").write_bytes(b"noise")
    with pytest.raises(BundleError, match=r"noise\.canopic: not a CAnOPIC bundle"):
        read_bundle(tmp_path / "noise.canopic")


# --- what people see ----------------------------------------------------------------------------------------------


def test_describe_reports_effective_levels_beside_the_bits() -> None:
    about = describe(example())
    json.dumps(about)
    assert about["id"] == example().id
    assert about["encoding"]["levels"] == "4 bits, 4 effective levels"
    assert about["encoding"]["realisable"] is True
    assert about["encoding"]["throughput"] == [1.0]
    assert about["sensor"] == {"rows_px": 480, "columns_px": 640, "cell_rows": 60, "cell_columns": 80, "channels": 3}
    assert about["models"]["detector.onnx"]["score_threshold"] == 0.45
    assert about["models"]["detector.onnx"]["encoding_id"] == about["encoding"]["id"]
    assert about["mask"] == {"kind": "phase", "pitch_um": 3.0}


def test_export_writes_plain_arrays(tmp_path: Path) -> None:
    bundle = example()
    export_encoding(bundle, tmp_path / "encoding.out")
    with np.load(tmp_path / "encoding.out", allow_pickle=False) as stored:
        assert sorted(stored.files) == ["kernels", "pool", "range", "thresholds"]
        again = Encoding(stored["kernels"], stored["thresholds"], int(stored["pool"]), str(stored["range"]))  # type: ignore[arg-type]
    assert again == bundle.encoding
