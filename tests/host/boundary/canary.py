"""A pattern that nothing else looks like, and a search that finds it in any memory, however it is scaled or noisy."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS, COLUMNS = 480, 640
DARK, BRIGHT = 40, 220
# Every pixel is dark or bright at random, so runs of 48 pixels are as good as unique (2**48 of them), and whether a
# pixel is above its neighbourhood's mean survives noise, gamma, gain and black level.
_BLOCK, _WORD = 64, 48
_CHUNK = 1 << 24
SAMPLES = (np.uint8, np.uint16, np.float32, np.float64)
# Neighbours in a plane; in a row of a mosaic (two colours); in an image with interleaved colours.
STRIDES = (1, 2, 3)
_LEAST_CORRELATION = 0.9


class Canary:
    """The pattern, uint8 (480, 640), and where it is found."""

    def __init__(self, seed: int = 20) -> None:
        self.bits = np.random.default_rng(seed).random((ROWS, COLUMNS)) < 0.5
        self.picture = np.where(self.bits, BRIGHT, DARK).astype(np.uint8)
        windows = np.lib.stride_tricks.sliding_window_view(self.bits, _WORD, axis=1).reshape(-1, _WORD)
        words = _words(windows)
        order = np.argsort(words)
        self._known, self._place = words[order], order

    def found_in(self, data: bytes) -> bool:
        """Whether any 64 neighbouring pixels are in these bytes: as uint8, uint16, float32 or float64, in a plane, a
        mosaic or an interleaved picture, scaled and noisy as may be (normalised correlation of 0.9 or more); or any 16
        of some rows exactly."""
        return self._correlates(data) or self._literal(data)

    def _correlates(self, data: bytes) -> bool:
        for dtype in SAMPLES:
            size = np.dtype(dtype).itemsize
            for stride in STRIDES:
                span = _BLOCK * stride
                values = np.frombuffer(data, dtype, len(data) // (size * span) * span)
                if self._blocks(values.reshape(-1, _BLOCK, stride)[:, :, 0]):
                    return True
        return False

    def _blocks(self, blocks: NDArray[Any]) -> bool:
        with np.errstate(all="ignore"):
            # Most of memory is zero, or text: a block that does not change from its first to its last quarter is none.
            lively = blocks[(blocks[:, :16] != blocks[:, 48:]).any(axis=1)]
            if lively.dtype.kind == "f":
                lively = lively[(np.abs(lively) < 1e30).all(axis=1)]  # NaN and infinity are not
            if not len(lively):
                return False
            above = lively > lively.mean(axis=1, keepdims=True, dtype=np.float64 if lively.itemsize > 4 else np.float32)
        words = _words(above[:, :_WORD])
        at = np.minimum(np.searchsorted(self._known, words), len(self._known) - 1)
        for index in np.flatnonzero(self._known[at] == words):
            row, column = divmod(int(self._place[at[index]]), COLUMNS - _WORD + 1)
            expected = self.bits[row, column : column + _BLOCK].astype(np.float64)
            got = lively[index, : len(expected)].astype(np.float64)
            if np.corrcoef(expected, got)[0, 1] >= _LEAST_CORRELATION:
                return True
        return False

    def _literal(self, data: bytes) -> bool:
        return any(needle in data for needle in self.needles())

    def needles(self) -> Iterator[bytes]:
        """Runs of 16 samples of two rows: uint8, 10 and 16 bits in uint16, float32 in sRGB and linear."""
        for row in (100, 300):
            run = self.picture[row, 200:216]
            share = run.astype(np.float32) / np.float32(255)
            linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
            yield run.tobytes()
            yield np.repeat(run, 3).tobytes()
            yield np.rint(linear * 1023).astype(np.uint16).tobytes()
            yield (run.astype(np.uint16) * 257).tobytes()
            yield share.tobytes()
            yield linear.astype(np.float32).tobytes()


def _words(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Bits (n, 48) as numbers (n,)."""
    packed = np.packbits(bits, axis=1)
    wide = np.zeros((len(bits), 8), np.uint8)
    wide[:, : packed.shape[1]] = packed
    return wide.view(np.uint64).ravel()


def memory(pid: int) -> Iterator[bytes]:
    """The memory of a process that it could have written to, in pieces. Raises PermissionError where it is guarded."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_, name = [*line.split(maxsplit=5), ""][:6]
            if not rights.startswith("rw") or name in ("[vvar]", "[vsyscall]"):
                continue
            start, end = (int(edge, 16) for edge in span.split("-"))
            for at in range(start, end, _CHUNK):
                # A little of the next piece, so that nothing is cut in two.
                length = min(end - at, _CHUNK + 8 * _BLOCK * max(STRIDES))
                try:
                    yield os.pread(file.fileno(), length, at)
                except OSError:
                    continue  # unmapped meanwhile, or a device's


def descendants(pid: int) -> list[int]:
    """Processes that a process started, and those that they did."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
    found, grown = [pid], True
    while grown:
        more = [child for child, parent in parents.items() if parent in found and child not in found]
        found += more
        grown = bool(more)
    return found[1:]
