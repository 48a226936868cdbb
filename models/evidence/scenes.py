"""Face detection in whole scenes for any subject: one architecture, trained and judged on what the subject measures.

Every subject gets the detector of `models.detector` (same layers, same training scenes, same steps), which sees of each
scene what the subject leaves of it:

- an encoding: its codes, at its own pool, in linear light at steady exposure and with the noise of imperfect parts; a
  published encoding of range "per_frame" sees sRGB values, each frame stretched from 0 to 1, without noise;
- "clean" and "pixelate": 8 x 8 means of linear light as sRGB bytes. Both are the same picture here, since that is the
  resolution of the detector's input: the ceiling that an encoding of pool 8 can be held against, no full-size image;
- "blur": a Gaussian of 8 px in linear light, sampled every 8 px as sRGB bytes. At that pitch's Nyquist frequency the
  blur passes 0.8 % of the contrast, so that hardly anything is lost by the sampling.

Test photographs are fitted to the plane and then shrunk until their smallest face is at most 40 px (Tan et al., ICME
2020, do so, since larger faces are encoded less); those with a smaller one stay. The rest of the plane continues the
photograph's outermost pixels, as encodings do beyond their edges. Needs torch once a detector is trained.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.attackers.views import BLUR_SIGMA_PX
from models.detector.archives import FACES, NON_FACES, SCENES, Photograph, archive_path, file_digest, read_scenes
from models.detector.augment import Material
from models.detector.batches import HIGHEST_CODE, noise_recipe, random_batch
from models.detector.cache import RECIPE as SCENE_RECIPE
from models.detector.cache import Picture, Samples, build, cache_folder, default_cache_root, measured
from models.detector.decode import Faces
from models.detector.evaluate import found_in, inputs_of, matches_of, torch_answer
from models.detector.gaussian_encoding import training_material
from models.detector.metrics import Matches, average_precision, bootstrap_interval
from models.detector.scenes import (
    PLAIN_POOL_PX,
    PLANE_COLUMNS_PX,
    PLANE_ROWS_PX,
    Scene,
    linear_to_srgb,
    place,
    plain_image,
    plane_cells,
)
from models.evidence.roc import Scored, roc, scored_boxes
from models.evidence.subjects import Subject
from optics.whole_file import write_whole

if TYPE_CHECKING:
    from models.detector.network import FaceNetwork

# Raise it when the same settings give another result: results of an older recipe are then not reused.
RECIPE = 1
SCENE_SEED = 0
SCENE_THREADS = 2
SIZES_PX = ((12, 16), (16, 24), (24, 40), (40, 64), (64, 120))
BOOTSTRAP_ROUNDS = 300
# True positive rates are given at so many false positives per photograph.
FALSE_PER_PHOTOGRAPH = (0.1, 0.5, 1.0)

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SceneSettings:
    """How a subject's detector is trained and judged.

    scenes: training scenes; steps, batch, learning_rate, widths, seed: see `models.detector.training.Settings`.
    largest_px: a test photograph is shrunk until its smallest face is at most this large.
    """

    scenes: int = 4000
    steps: int = 1500
    batch: int = 16
    learning_rate: float = 3e-3
    widths: tuple[int, int, int] = (24, 48, 72)
    seed: int = 0
    largest_px: float = 40.0


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A test photograph on the plane: the scene, and where it lies (scale, and left and top in plane pixels)."""

    scene: Scene
    scale: float
    left_px: int
    top_px: int

    def ellipses(self, ellipses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ellipses of the photograph (`roc.ellipse_overlaps`), float64 (n, 5), in plane pixels."""
        scale = self.scale
        return ellipses * [scale, scale, 1, scale, scale] + [0, 0, 0, self.left_px, self.top_px]


def blurred_image(radiance: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Linear radiance (480, 640, 3) blurred by a Gaussian of 8 px and sampled in the middle of each cell of 8 px: sRGB
    uint8 (60, 80, 3)."""
    soft = cv2.GaussianBlur(radiance, (0, 0), BLUR_SIGMA_PX, borderType=cv2.BORDER_REPLICATE)
    rows, columns = plane_cells(PLAIN_POOL_PX)
    # Bilinear at an eighth reads the mean of the four pixels round the middle.
    return linear_to_srgb(np.asarray(cv2.resize(soft, (columns, rows), interpolation=cv2.INTER_LINEAR), np.float32))


PICTURES: dict[str, tuple[str, Picture]] = {
    "clean": ("means", plain_image),
    "pixelate": ("means", plain_image),
    "blur": ("blur", blurred_image),
}


def placed(photograph: Photograph, largest_px: float = 40.0) -> Placed:
    """A photograph on the plane by the rule of this module. Faces that are to be ignored do not decide the scale."""
    height, width = photograph.image.shape[:2]
    scale = min(PLANE_COLUMNS_PX / width, PLANE_ROWS_PX / height)
    sides = photograph.boxes[~photograph.ignore, 2:].max(axis=1, initial=0)
    if len(sides) and sides.min() * scale > largest_px:
        scale = largest_px / float(sides.min())
    high, wide = round(height * scale), round(width * scale)
    left, top = (PLANE_COLUMNS_PX - wide) // 2, (PLANE_ROWS_PX - high) // 2
    scene = place(photograph, scale, left, top)
    rows, columns = (top, PLANE_ROWS_PX - top - high), (left, PLANE_COLUMNS_PX - left - wide)
    inside = scene.radiance[top : top + high, left : left + wide]
    filled = np.pad(inside, (rows, columns, (0, 0)), mode="edge")
    return Placed(Scene(filled, scene.boxes, scene.ignore), scale, left, top)


def detect_in_scenes(
    subject: Subject,
    data: Path,
    settings: SceneSettings | None = None,
    cache: Path | None = None,
    report: Report | None = None,
) -> dict[str, Any]:
    """Trains the detector on what `subject` leaves of the training scenes in folder `data` and judges it on the test
    photographs: a JSON object.

    "ap": average precision at IoU 0.5, with a bootstrap interval over photographs; "ap_by_size": the same for faces
    whose larger side lies in a range; "roc": the discrete ROC (`models.evidence.roc`), and "true_positive_rate_at" so
    many false positives per photograph, with intervals; "settings", "rule", "data_sha256", how many photographs and
    faces. cache: where measured scenes, checkpoints and results are kept (None: `default_cache_root`); what is there is
    used again, and an interrupted training goes on. report(what, done, total) is called as it goes.

    Raises DataMissingError without the archives, ValueError for a pool that no detector is made for.
    """
    settings = settings or SceneSettings()
    root = cache or default_cache_root()
    digests = {name: file_digest(archive_path(data, name)) for name in (SCENES, FACES, NON_FACES)}
    folder = root / "scenes" / _key(subject, settings, digests)
    kept = folder / "result.json"
    if kept.is_file():
        result: dict[str, Any] = json.loads(kept.read_text())
        return result | {"subject": subject.name}
    started = time.monotonic()
    network = scene_detector(subject, lambda: training_material(data), digests, settings, root, report)
    result = judged(subject, network, read_scenes(data, "test"), settings, report)
    result |= {"data_sha256": digests, "seconds": round(time.monotonic() - started, 1)}
    write_whole(kept, json.dumps(result, indent=1, allow_nan=False))
    return result


def scene_detector(
    subject: Subject,
    source: Callable[[], Material],
    digests: dict[str, str],
    settings: SceneSettings,
    cache: Path,
    report: Report | None = None,
) -> "FaceNetwork":
    """The detector trained on what `subject` leaves of scenes made from `source()`, which `digests` name in the cache;
    in eval mode. A training that was interrupted goes on. Needs torch."""
    from models.detector.training import Settings, train

    # OpenCV's own threads would wait for each other on small pictures.
    cv2.setNumThreads(1)
    samples = training_samples(subject, source, digests, settings, cache, report)
    checkpoint = cache / "scenes" / _key(subject, settings, digests) / "checkpoint.pt"
    encoded = subject.encoding is not None
    how = Settings(
        steps=settings.steps,
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        warmup=min(Settings.warmup, settings.steps // 5),
        widths=settings.widths,
        seed=settings.seed,
    )

    def done(step: int, loss: float) -> None:
        if report is not None:
            report(f"training, loss {loss:.2f}", step, settings.steps)

    return train(
        lambda rng: random_batch(samples, subject.encoding, rng, settings.batch, encoded=encoded),
        how,
        checkpoint,
        3 if subject.encoding is None else subject.encoding.channels,
        every=max(1, min(100, settings.steps)),
        report=done,
    )


def training_samples(
    subject: Subject,
    source: Callable[[], Material],
    digests: dict[str, str],
    settings: SceneSettings,
    cache: Path,
    report: Report | None = None,
) -> Samples:
    """What `subject` leaves of the training scenes, from the cache or made and kept there."""
    name, picture = PICTURES[subject.name] if subject.encoding is None else ("means", plain_image)
    folder = cache_folder(cache, subject.encoding, digests, SCENE_SEED, subject.light, name)

    def done(count: int) -> None:
        if report is not None:
            report("measuring scenes", min(count, settings.scenes), settings.scenes)

    return build(
        folder, source(), subject.encoding, settings.scenes, SCENE_SEED, done, subject.light, picture, SCENE_THREADS
    )


def found_by(
    subject: Subject, network: "FaceNetwork", scenes: list[Placed], report: Report | None = None
) -> tuple[list[Faces], Samples]:
    """Faces that a subject's detector finds in each of the scenes, and the scenes as measured. Boxes in plane px."""
    picture = PICTURES[subject.name][1] if subject.encoding is None else plain_image
    samples = measured((one.scene for one in scenes), subject.encoding, subject.light, picture)
    encoded = subject.encoding is not None
    answer = torch_answer(network, float(HIGHEST_CODE) if encoded else 255.0)
    inputs = inputs_of(samples, subject.encoding, np.random.default_rng(SCENE_SEED), encoded)
    found = []
    for number, one in enumerate(inputs, 1):
        found += found_in(answer, one[None], samples.cell_px(encoded))
        if report is not None:
            report("test photographs", number, len(inputs))
    return found, samples


def judged(
    subject: Subject,
    network: "FaceNetwork",
    photographs: list[Photograph],
    settings: SceneSettings,
    report: Report | None = None,
) -> dict[str, Any]:
    """What `detect_in_scenes` says of a trained detector on test photographs (see there)."""
    scenes = [placed(one, settings.largest_px) for one in photographs]
    found, samples = found_by(subject, network, scenes, report)
    rng = np.random.default_rng(settings.seed)
    pictures = [scored_boxes(faces, *samples.boxes_of(index)) for index, faces in enumerate(found)]
    curve = roc(pictures)
    rates = {}
    for share in FALSE_PER_PHOTOGRAPH:
        allowed = round(share * len(pictures))
        low, high = bootstrap_interval(pictures, partial(_rate_at, allowed=allowed), rng, BOOTSTRAP_ROUNDS)
        rates[f"{share:g}"] = {"value": curve.rate_at(allowed), "interval_95": [low, high], "false_positives": allowed}
    by_size = [
        {"from_px": low, "to_px": high} | _precision(matches_of(found, samples, (low, high)), rng)
        for low, high in SIZES_PX
    ]
    return {
        "subject": subject.name,
        "subject_digest": subject.digest,
        "photographs": len(photographs),
        "faces": curve.faces,
        "ap": _precision(matches_of(found, samples), rng),
        "ap_by_size": by_size,
        "roc": curve.as_json(),
        "true_positive_rate_at": rates,
        "input": _input_of(subject),
        "rule": f"fitted to {PLANE_ROWS_PX} x {PLANE_COLUMNS_PX} px, then shrunk until the smallest face is at most "
        f"{settings.largest_px:g} px in its larger side; the rest continues the outermost pixels",
        "settings": asdict(settings),
        "parameters": sum(weight.numel() for weight in network.parameters()),
    }


def _input_of(subject: Subject) -> str:
    if subject.encoding is not None:
        rows, columns = plane_cells(subject.encoding.pool)
        return f"codes ({rows}, {columns}, {subject.encoding.channels})"
    if subject.name == "blur":
        return "Gaussian blur of 8 px, sampled every 8 px, sRGB bytes (60, 80, 3)"
    return "8 x 8 means of the unencoded picture, sRGB bytes (60, 80, 3)"


def _precision(matches: list[Matches], rng: np.random.Generator) -> dict[str, Any]:
    faces = sum(one.faces for one in matches)
    if faces == 0:
        return {"value": None, "interval_95": None, "faces": 0}
    interval = bootstrap_interval(matches, average_precision, rng, BOOTSTRAP_ROUNDS)
    return {"value": average_precision(matches), "interval_95": list(interval), "faces": faces}


def _rate_at(pictures: list[Scored], allowed: int) -> float:
    """True positive rate at so many false positives; NaN where a drawn set of pictures has no face."""
    return roc(pictures).rate_at(allowed) if any(one.faces for one in pictures) else float("nan")


def _key(subject: Subject, settings: SceneSettings, digests: dict[str, str]) -> str:
    """Everything that decides a result; "clean" and "pixelate" are one picture here, and so one result."""
    content = {
        "recipe": [RECIPE, SCENE_RECIPE],
        "sees": PICTURES[subject.name][0] if subject.encoding is None else subject.encoding.id,
        "light": subject.light,
        **noise_recipe(subject.encoding),
        "settings": asdict(settings),
        "data": digests,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
