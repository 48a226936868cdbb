"""Raw buffers of a camera to mosaics of digital numbers: what every byte of a row means, and which bytes are padding.

A raw stream is rows of bytes, each `stride` long, of which the first carry samples:

    8 bit            one byte a sample
    10, 12, 14 bit   two bytes a sample, little endian, upper bits 0 ("unpacked", SRGGB10)
    10 bit CSI2P     five bytes for four samples: the upper eight bits of each, then a byte with the lowest two bits of
                     all four, the first sample in the lowest bits (MIPI CSI-2, RAW10)
    12 bit CSI2P     three bytes for two samples: the upper eight bits of each, then a byte with the lowest four bits of
                     both, the first sample in the lower half (MIPI CSI-2, RAW12)
    16 bit           two bytes a sample, little endian, the sensor's bits at the upper end (a Pi 5 gives these)

MIPI Alliance Specification for CSI-2, section "RAW Image Data"; the same layouts are written out in the Linux kernel's
documentation of V4L2_PIX_FMT_SRGGB10P and V4L2_PIX_FMT_SRGGB12P.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from host.camera.errors import CameraLost, CameraUnsuitable

_FORMAT = re.compile(r"S(?P<bayer>RGGB|BGGR|GRBG|GBRG)(?P<bits>8|10|12|14|16)(?P<packed>_CSI2P)?")
# Samples and bytes of one group of a packed row, by bits of a sample.
_GROUPS = {10: (4, 5), 12: (2, 3)}
# Which site of a quad (0..3, row by row) holds red, green in red's row, green in blue's row, blue.
_SITES = {"RGGB": (0, 1, 2, 3), "GRBG": (1, 0, 3, 2), "GBRG": (2, 3, 0, 1), "BGGR": (3, 2, 1, 0)}
# libcamera gives black levels for samples of 16 bits (control SensorBlackLevels).
_BLACK_BITS = 16


@dataclass(frozen=True, slots=True)
class RawFormat:
    """How the samples of one raw stream are stored.

    name: as libcamera calls it. bayer: colours of the first quad, row by row. bits: of a sample once it is unpacked.
    packing: "unpacked", "csi2p" or "16 bit". shift: by how many bits a stored sample is moved down.
    """

    name: str
    bayer: str
    bits: int
    packing: str
    shift: int = 0

    @property
    def white_dn(self) -> int:
        """Full scale in digital numbers."""
        return int(2**self.bits - 1)

    def row_bytes(self, columns_px: int) -> int:
        """Bytes of a row that carry samples; the rest of the stride is padding."""
        if self.packing == "csi2p":
            samples, size = _GROUPS[self.bits]
            return -(-columns_px // samples) * size
        return columns_px * (1 if self.bits == 8 and not self.shift else 2)


def raw_format(name: str, sensor_bits: int | None = None) -> RawFormat:
    """The layout that libcamera's format name stands for.

    sensor_bits: bit depth of the sensor's mode; samples of a 16 bit stream are moved down to it. Raises
    CameraUnsuitable for a format that cannot be read here, saying what to do.
    """
    found = _FORMAT.fullmatch(name)
    if found is None:
        raise CameraUnsuitable(f"the camera gives raw samples as {name}, {_why_not(name)}")
    bits, packed = int(found["bits"]), found["packed"] is not None
    if packed and bits not in _GROUPS:
        raise CameraUnsuitable(f"the camera gives raw samples as {name}; packed samples are read with 10 or 12 bits")
    if bits == 16:
        depth = sensor_bits if sensor_bits is not None and 8 <= sensor_bits <= 16 else 16
        return RawFormat(name, found["bayer"], depth, "16 bit", 16 - depth)
    return RawFormat(name, found["bayer"], bits, "csi2p" if packed else "unpacked")


def _why_not(name: str) -> str:
    if "PISP_COMP" in name:
        return (
            "which a Pi 5 compresses with loss: ask for an uncompressed mode (camera.bits 10 or 12 in the"
            " configuration; `rpicam-hello --list-cameras` lists the modes)"
        )
    if re.fullmatch(r"R\d+(_CSI2P)?|MONO\w*", name):
        return "without colours: a monochrome sensor has no colour planes. Use a sensor with a Bayer filter"
    return "which is no Bayer format known here: use a Raspberry Pi camera with a Bayer sensor (imx219, imx477, imx708)"


def unpack(
    buffer: NDArray[np.uint8], form: RawFormat, size_px: tuple[int, int], stride: int, out: NDArray[np.uint16]
) -> None:
    """Write the mosaic of a raw buffer into `out`, uint16 (rows, columns) of digital numbers, padding left out.

    buffer: uint8, the mapped buffer (n,) or picamera2's array (rows, stride); it is not changed. size_px: (width,
    height) of the mosaic. stride: bytes from one row to the next. Raises CameraLost where the buffer cannot hold such a
    picture or a sample is above full scale: what came is then not what was configured.
    """
    columns, rows = size_px
    used = form.row_bytes(columns)
    if out.shape != (rows, columns) or out.dtype != np.uint16:
        raise ValueError(f"out must be uint16 {(rows, columns)}, got {out.dtype} {out.shape}")
    if buffer.dtype != np.uint8 or stride < used or buffer.size < (rows - 1) * stride + used:
        raise CameraLost(
            f"a raw buffer of {buffer.size} bytes ({buffer.dtype}) with rows of {stride} cannot hold {columns} x {rows}"
            f" samples of {form.name}: the camera's configuration has changed under the program; restart it"
        )
    flat = buffer.reshape(-1)
    lines: NDArray[np.uint8] = np.lib.stride_tricks.as_strided(flat, (rows, used), (stride, 1), writeable=False)
    if form.packing == "csi2p":
        _unpack_groups(lines, form.bits, out)
    elif used == columns:
        np.copyto(out, lines)
    elif form.shift:
        np.right_shift(lines.view("<u2"), form.shift, out=out)
    else:
        np.copyto(out, lines.view("<u2"))
    if form.bits < 16 and int(out.max(initial=0)) > form.white_dn:
        out.fill(0)
        raise CameraLost(
            f"raw samples above {form.white_dn}: they are not the {form.name} that the camera was configured for"
        )


def _unpack_groups(lines: NDArray[np.uint8], bits: int, out: NDArray[np.uint16]) -> None:
    samples, size = _GROUPS[bits]
    low = bits - 8
    groups = lines.reshape(out.shape[0], -1, size)
    # What is left of a picture in working memory is wiped like the picture itself.
    part = np.empty(groups.shape[:2], np.uint16)
    for index in range(samples):
        target = out[:, index::samples]
        count = target.shape[1]
        np.right_shift(groups[:, :, samples], index * low, out=part)
        np.bitwise_and(part, 2**low - 1, out=part)
        np.left_shift(groups[:, :count, index], low, out=target, dtype=np.uint16)
        np.bitwise_or(target, part[:, :count], out=target)
    part.fill(0)


def site_black_dn(
    levels: tuple[float, float, float, float], bayer: str, bits: int
) -> tuple[float, float, float, float]:
    """Black level of the four sites of a quad, row by row, in digital numbers of `bits` bits.

    levels: libcamera's SensorBlackLevels, for samples of 16 bits, in the order red, green in red's row, green in blue's
    row, blue, whatever the sensor's order is. Raises ValueError for another order than a Bayer one.
    """
    if bayer not in _SITES:
        raise ValueError(f"a Bayer order is one of {', '.join(_SITES)}, got {bayer!r}")
    out = [0.0] * 4
    for level, site in zip(levels, _SITES[bayer], strict=True):
        out[site] = level / 2 ** (_BLACK_BITS - bits)
    return out[0], out[1], out[2], out[3]
