"""canopic bench encode | pipeline."""

from dataclasses import asdict

from host.board.errors import BoardError
from host.commands.common import DONE, WRONG_INPUT, expected, out, print_json
from host.storage import StorageError
from host.twin.frame import SceneError
from host.twin.player import TwinError
from models.detector.runtime import ModelError
from optics.archive import BundleError


def encode(as_json: bool) -> int:
    """Print how fast one frame is encoded."""
    from host.bench.encode import as_table, bench_encode

    result = bench_encode()
    if as_json:
        print_json(asdict(result))
    else:
        out().print(as_table(result))
    return DONE


def pipeline(scene: str, frames: int, pace: str, bundle: str, seed: int, as_json: bool) -> int:
    """Print how fast the whole camera is."""
    from host.bench.pipeline import as_table, bench_pipeline

    errors = (SceneError, TwinError, BundleError, ModelError, StorageError, BoardError, ValueError)
    with expected(*errors, status=WRONG_INPUT):
        result = bench_pipeline(scene, frames, pace, bundle, seed)
    if as_json:
        print_json(result.to_dict())
    else:
        out().print(as_table(result))
    return DONE
