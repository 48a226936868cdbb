"""Writes the fuzzers' seed corpora from the golden vectors.

Usage: make_seeds.py GOLDEN_VECTORS DECODER_DIRECTORY CORE_DIRECTORY.
"""

import sys
from pathlib import Path


def main(vectors: Path, decoder: Path, core: Path) -> None:
    """One seed for each frame: its bytes on the wire for the decoder, its type and payload for the core."""
    for directory in (decoder, core):
        directory.mkdir(parents=True, exist_ok=True)
    for number, line in enumerate(vectors.read_text(encoding="utf-8").splitlines()):
        words = line.split()
        if not words or words[0] not in ("frame", "frame-bad"):
            continue
        (decoder / f"vector{number}").write_bytes(b"\xff" + bytes.fromhex(words[-1]))
        if words[0] == "frame" and int(words[1], 16) < 0x40:
            payload = b"" if words[3] == "-" else bytes.fromhex(words[3])
            message = bytes.fromhex(words[1]) + len(payload).to_bytes(2, "little") + payload
            for armed in (b"\x00", b"\x01"):
                (core / f"vector{number}-{armed.hex()}").write_bytes(
                    armed + b"\x03\x01\x04" + b"\x00" + message + b"\x02\xff"
                )


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
