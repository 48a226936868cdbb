"""What a fresh attacker gets of a crop in the paper's Table 1: sRGB as published, blurred, averaged, or encoded.

Needs torch. Pictures are sRGB values throughout, as in the paper; `models.attackers.views` has the same baselines in
linear light, as a camera has them. Encoded crops come as codes alone, without each image's minimum and maximum, which
the paper's attackers also had (docs/decisions/0034).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from models.encoder.chain import Chain
from models.encoder.looks import encoded_looks
from models.encoder.paper_data import Part
from optics.whole_file import whole_file

# Raise this whenever a view gives other values for the same crops: codes kept by an older recipe are then left alone.
RECIPE = 1
BLUR_SIGMA_PX = 8.0
BLUR_SIDE_PX = 63
PIXEL_PX = 8
BATCH = 256

Images = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class PaperView:
    """`encode`: crops sRGB uint8 (n, 64, 64, 3) to what an attacker gets, uint8 (n, side, side, channels), whose
    largest value is `full_scale`. `digest`: of all that decides it."""

    name: str
    digest: str
    encode: Callable[[Images], Images]
    full_scale: float


def baseline_view(name: str) -> PaperView:
    """ "clean", "blur" (a Gaussian of 8 px on sRGB values, full size) or "pixelate" (means of 8 x 8 px)."""
    encode = {"clean": _clean, "blur": blurred, "pixelate": pixelated}[name]
    return PaperView(name, _digest(f"{name} {RECIPE}".encode()), encode, 255)


def chain_view(name: str, chain: Chain) -> PaperView:
    """What a chain of sRGB values makes of crops, exactly: codes, or, without quantization, values read with 8 bits."""
    chain.eval()
    full_scale = 255 if chain.settings.levels is None else 15
    # Exact looks draw nothing.
    rng = np.random.default_rng(0)

    def encode(crops: Images) -> Images:
        return encoded_looks(chain, crops, 1, None, rng).codes[:, 0]

    with torch.no_grad():
        content = [f"{chain.settings} {RECIPE}".encode(), chain.kernels().numpy().tobytes()]
        if chain.settings.levels is not None:
            content.append(chain.thresholds().numpy().tobytes())
    return PaperView(name, _digest(*content), encode, full_scale)


def blurred(crops: Images) -> Images:
    """sRGB uint8 (n, 64, 64, 3) blurred on its values, edges repeated: the same shape."""
    size = (BLUR_SIDE_PX, BLUR_SIDE_PX)
    soft = [cv2.GaussianBlur(one.astype(np.float32), size, BLUR_SIGMA_PX, borderType=cv2.BORDER_REPLICATE)
            for one in crops]  # fmt: skip
    return np.asarray(np.rint(np.array(soft).reshape(crops.shape)), np.uint8)


def pixelated(crops: Images) -> Images:
    """sRGB uint8 (n, 64, 64, 3) to the means of its values over 8 x 8 px: (n, 8, 8, 3)."""
    count, height, width, colours = crops.shape
    blocks = crops.reshape(count, height // PIXEL_PX, PIXEL_PX, width // PIXEL_PX, PIXEL_PX, colours)
    return np.asarray(np.rint(blocks.mean(axis=(2, 4))), np.uint8)


def codes_file(part: Part, view: PaperView, cache: Path) -> Path:
    """Where a part as `view` has it lies in folder `cache`, once it is encoded."""
    return cache / f"codes_{_digest(view.digest.encode(), part.digest.encode())[:20]}.npy"


def encoded(part: Part, view: PaperView, cache: Path, report: Callable[[int], None]) -> Images:
    """A part as an attacker gets it, uint8 (n, looks, side, side, channels), encoded into `codes_file`.

    Opened as a file that is read where it is needed (`numpy.memmap`): clean pictures of a full rerun take 10 GB.
    """
    path = codes_file(part, view, cache)
    if not path.is_file():
        shape = view.encode(np.zeros((1, 64, 64, 3), np.uint8)).shape[1:]
        with whole_file(path) as partial:
            written = open_memmap(partial, "w+", np.uint8, (len(part), part.looks, *shape))
            done = 0
            for piece in part.pieces():
                flat = np.asarray(piece).reshape(-1, *piece.shape[2:])
                found = [view.encode(flat[start : start + BATCH]) for start in range(0, len(flat), BATCH)]
                written[done : done + len(piece)] = np.concatenate(found).reshape(len(piece), part.looks, *shape)
                done += len(piece)
                report(done)
            written.flush()
    codes: Images = np.load(path, mmap_mode="r")
    return codes


def _clean(crops: Images) -> Images:
    return crops


def _digest(*content: bytes) -> str:
    return hashlib.sha256(b"\0".join(content)).hexdigest()
