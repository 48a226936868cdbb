"""Writes archives of the shared ones' form: a tar file of CSV tables and JPEG pictures."""

import csv
import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Rows = Sequence[Mapping[str, str]]


def write_archive(path: Path, tables: Mapping[str, Rows], pictures: Mapping[str, NDArray[np.uint8]]) -> None:
    """tables: rows by file name, with the same columns in each. pictures: sRGB (height, width, 3) by file name."""
    with tarfile.open(path, "w") as tar:
        for name, rows in tables.items():
            text = io.StringIO()
            writer = csv.DictWriter(text, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
            _add(tar, name, text.getvalue().encode())
        for name, picture in pictures.items():
            written, jpeg = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
            assert written
            _add(tar, name, jpeg.tobytes())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    about = tarfile.TarInfo(name)
    about.size = len(content)
    tar.addfile(about, io.BytesIO(content))
