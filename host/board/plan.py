"""What a board was told to be: thresholds, geometry, exposure. After a loss the client makes it that again."""

from dataclasses import dataclass

from host.board import protocol
from host.board.assembly import Geometry
from host.board.errors import ThresholdMismatch
from host.board.thresholds import thresholds_crc32, wire_id


@dataclass(frozen=True, slots=True)
class Plan:
    """`dac_codes` are the 15 wanted thresholds and `trims` are added to them on the board; `geometry` is None until
    armed; `exposure` is (microseconds, gain) or None.
    """

    encoding_id: str
    dac_codes: tuple[int, ...]
    trims: tuple[int, ...] = (0,) * protocol.COMPARATORS
    geometry: Geometry | None = None
    chunk_bytes: int = protocol.CHUNK_BYTES_MAX
    exposure: tuple[float, float] | None = None

    @property
    def thresholds_crc(self) -> int:
        """CRC-32 of wanted codes and trims."""
        return thresholds_crc32(self.dac_codes, self.trims)

    def require_crc(self, did: str, crc: int) -> None:
        """Raise ThresholdMismatch where the board `did` (received, committed, ...) thresholds with another CRC-32."""
        if crc != self.thresholds_crc:
            raise ThresholdMismatch(f"the board {did} CRC-32 {crc:08x}, {self.thresholds_crc:08x} was sent")

    def require_readback(self, found: protocol.ReadThresholdsReply) -> None:
        """Raise ThresholdMismatch, naming the channel, where the board does not read these thresholds back."""
        for channel, (code, trim) in enumerate(zip(self.dac_codes, self.trims, strict=True)):
            if found.readback[channel] != code + trim:
                text = f"DAC code {found.readback[channel]} was read back, {code} with trim {trim} was written"
                raise ThresholdMismatch(text, channel)
        self.require_crc("reads back", found.crc32)

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
            thresholds_crc=self.thresholds_crc,
            rows=geometry.rows,
            columns=geometry.columns,
            channels=geometry.channels,
            chunk_bytes=chunk_bytes,
        )
