"""The cells that presence works on: an encoding's own up to 16 px, larger ones in parts, and what is enough there.

The rules about regions (how far apart, how smooth, how large) are about people, but are counted in cells. They were
made for cells of 8 px and hold up to 16; a person in cells of 32 px is a handful of them, which a mean over 3 x 3
cells alone would drown. Measured in docs/decisions/0041-a-private-bundle-for-rooms.md.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.presence.room import PresenceConfig

# The cells that the settings of PresenceConfig are about, and the largest that presence works on, px.
SETTINGS_CELL_PX = 8
LARGEST_CELL_PX = 16


def parts_of_a_cell(pool: int) -> int:
    """Into how many parts per side a cell of `pool` px is divided."""
    return -(-pool // LARGEST_CELL_PX)


def divided(codes: NDArray[np.uint8], parts: int) -> NDArray[np.uint8]:
    """Codes (rows, columns, channels) with each cell as `parts` x `parts` equal ones."""
    return codes if parts == 1 else codes.repeat(parts, axis=0).repeat(parts, axis=1)


def settings_for(config: PresenceConfig, cell_px: float) -> PresenceConfig:
    """Scores and sizes of regions for cells of `cell_px`: fewer of larger ones differ where somebody stands.

    In proportion to the side, not the area: smoothing over neighbours takes its share from small regions. Cells of
    less than 8 px keep what those of 8 px need.
    """
    share = min(1.0, SETTINGS_CELL_PX / cell_px)
    return replace(
        config,
        present_score=config.present_score * share,
        absent_score=config.absent_score * share,
        least_cells=max(1, round(config.least_cells * share + 0.01)),
    )
