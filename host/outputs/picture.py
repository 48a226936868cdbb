"""Codes as a picture in a terminal: two cells a character, upper half block, shrunk to fit, faces outlined."""

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

MARK = (64, 255, 96)
SHADES = " .:-=+*#%@"
HIGHEST_CODE = 15


class CodesPicture:
    """A rich renderable of `pixels` uint8 (2 * lines, columns, 3); without colour it draws in shades of text."""

    def __init__(self, pixels: NDArray[np.uint8], colour: bool = True) -> None:
        self._pixels = pixels
        self._colour = colour

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self._colour or console.no_color:
            grey = self._pixels.reshape(self._pixels.shape[0] // 2, 2, -1, 3).mean(axis=(1, 3))
            for row in (grey * (len(SHADES) - 1) / 255).astype(int):
                yield Segment("".join(SHADES[shade] for shade in row))
                yield Segment.line()
            return
        # Neighbours of the same colour share a segment: fewer escape sequences for the terminal to read.
        for upper, lower in zip(self._pixels[::2].tolist(), self._pixels[1::2].tolist(), strict=True):
            start = 0
            pairs = [(tuple(a), tuple(b)) for a, b in zip(upper, lower, strict=True)]
            for column in range(1, len(pairs) + 1):
                if column == len(pairs) or pairs[column] != pairs[start]:
                    above, below = pairs[start]
                    style = Style(
                        color=Color.from_triplet(ColorTriplet(*above)), bgcolor=Color.from_triplet(ColorTriplet(*below))
                    )
                    yield Segment("▀" * (column - start), style)
                    start = column
            yield Segment.line()


def codes_to_pixels(
    codes: NDArray[np.uint8],
    faces: NDArray[np.float32],
    sensor_size_px: tuple[int, int],
    fit_columns: int,
    fit_lines: int,
) -> NDArray[np.uint8]:
    """Codes uint8 (rows, columns, channels) to pixels uint8 (2 * lines, columns, 3) for the given columns and lines.

    The first three channels are red, green and blue (one channel: grey). `faces` float32 (n, 4) x, y, width, height in
    sensor pixels; `sensor_size_px` (rows, columns). Never enlarged: a cell is at least one pixel.
    """
    rows, columns = codes.shape[:2]
    colours = codes[:, :, :3] if codes.shape[2] >= 3 else np.repeat(codes[:, :, :1], 3, axis=2)
    scale = min(1.0, fit_columns / columns, 2 * fit_lines / rows)
    shown_columns = max(1, int(columns * scale))
    shown_rows = max(2, int(rows * scale) // 2 * 2)
    bright = (colours.astype(np.uint16) * 255 // HIGHEST_CODE).astype(np.uint8)
    pixels: NDArray[np.uint8] = np.ascontiguousarray(
        cv2.resize(bright, (shown_columns, shown_rows), interpolation=cv2.INTER_AREA)
    )
    per_row, per_column = shown_rows / sensor_size_px[0], shown_columns / sensor_size_px[1]
    for x, y, width, height in np.asarray(faces, dtype=np.float64).reshape(-1, 4):
        corner = (round(x * per_column), round(y * per_row))
        opposite = (round((x + width) * per_column) - 1, round((y + height) * per_row) - 1)
        cv2.rectangle(pixels, corner, opposite, MARK, 1)
    return pixels
