"""From a mosaic to codes inside the boundary: planes, centre, maximum over cells, thresholds; then all of it zeroed."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from calibration.bayer import sites
from host.board.thresholds import DAC_FULL_SCALE, dac_codes_to_fractions, thresholds_to_dac_codes
from host.camera.about import Exposed
from host.seal.sealing import sealed_gains
from optics.bundle import Bundle
from optics.encoding import COLOURS, THROUGHPUT_TOLERANCE, quantize

# Codes uint8 of pooled values, float32, in fractions of full scale and of any shape.
Quantizer = Callable[[NDArray[np.float32]], NDArray[np.uint8]]


class NotMeasurable(ValueError):  # noqa: N818 - reads as what happened
    """One camera behind one mask cannot measure this bundle's encoding. The message says why."""


def check_measurable(bundle: Bundle) -> None:
    """Raises NotMeasurable for an encoding that one camera behind one passive mask cannot be."""
    encoding = bundle.encoding
    if encoding.range != "fixed":
        raise NotMeasurable(
            f'a camera measures with range "fixed", the bundle has "{encoding.range}", whose full scale would tell '
            "each frame's least and most light"
        )
    if encoding.filters != 1:
        raise NotMeasurable(
            f"one camera has one mask in front of it; this encoding has {encoding.filters} filters, which need as many "
            "masks: use path board, or an encoding with one filter"
        )
    if encoding.kernels.min() < 0 or encoding.throughput.max() > 1 + THROUGHPUT_TOLERANCE:
        raise NotMeasurable(
            "one passive mask cannot take light away or add some; this encoding's kernel has negative taps or passes "
            "more than all light: use path board with two sub-apertures, or a realisable kernel"
        )


def digital(bundle: Bundle) -> Quantizer:
    """The thresholds of path camera: those that the board would have (DAC codes), counted as it counts: a code is the
    number of thresholds at or below the value."""
    thresholds = dac_codes_to_fractions(thresholds_to_dac_codes(bundle.encoding.thresholds))
    return lambda cells: quantize(cells, thresholds)


def levels_of(cells: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Pooled values as codes of the board's DAC, uint16 of the same shape: what path loop drives through it."""
    scaled = cells * np.float32(DAC_FULL_SCALE)
    np.rint(scaled, out=scaled)
    np.clip(scaled, 0, DAC_FULL_SCALE, out=scaled)
    levels: NDArray[np.uint16] = scaled.astype(np.uint16)
    scaled.fill(0)
    return levels


class Measuring:
    """Makes codes of mosaics, in memory of its own that is zero whenever `codes` is not running.

    The bundle's plane (rows_px x columns_px) is the centre of the camera's; each colour is scaled by its sealed gain.
    Codes are uint8 (rows, columns, 3), channel = colour, as the encoder orders the channels of one filter.
    """

    def __init__(self, bundle: Bundle, quantizer: Quantizer) -> None:
        """Raises NotMeasurable."""
        check_measurable(bundle)
        self._quantizer = quantizer
        self._gains = sealed_gains(bundle) or (1.0, 1.0, 1.0)
        self._pool = pool = bundle.encoding.pool
        rows, columns = bundle.rows_px // pool, bundle.columns_px // pool
        self._size = (bundle.rows_px, bundle.columns_px)
        self._plane = np.zeros((rows * pool, columns * pool), np.float32)
        self._site = np.zeros_like(self._plane)
        self._rows = np.zeros((rows, columns * pool), np.float32)
        self._cells = np.zeros((rows, columns, COLOURS), np.float32)
        self.shape = self._cells.shape

    @property
    def empty(self) -> bool:
        """Whether nothing of a frame is left."""
        return not any(part.any() for part in (self._plane, self._site, self._rows, self._cells))

    def codes(self, mosaic: NDArray[np.uint16], about: Exposed) -> NDArray[np.uint8]:
        """Codes of a mosaic (rows, columns) of digital numbers, at least twice the bundle's plane on each side.

        Raises NotMeasurable for a smaller one, and whatever the quantizer raises; the memory is zeroed in any case.
        """
        try:
            self._pooled(mosaic, about)
            return self._quantizer(self._cells)
        finally:
            for part in (self._plane, self._site, self._rows, self._cells):
                part.fill(0)

    def _pooled(self, mosaic: NDArray[np.uint16], about: Exposed) -> None:
        """Fill the cells: black subtracted, colours apart, maximum over each cell."""
        quads_down, quads_right = mosaic.shape[0] // 2, mosaic.shape[1] // 2
        if quads_down < self._size[0] or quads_right < self._size[1]:
            raise NotMeasurable(
                f"the camera's colour planes have {quads_down} x {quads_right} pixels, the bundle needs "
                f"{self._size[0]} x {self._size[1]}: choose a larger raw mode (camera.raw_size_px)"
            )
        # The centre of the bundle's plane on the camera's, in whole quads: the Bayer order stays.
        top, left = (quads_down - self._size[0]) // 2, (quads_right - self._size[1]) // 2
        height, width = self._plane.shape
        centre = mosaic[2 * top : 2 * (top + height), 2 * left : 2 * (left + width)]
        rows, columns = self._rows.shape[0], self._cells.shape[1]
        for colour, places in enumerate(sites(centre, about.bayer).values()):
            self._plane.fill(0)
            for site in places:
                black = about.black_dn[site]
                np.subtract(centre[site // 2 :: 2, site % 2 :: 2], np.float32(black), out=self._site)
                self._site *= np.float32(self._gains[colour] / ((about.white_dn - black) * len(places)))
                self._plane += self._site
            np.maximum.reduce(self._plane.reshape(rows, self._pool, width), axis=1, out=self._rows)
            np.maximum.reduce(self._rows.reshape(rows, columns, self._pool), axis=2, out=self._cells[:, :, colour])
