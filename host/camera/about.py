"""What is known about a camera and about one exposure of it: everything but the picture."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CameraWanted:
    """What a capture path needs of a camera.

    rows_px, columns_px: least size of one colour plane (a plane has one value for each 2 x 2 quad of the mosaic, so the
    mosaic has twice as many). number: which camera of this computer. raw_size_px: (width, height) of the mosaic to
    insist on, None: the smallest mode that is large enough. bits: of the raw mode, None: the most that it has. hflip,
    vflip: mirror the picture on the sensor (a mask that is mounted the other way round).
    """

    rows_px: int
    columns_px: int
    number: int = 0
    raw_size_px: tuple[int, int] | None = None
    bits: int | None = None
    hflip: bool = False
    vflip: bool = False


@dataclass(frozen=True, slots=True)
class CameraIdentity:
    """The camera that was opened, as it is configured now.

    model: the sensor's name, such as "imx219". serial: what tells this camera from another one of its model, where
    anything does (libcamera's id: the bus it hangs on). rows_px, columns_px: of the mosaic that captures give, without
    padding. bayer: colours of the first quad, row by row: "RGGB", "BGGR", "GRBG" or "GBRG". bits: of a sample, so that
    full scale is 2**bits - 1. packing: "unpacked", "csi2p" or "16 bit". pixel_um: pitch of the mosaic's samples, after
    binning; None where unknown. driver: name and version of what stands behind it ("picamera2 0.3.27"). simulated:
    True for a twin, whose measurements must never be called optical.
    """

    model: str
    serial: str
    rows_px: int
    columns_px: int
    bayer: str
    bits: int
    packing: str
    pixel_um: float | None
    driver: str
    simulated: bool

    @property
    def name(self) -> str:
        """What a sealed bundle and the provenance call it."""
        return f"{self.model} {self.serial}".strip()


@dataclass(frozen=True, slots=True)
class Exposed:
    """Metadata of one exposure, as the camera reports it.

    frame: counts the sensor's frames since the camera was started (a gap is a frame that was not captured). time_s: of
    the exposure's start on the clock of the sensor. exposure_us, gain: what this frame was taken with; the gain is the
    analog one, which is all that acts on raw samples (libcamera applies DigitalGain to pictures made from them).
    black_dn: black level of each of the four sites of a quad, row by row, in digital numbers of this mosaic. white_dn:
    full scale, 2**bits - 1. bayer: as in CameraIdentity. celsius: of the sensor, None where it does not say.
    """

    frame: int
    time_s: float
    exposure_us: float
    gain: float
    black_dn: tuple[float, float, float, float]
    white_dn: int
    bayer: str
    celsius: float | None = None
