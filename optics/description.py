"""What is in a bundle, for people and for JSON, and its encoding as plain arrays."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from optics.bundle import SCHEMA, Bundle
from optics.encoding import BITS, THROUGHPUT_TOLERANCE, Encoding

ONE_MASK, PAIR, NONE = "one mask", "a pair of masks", "no mask can"


def built_with(encoding: Encoding) -> str:
    """What a filter's optics need: ONE_MASK, PAIR (PSF+ minus PSF-, see `optics.signed`) or NONE, at this scale.

    A passive mask passes no more than all light, and no negative light. A pair has two sub-apertures that share the
    light, so it can do every kernel whose taps, without their signs, sum to one at most. What is beyond that needs
    amplification behind the sensor: the same kernel divided by that sum, with an exposure that is longer by as much.
    With the range "per_frame" there are no comparators that could do it: they have one reference voltage.
    """
    if encoding.range != "fixed":
        return NONE
    if encoding.realisable:
        return ONE_MASK
    light = np.abs(encoding.kernels).sum(axis=(1, 2), dtype=np.float64).max()
    return PAIR if light <= 1 + THROUGHPUT_TOLERANCE else NONE


def export_encoding(bundle: Bundle, path: str | Path) -> None:
    """Write the encoding as plain arrays to an .npz file that `numpy.load` reads without pickle.

    kernels float32 (filters, height, width), to be used by true convolution; thresholds float32 (15,), fractions of
    full scale; pool int64 (); range text (), "fixed" or "per_frame".
    """
    encoding = bundle.encoding
    with Path(path).open("wb") as file:
        np.savez(
            file,
            kernels=encoding.kernels,
            thresholds=encoding.thresholds,
            pool=np.array(encoding.pool, dtype=np.int64),
            range=np.array(encoding.range),
        )


def describe(bundle: Bundle) -> dict[str, Any]:
    """What is in a bundle, for people and for JSON: ids, geometry, levels, realisability, models, evidence."""
    encoding = bundle.encoding
    levels = encoding.effective_levels
    return {
        "id": bundle.id,
        "schema": SCHEMA,
        "encoding": {
            "id": encoding.id,
            "filters": encoding.filters,
            "kernel_rows_px": encoding.kernels.shape[1],
            "kernel_columns_px": encoding.kernels.shape[2],
            "pool_px": encoding.pool,
            "range": encoding.range,
            "bits": BITS,
            "effective_levels": levels,
            "levels": f"{BITS} bits, {levels} effective level{'s' if levels > 1 else ''}",
            "thresholds": [round(float(level), 6) for level in encoding.thresholds],
            "throughput": [round(float(share), 6) for share in encoding.throughput],
            "realisable": encoding.realisable,
            "built_with": built_with(encoding),
        },
        "sensor": {
            "rows_px": bundle.rows_px,
            "columns_px": bundle.columns_px,
            "cell_rows": bundle.rows_px // encoding.pool,
            "cell_columns": bundle.columns_px // encoding.pool,
            "channels": encoding.channels,
        },
        "models": {
            name: {
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                **{key: value for key, value in bundle.metadata[name].items() if key != "card"},
            }
            for name, content in sorted(bundle.models.items())
        },
        "mask": None if bundle.mask is None else bundle.mask.document,
        "calibration": None if bundle.calibration is None else bundle.calibration.document,
        "evidence": dict(bundle.evidence),
    }
