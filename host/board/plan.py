"""What a board was told to be: thresholds, geometry, exposure. After a loss the client makes it that again."""

from dataclasses import dataclass

from host.board import protocol
from host.board.assembly import Geometry
from host.board.thresholds import thresholds_crc32, wire_id


@dataclass(frozen=True, slots=True)
class Plan:
    """`dac_codes` are the 15 thresholds; `geometry` is None until armed; `exposure` is (microseconds, gain) or None."""

    encoding_id: str
    dac_codes: tuple[int, ...]
    geometry: Geometry | None = None
    chunk_bytes: int = protocol.CHUNK_BYTES_MAX
    exposure: tuple[float, float] | None = None

    def arm_command(self, geometry: Geometry, max_cells: int) -> protocol.Arm:
        """The command that arms a board which holds up to `max_cells` cells; chunks as small as fit, where too small.

        Raises ValueError where the geometry or the chunks do not fit the board or the protocol.
        """
        chunk_bytes = max(self.chunk_bytes, geometry.smallest_chunk_bytes())
        if not 0 < geometry.cells <= max_cells or chunk_bytes > protocol.CHUNK_BYTES_MAX:
            raise ValueError(
                f"the board measures 1 to {max_cells} cells in chunks of up to {protocol.CHUNK_BYTES_MAX} bytes, not"
                f" {geometry} in chunks of {chunk_bytes}: use fewer cells (pool more) or smaller chunks"
            )
        if max(geometry.rows, geometry.columns) > 0xFFFF or geometry.channels > 0xFF:
            raise ValueError(f"{geometry} cannot be armed: at most 65535 rows and columns, and 255 channels")
        return protocol.Arm(
            encoding_id=wire_id(self.encoding_id),
            thresholds_crc=thresholds_crc32(self.dac_codes),
            rows=geometry.rows,
            columns=geometry.columns,
            channels=geometry.channels,
            chunk_bytes=chunk_bytes,
        )
