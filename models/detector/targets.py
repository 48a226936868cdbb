"""From boxes to what the network should answer: the inverse of `decode`, in NumPy."""

import numpy as np
from numpy.typing import NDArray

# How strongly a cell next to a peak must be worth it to be taught the face's box as well.
BOX_FROM = 0.5


def make_targets(
    boxes: NDArray[np.float32], ignore: NDArray[np.bool_], rows: int, columns: int, pool_px: int = 8
) -> dict[str, NDArray[np.float32]]:
    """What the network should answer for one scene.

    boxes: float32 (n, 4), x, y, width, height in pixels of the plane that the cells of `pool_px` px cover; ignore:
    bool (n,).
    Returns float32 arrays, cells as the last two axes: "heat" (1, rows, columns), 1 at the cell that holds a face's
    centre and falling off like a Gaussian with the face's size; "care" (1, rows, columns), 0 over ignored faces; "box"
    (4, rows, columns), offset x, offset y, ln width, ln height in cells; "box_weight" (1, rows, columns), where box is
    taught. A face with its centre outside the cells is left out.
    """
    heat = np.zeros((rows, columns), np.float32)
    care = np.ones((rows, columns), np.float32)
    box = np.zeros((4, rows, columns), np.float32)
    weight = np.zeros((rows, columns), np.float32)
    y_cells, x_cells = np.mgrid[0:rows, 0:columns].astype(np.float32)
    for (x, y, width, height), ignored in zip(boxes / np.float32(pool_px), ignore, strict=True):
        centre_x, centre_y = x + width / 2, y + height / 2
        column, row = int(np.floor(centre_x)), int(np.floor(centre_y))
        if ignored:
            care[_span(y, height, rows), _span(x, width, columns)] = 0
            continue
        if not (0 <= row < rows and 0 <= column < columns):
            continue
        spread_x, spread_y = 0.35 + width / 9, 0.35 + height / 9
        near = np.exp(-(((x_cells - column) / spread_x) ** 2 + ((y_cells - row) / spread_y) ** 2) / 2)
        own = (near > BOX_FROM) & (near > weight)
        goal = np.stack(
            [
                centre_x - x_cells - 0.5,
                centre_y - y_cells - 0.5,
                np.full_like(x_cells, np.log(width)),
                np.full_like(x_cells, np.log(height)),
            ]
        )
        box[:, own] = goal[:, own]
        weight[own] = near[own]
        heat = np.maximum(heat, near)
    # A face that is required stays so even where an ignored one overlaps its centre.
    care[heat >= 0.999] = 1
    return {"heat": heat[None], "care": care[None], "box": box, "box_weight": weight[None]}


def _span(start: float, length: float, limit: int) -> slice:
    return slice(int(np.clip(np.floor(start), 0, limit)), int(np.clip(np.ceil(start + length), 0, limit)))
