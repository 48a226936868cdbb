"""From a mask to the files that a fab, a printer or a display takes, each with a sidecar that states its quantization.

Heights as pictures, a solid, lithography masks, and a phase picture for a display. `export_mask` writes any of them.
"""

from optics.fabrication.export import export_mask, export_paths
from optics.fabrication.gds import write_gds
from optics.fabrication.height_image import read_height_image, write_height_png, write_height_tiff
from optics.fabrication.layout import ExportedFile, FabricationError, prepare_path, unfinished
from optics.fabrication.slm_image import write_slm
from optics.fabrication.stl import write_stl

__all__ = [
    "ExportedFile",
    "FabricationError",
    "export_mask",
    "export_paths",
    "prepare_path",
    "read_height_image",
    "unfinished",
    "write_gds",
    "write_height_png",
    "write_height_tiff",
    "write_slm",
    "write_stl",
]
