"""From a mask to the files that a fab, a printer or a display takes, each with a sidecar and its stated quantization."""

from optics.fabrication.export import export_mask
from optics.fabrication.height_image import read_height_image, write_height_png, write_height_tiff
from optics.fabrication.layout import ExportedFile, FabricationError
from optics.fabrication.stl import write_stl

__all__ = [
    "ExportedFile",
    "FabricationError",
    "export_mask",
    "read_height_image",
    "write_height_png",
    "write_height_tiff",
    "write_stl",
]
