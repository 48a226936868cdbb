"""What is compared: clean faces, conventional ways to hide them, the paper's encoders, hand-made masks, and ours."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.attackers.views import View, blurred_view, clean_view, pixelated_view
from models.detector.batches import noise_recipe, noisy_codes
from models.detector.gaussian_encoding import gaussian_kernel
from models.detector.scenes import srgb_to_linear
from models.encoding_file import EncodingFileError, read_arrays, read_encoding_and_light
from optics.archive import BundleError
from optics.bundle import read_bundle, resolve_bundle
from optics.encoding import THRESHOLDS, Encoding, Range, pooled, quantize
from optics.exposure import steady_exposure

Kind = Literal["baseline", "paper", "handmade", "ours"]
Light = Literal["linear", "srgb"]
Build = Literal["mask", "pair", "no", "-"]

AGAINST = ("clean", "blur", "pixelate", "paper", "handmade")
BASELINES = {"clean": clean_view, "blur": blurred_view, "pixelate": pixelated_view}
# Raise it when what a subject's `look` gives changes: runs of another recipe are then not reused.
RECIPE = 1
HIGHEST_CODE = 15
# The paper's thresholds are in codes, the project's in fractions of full scale.
PAPER_FULL_SCALE = np.float32(15)
PAPER_FILE = (
    "expected the paper's released parameters, an .npz file with CONFIG__kernels (filters, height, width) and "
    "CONFIG__thresholds (15,): give it as --paper FILE"
)
# The highest threshold of a fixed range meters the exposure (`models.encoder.chain.METERED_AT`).
METERED_AT = 0.9
# Hand-made masks: width in px, range, and the thresholds that make the codes of faces about equally frequent. They are
# the rounded quantiles of the pooled values of the first 500 training faces of other people. With a fixed range the
# threshold that meters the exposure comes on top: 2 % of the cells reach it.
HANDMADE: tuple[tuple[float, Range, tuple[float, ...]], ...] = (
    (8.0, "per_frame", (0.48,)),
    (8.0, "per_frame", (0.36, 0.60)),
    (8.0, "fixed", (0.37,)),
    (8.0, "fixed", (0.27, 0.48)),
)


class SubjectError(Exception):
    """An encoding or a word that cannot be compared. The message says which, why, and what was expected."""


@dataclass(frozen=True, eq=False)
class Subject:
    """One thing that is compared.

    name: as tables show it. kind: baseline (clean, blur, pixelate), paper, handmade or ours. encoding: None for a
    baseline. light: what the encoding sees of an sRGB crop: its values / 255 ("srgb", as the paper's encoders were
    published) or linear light. source: where it came from, for people.
    """

    name: str
    kind: Kind
    encoding: Encoding | None = None
    light: Light = "linear"
    source: str = ""

    @property
    def noisy(self) -> bool:
        """Whether looks carry the noise of parts: those of encodings that parts can do, with a fixed range."""
        return self.encoding is not None and self.encoding.range == "fixed"

    @property
    def build(self) -> Build:
        """How it could be built: one "mask" per filter, a "pair" of masks whose signals are subtracted, or "no".

        A range that needs each frame's minimum and maximum cannot be built in front of comparators, and no mask acts on
        sRGB values. A pair's kernel is meant up to a positive factor, since exposure brings its signal into the range
        (`optics.signed`).
        """
        if self.encoding is None:
            return "-"
        if self.encoding.range != "fixed" or self.light != "linear":
            return "no"
        return "mask" if self.encoding.realisable else "pair"

    @property
    def full_scale(self) -> float:
        """The largest value of its looks."""
        return 255.0 if self.encoding is None else float(HIGHEST_CODE)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides its looks: equal subjects share their runs, whatever they are called."""
        content = {
            "recipe": RECIPE,
            "view": self.name if self.encoding is None else self.encoding.id,
            "light": self.light,
            "noisy": self.noisy,
            **noise_recipe(self.encoding),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def look(self, crops: NDArray[np.uint8], rng: np.random.Generator | None = None) -> View:
        """What an attacker gets of crops, sRGB uint8 (n, side, side, 3): one measurement of each.

        An encoding gives codes, uint8 (n, side // pool, side // pool, channels). With a fixed range each crop is
        exposed as if it were the whole scene (`steady_exposure`: 2 % of its cells at the highest code), and with `rng`
        its codes pass imperfect parts (sensor noise, comparator offsets and noise: `noisy_codes`). Without `rng` there
        is no noise.
        """
        if self.encoding is None:
            return BASELINES[self.name](crops)
        codes = [self._codes(self.encoding, crop, rng) for crop in crops]
        if not codes:
            side = crops.shape[1] // self.encoding.pool
            return View(self.name, np.zeros((0, side, side, self.encoding.channels), np.uint8), HIGHEST_CODE)
        return View(self.name, np.stack(codes), HIGHEST_CODE)

    def _codes(self, encoding: Encoding, crop: NDArray[np.uint8], rng: np.random.Generator | None) -> NDArray[np.uint8]:
        light = srgb_to_linear(crop) if self.light == "linear" else crop.astype(np.float32) / np.float32(255)
        cells = pooled(light, encoding, threads=1)
        if encoding.range == "per_frame":
            return quantize(cells, encoding.thresholds)
        exposure = steady_exposure(cells, encoding.thresholds)
        exposed = cells * np.float32(exposure)
        if rng is None:
            return quantize(exposed, encoding.thresholds)
        return noisy_codes(exposed, encoding, rng, exposure, float(light.mean()))


def resolve_subjects(encodings: list[str], against: list[str], paper_file: Path | None = None) -> list[Subject]:
    """The subjects that words stand for, in a fixed order: baselines, paper, hand-made, then `encodings` as given.

    encodings: names of shipped bundles, bundle files, or .npz files with kernels, thresholds, pool and range.
    against: words of `AGAINST`. paper_file: the paper's released parameters, needed for the word "paper".
    Raises SubjectError for an unknown word, a missing or unreadable file, or the same name twice.
    """
    unknown = [word for word in against if word not in AGAINST]
    if unknown:
        raise SubjectError(f'cannot compare against "{unknown[0]}": known are {", ".join(AGAINST)}')
    subjects = [Subject(word, "baseline", source="conventional") for word in BASELINES if word in against]
    if "paper" in against:
        if paper_file is None:
            raise SubjectError('comparing against "paper" needs the paper\'s released parameters: give --paper FILE')
        subjects += paper_subjects(paper_file)
    if "handmade" in against:
        subjects += handmade_subjects()
    subjects += [_ours(text) for text in encodings]
    names = [one.name for one in subjects]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SubjectError(
            f'two subjects are called "{twice[0]}": give every encoding once, and files names of their own'
        )
    return subjects


def paper_subjects(path: Path) -> list[Subject]:
    """The paper's quantizing encoders from its released parameters (CONFIG__kernels, CONFIG__thresholds).

    They were learned as correlations, so their kernels are turned by 180 degrees; their thresholds, in codes of 0..15,
    become fractions; they see sRGB values and each frame's minimum and maximum, as published (Tan et al., ICME 2020).
    """
    try:
        arrays = read_arrays(path, PAPER_FILE)
    except EncodingFileError as error:
        raise SubjectError(str(error)) from None
    found = []
    for config in sorted(name.removesuffix("__thresholds") for name in arrays if name.endswith("__thresholds")):
        if f"{config}__kernels" not in arrays:
            raise SubjectError(f"{path} holds {config}__thresholds but no {config}__kernels: {PAPER_FILE}")
        try:
            kernels = np.asarray(arrays[f"{config}__kernels"], np.float32)
            turned = np.flip(kernels, tuple(range(1, kernels.ndim)))
            fractions = np.asarray(arrays[f"{config}__thresholds"], np.float32) / PAPER_FULL_SCALE
            encoding = Encoding(np.ascontiguousarray(turned), np.sort(np.clip(fractions, 0, 1)), 8, "per_frame")
        except (TypeError, ValueError) as error:
            raise SubjectError(f"{path}: {config} is no encoder, {error}: {PAPER_FILE}") from None
        found.append(Subject(_paper_name(config), "paper", encoding, "srgb", config))
    if not found:
        raise SubjectError(f"{path} holds no CONFIG__thresholds: {PAPER_FILE}")
    return sorted(found, key=lambda one: (one.name.split()[1], int(one.name.split()[-1])))


def handmade_subjects() -> list[Subject]:
    """Gaussian masks with one or two thresholds, for either range: what anyone can build without learning."""
    found = []
    for sigma_px, kind, inner in HANDMADE:
        distinct = np.array([*inner, METERED_AT] if kind == "fixed" else inner, np.float32)
        if kind == "fixed":
            # One comparator meters; the others share the inner thresholds.
            repeated = np.append(
                distinct[:-1][np.arange(THRESHOLDS - 1) * len(inner) // (THRESHOLDS - 1)], distinct[-1]
            )
        else:
            repeated = distinct[np.arange(THRESHOLDS) * len(inner) // THRESHOLDS]
        encoding = Encoding(gaussian_kernel(sigma_px), repeated, 8, kind)
        light: Light = "linear" if kind == "fixed" else "srgb"
        name = f"Gaussian {sigma_px:g} {len(inner) + 1}-level {kind}"
        found.append(Subject(name, "handmade", encoding, light, "hand-made"))
    return found


def _paper_name(config: str) -> str:
    convolution, _, alpha = config.partition("_maxpool_quantize_alpha")
    return f"paper {convolution} alpha {alpha or 0}"


def _ours(text: str) -> Subject:
    path = Path(text)
    if path.suffix == ".npz":
        try:
            encoding, said = read_encoding_and_light(path)
        except EncodingFileError as error:
            raise SubjectError(str(error)) from None
        light: Light = "srgb" if said == "srgb" or (said is None and encoding.range == "per_frame") else "linear"
        return Subject(path.stem, "ours", encoding, light, path.name)
    try:
        bundle = read_bundle(resolve_bundle(text))
    except BundleError as error:
        raise SubjectError(f"{error} (or an .npz file of an encoding)") from None
    light = "linear" if bundle.encoding.range == "fixed" else "srgb"
    return Subject(path.stem, "ours", bundle.encoding, light, path.name)
