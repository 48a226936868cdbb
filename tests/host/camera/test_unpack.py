"""Raw buffers to samples: against vectors written by hand, and against packing written here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.camera.errors import CameraLost, CameraUnsuitable
from host.camera.unpack import raw_format, site_black_dn, unpack
from host.twin.mosaic import pack

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "raw_vectors.json").read_text())["vectors"]
ORDERS = ("RGGB", "BGGR", "GRBG", "GBRG")


def _unpacked(data: bytes, name: str, size: tuple[int, int], stride: int, sensor_bits: int | None = None) -> Any:
    out = np.full(size[::-1], 7, np.uint16)
    unpack(np.frombuffer(data, np.uint8), raw_format(name, sensor_bits), size, stride, out)
    return out


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_golden_vectors(vector: dict[str, Any]) -> None:
    lines = [bytes.fromhex(line) for line in vector["bytes"]]
    assert all(len(line) == vector["stride"] for line in lines), "the vector itself"
    width, height = vector["size"]
    got = _unpacked(b"".join(lines), vector["format"], (width, height), vector["stride"], vector.get("sensor_bits"))
    assert got.tolist() == vector["samples"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_twin_packs_as_the_golden_vectors_say(vector: dict[str, Any]) -> None:
    form = raw_format(vector["format"], vector.get("sensor_bits"))
    stored = 16 if form.packing == "16 bit" else form.bits
    out = np.full(vector["stride"] * len(vector["samples"]), 0xEE, np.uint8)
    packing = "CSI2P" if form.packing == "csi2p" else ""
    pack(np.array(vector["samples"], np.uint16), stored, packing, vector["stride"], out, form.bits)
    back = _unpacked(
        out.tobytes(), vector["format"], tuple(vector["size"]), vector["stride"], vector.get("sensor_bits")
    )
    assert back.tolist() == vector["samples"]
    if vector["size"][0] % 4 == 0 or packing == "":
        assert out.tobytes() == bytes.fromhex("".join(vector["bytes"]))


def _bit_string_row(samples: list[int], bits: int) -> bytes:
    """CSI-2 packing of a row, sample by sample: upper bytes first, then the rest, first sample lowest."""
    per = {10: 4, 12: 2}[bits]
    samples = samples + [0] * (-len(samples) % per)
    row = bytearray()
    for start in range(0, len(samples), per):
        group = samples[start : start + per]
        row += bytes(sample // 2 ** (bits - 8) for sample in group)
        rest = sum(sample % 2 ** (bits - 8) * (2 ** (bits - 8)) ** place for place, sample in enumerate(group))
        row.append(rest)
    return bytes(row)


def _bytes_row(samples: list[int], name: str, shift: int) -> bytes:
    if name.endswith("_CSI2P"):
        return _bit_string_row(samples, 10 if "10" in name else 12)
    if name.endswith("8"):
        return bytes(samples)
    return b"".join((sample * 2**shift).to_bytes(2, "little") for sample in samples)


@given(data=st.data())
def test_whatever_is_packed_comes_back(data: st.DataObject) -> None:
    kind, sensor_bits = data.draw(
        st.sampled_from([("8", 8), ("10", 10), ("12", 12), ("14", 14), ("16", 10), ("16", 12), ("16", 16),
                         ("10_CSI2P", 10), ("12_CSI2P", 12)])
    )  # fmt: skip
    name = f"S{data.draw(st.sampled_from(ORDERS))}{kind}"
    columns, rows, padding = (
        2 * data.draw(st.integers(1, 9)),
        data.draw(st.integers(1, 4)),
        data.draw(st.integers(0, 9)),
    )
    sample = st.integers(0, 2**sensor_bits - 1)
    samples = data.draw(st.lists(st.lists(sample, min_size=columns, max_size=columns), min_size=rows, max_size=rows))
    lines = [_bytes_row(row, name, 16 - sensor_bits if kind == "16" else 0) for row in samples]
    stride = len(lines[0]) + padding
    filler = data.draw(st.integers(0, 255))
    buffer = b"".join(line + bytes([filler] * padding) for line in lines)
    got = _unpacked(buffer, name, (columns, rows), stride, sensor_bits)
    assert got.tolist() == samples


def test_the_array_of_picamera2_and_the_bare_buffer_give_the_same() -> None:
    vector = VECTORS[0]
    data = np.frombuffer(bytes.fromhex("".join(vector["bytes"])), np.uint8)
    form, size = raw_format(vector["format"]), tuple(vector["size"])
    one, other = np.empty((2, 8), np.uint16), np.empty((2, 8), np.uint16)
    unpack(data, form, size, 16, one)
    unpack(data.reshape(2, 16), form, size, 16, other)
    np.testing.assert_array_equal(one, other)


def test_the_last_line_may_lack_its_padding() -> None:
    assert _unpacked(bytes.fromhex("ff03 0102 eeee 0001 0000"), "SRGGB10", (2, 2), 6).tolist() == [
        [1023, 513],
        [256, 0],
    ]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("BGGR_PISP_COMP1", "compresses"), ("MONO_PISP_COMP1", "compresses"), ("R10", "monochrome"),
        ("R12_CSI2P", "monochrome"), ("SRGGB14_CSI2P", "10 or 12"), ("YUYV", "no Bayer format"), ("", "no Bayer"),
    ],
)  # fmt: skip
def test_unknown_formats_are_refused_by_name(name: str, says: str) -> None:
    with pytest.raises(CameraUnsuitable, match=says) as caught:
        raw_format(name)
    assert name in f"{caught.value}"


@given(name=st.one_of(st.text(max_size=20), st.from_regex(r"S[RGB]{4}\d{1,2}(_\w+)?", fullmatch=True)))
def test_any_name_is_a_format_or_refused(name: str) -> None:
    try:
        form = raw_format(name)
    except CameraUnsuitable:
        return
    assert form.name == name
    assert form.bayer in ORDERS
    assert f"{form.bits}" in name


def test_a_buffer_that_is_too_small_is_no_picture() -> None:
    with pytest.raises(CameraLost, match="cannot hold 4 x 2"):
        _unpacked(bytes(15), "SRGGB10", (4, 2), 8)
    with pytest.raises(CameraLost, match="cannot hold"):
        _unpacked(bytes(64), "SRGGB10", (4, 2), 7)


def test_samples_above_full_scale_are_not_of_this_format() -> None:
    out = np.ones((1, 2), np.uint16)
    with pytest.raises(CameraLost, match="above 1023"):
        unpack(np.frombuffer(bytes.fromhex("0004 0000"), np.uint8), raw_format("SRGGB10"), (2, 1), 4, out)
    assert not out.any(), "and nothing of it is left"


def test_a_mosaic_of_another_shape_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match="out must be uint16"):
        unpack(np.zeros(16, np.uint8), raw_format("SRGGB10"), (4, 2), 8, np.zeros((4, 2), np.uint16))


def test_the_buffer_is_left_alone() -> None:
    data = np.frombuffer(bytes.fromhex("".join(VECTORS[0]["bytes"])), np.uint8).copy()
    before = data.copy()
    unpack(data, raw_format("SRGGB10_CSI2P"), (8, 2), 16, np.empty((2, 8), np.uint16))
    np.testing.assert_array_equal(data, before)


@pytest.mark.parametrize("order", ORDERS)
def test_black_levels_go_to_their_sites(order: str) -> None:
    # In a row with red, green is "green in red's row"; libcamera names them R, Gr, Gb, B whatever the order is.
    given_dn = (4096.0, 4160.0, 4224.0, 4288.0)
    levels = dict(zip(("R", "Gr", "Gb", "B"), given_dn, strict=True))
    expected = []
    for row in (order[:2], order[2:]):
        green = "Gr" if "R" in row else "Gb"
        expected += [levels[green if colour == "G" else colour] / 64 for colour in row]
    assert list(site_black_dn(given_dn, order, 10)) == expected


@pytest.mark.parametrize(("bits", "expected"), [(8, 16), (10, 64), (12, 256), (14, 1024), (16, 4096)])
def test_black_levels_have_the_scale_of_the_samples(bits: int, expected: int) -> None:
    assert site_black_dn((4096, 4096, 4096, 4096), "RGGB", bits) == (expected,) * 4


def test_black_levels_of_no_bayer_order_are_refused() -> None:
    with pytest.raises(ValueError, match="Bayer order"):
        site_black_dn((0, 0, 0, 0), "RGBG", 10)
