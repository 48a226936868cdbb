"""canopic bench encode | pipeline | optics."""

from dataclasses import asdict

from host.board.errors import BoardError
from host.commands.common import DONE, WRONG_INPUT, expected, out, print_json, say
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


def optics(grids: str, rounds: int, tasks: str, as_json: bool) -> int:
    """Print how fast light travels, a line each as soon as it is measured; what is being measured goes to stderr."""
    from host.bench.optics import as_table, bench_optics, missing_peers

    with expected(ValueError, status=WRONG_INPUT):
        try:
            sides = [int(side) for side in grids.split(",")]
        except ValueError:
            raise ValueError(f'--grids: expected whole numbers separated by commas, got "{grids}"') from None
        for missing in missing_peers():
            say(missing)
        lines = []
        for line in bench_optics(sides, rounds, tasks.split(","), progress=lambda what: say(f"measuring {what}")):
            lines.append(line)
            if as_json:
                print_json(line.as_json())
    if not as_json:
        out().print(as_table(lines))
    return DONE
