"""The model card of a bundle, written from its evidence alone: a number that was not measured cannot stand in it."""

from collections.abc import Mapping
from typing import Any

from models.detector.card_presence import (
    MOSTLY_MISSED,
    mostly_missed,
    presence_section,
    tells_presence,
)
from models.detector.card_privacy import (
    attacks_section,
    distance_section,
    encoder_section,
    interval,
    older_identity_section,
    percent,
)
from models.detector.gaussian_encoding import options_of
from models.detector.scenes import plane_cells
from optics.bundle import Bundle
from optics.bundle_evidence import Findings, findings
from optics.description import built_with
from optics.encoding import Encoding

ORDER = ("codes", "plain")
SURROUNDINGS = {"black": "is black", "continued": "continues its outermost pixels"}
# Presence is measured with a bundle, so a bundle is shipped first without it, and then again.
SCORED = """\
    canopic score --scene demo --bundle ./mine.canopic --json > demo.json
    python -m models.detector.ship ... --score demo.json --score ANOTHER.json --out mine.canopic

"...": the options of the line before it; one score of each scene.
"""
# Where thresholds are named, in the command that makes an encoding again.
CHOSEN = """
The first line makes this very encoding, without images. To choose thresholds from the training scenes instead, give it
`--data DATA --levels N` in place of `--thresholds`, for `N` levels, 3 to 16.
"""
NAMES = {"codes": "codes (this bundle)", "plain": "unencoded picture (ceiling)"}


def model_card(bundle: Bundle) -> str:
    """The card as Markdown. Raises KeyError when the bundle lacks evidence of a detector or of an identity attack."""
    evidence = bundle.evidence
    sections = [
        _head(bundle),
        _use(bundle),
        _data(evidence),
        _detection(evidence["detector"], evidence["training"]),
        presence_section(findings(bundle)),
        *_privacy(evidence),
        _encoding(bundle),
        _repeat(evidence, bundle.encoding),
    ]
    return "\n\n".join(section.strip() for section in sections if section) + "\n"


def _head(bundle: Bundle) -> str:
    training, size = bundle.evidence["training"], len(bundle.models["detector.onnx"])
    shape = (*plane_cells(bundle.encoding.pool), bundle.encoding.channels)
    return f"""
# Model card: face detector of bundle `{bundle.id[:16]}`

Counts faces in codes of encoding `{bundle.encoding.id[:16]}`: uint8 {shape} in, boxes and scores out. Anchor-free
heat map at the resolution of the codes, {training["parameters"]:,} parameters, int8 ONNX of {size / 1000:.0f} kB.
"""


def _use(bundle: Bundle) -> str:
    found = findings(bundle)
    missed = [
        f"{row.from_px:g} to {row.to_px:g} px"
        for row in found.by_size
        if row.codes is not None and row.codes.value < MOSTLY_MISSED
    ]
    small = f" On the 480 x 640 plane, faces of {', '.join(missed)} are mostly missed." if missed else ""
    return f"""
## For what, and for what not

{_purpose(found)}

**Not** for identifying anybody; for telling age, sex or origin; for decisions about a person; for counting people who
show no face (someone seen from behind is found by change against the empty room, not by this model); for safety, such
as evacuation counts; and not for any product that is sold: the photographs it learned from are for research only, and
weights made from them are to be treated the same way. Skin tones and ages were neither balanced nor measured for the
detector.{small}
"""


def _purpose(found: Findings) -> str:
    if not mostly_missed(found):
        return "For counting faces turned towards the camera, in research and in trials of this project."
    if tells_presence(found):
        return (
            "For telling an occupied room from an empty one by change against the learned empty room, in research and\n"
            "in trials of this project, as far as it was measured (below). **Not for counting: in whole scenes this\n"
            "detector finds almost nobody** (below)."
        )
    return (
        "For research on crops of faces. **Not for counting faces, nor for telling whether anybody is there: in whole\n"
        "scenes this detector finds almost nobody** (below)."
    )


def _data(evidence: Mapping[str, Any]) -> str:
    training = evidence["training"]
    rows = "\n".join(f"| `{name}` | `{digest[:16]}` |" for name, digest in sorted(training["data_sha256"].items()))
    checked = training["validation_scenes"]
    return f"""
## Data

Research-only terms: WIDER FACE scenes (Yang et al. 2016, DOI 10.1109/CVPR.2016.596), LFW faces (Huang et al. 2007),
crops without faces from Imagenette, Flickr8k and BSDS500. Scenes are split by photograph, faces by person; only the
training splits train. {checked} training photographs are held out to choose the score threshold. From the rest
{training["scenes"]:,} scenes were made: zoomed, moved, recoloured, with pasted crops. What is no face comes from the
same photographs as the faces, and crops with and without faces are pasted alike, so that being pasted is no cue.

| archive | SHA-256 |
|---|---|
{rows}
"""


def _detection(report: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    shown = [name for name in ORDER if name in report]
    lines = [
        "| | " + " | ".join(NAMES[name] for name in shown) + " | faces |",
        "|---|" + "---|" * (len(shown) + 1),
        _precision_row("AP at IoU 0.5", [report[name]["ap"] for name in shown]),
    ]
    for index, size in enumerate(report["codes"]["ap_by_size"]):
        name = f"AP, faces {size['from_px']} to {size['to_px']} px"
        lines.append(_precision_row(name, [report[one]["ap_by_size"][index] for one in shown]))
    counts = [report[name]["count"] for name in shown]
    scenes = report["codes"]["scenes"]
    low_high = [one["mean_absolute_error_95"] for one in counts]
    cells = [
        f"{one['mean_absolute_error']:.2f} ({a:.2f} to {b:.2f})" for one, (a, b) in zip(counts, low_high, strict=True)
    ]
    lines.append(f"| count, mean absolute error | {' | '.join(cells)} | {scenes} scenes |")
    low_high = [one["exact_share_95"] for one in counts]
    cells = [
        f"{percent(one['exact_share'])} ({percent(a)} to {percent(b)})"
        for one, (a, b) in zip(counts, low_high, strict=True)
    ]
    lines.append(f"| count exactly right | {' | '.join(cells)} | {scenes} scenes |")
    base = counts[0]
    table = "\n".join(lines)
    recordings = _recordings(report["clips"], report["codes"]["score_threshold"]) if "clips" in report else ""
    constant_wins = base["constant_exact_share"] > base["exact_share"]
    verdict = "**That is more often exact than the detector is on these crowded photographs.**" if constant_wins else ""
    begun = _head_start(training)
    return f"""
## Detection

{scenes} WIDER test photographs, each fitted to the 480 x 640 plane in linear light, at steady exposure (2 % of the
cells at the highest code), with simulated sensor and comparator noise. Sizes are a face's larger side on the plane;
faces under 12 px count neither way. In brackets 95 % intervals: bootstrap over scenes, Wilson for shares. The ceiling
is the same architecture with the same training on 8 x 8 means of the same scenes as sRGB bytes (60, 80, 3).{begun}

{table}

Baselines for the count ({base["mean_faces"]:.2f} faces in the mean scene): always 0 errs by
{base["empty_mean_absolute_error"]:.2f}, always {base["constant"]:.0f} by {base["constant_mean_absolute_error"]:.2f} \
({percent(base["constant_exact_share"])} exact). {verdict}
{recordings}{_measured_on(report)}
"""


def _measured_on(report: Mapping[str, Any]) -> str:
    if "model_sha256" not in report:
        return ""
    scenes = ", ".join(f"`{name}` (`{digest[:16]}`)" for name, digest in sorted(report["data_sha256"].items()))
    return f"""
Measured on the model with SHA-256 `{report["model_sha256"][:16]}` and the test photographs of {scenes}. Round a
photograph the plane {SURROUNDINGS[report["surroundings"]]}.
"""


def _recordings(clips: dict[str, Any], threshold: float) -> str:
    corridor, empty, occupied = clips["corridor"], clips["room_empty"], clips["room_occupied"]
    return f"""
Two recordings, judged frame by frame at score {threshold:.2f}, without smoothing:

- corridor, two people walking up (faces of 26 to 55 px): exactly two in {corridor["exactly_two"]} of
  {corridor["frames"]} frames ({interval(corridor["exactly_two_share_95"])}); mean {_mean(corridor["counts"]):.2f}.
- room, empty: a face in {empty["with_a_face"]} of {empty["frames"]} frames
  ({interval(empty["with_a_face_share_95"])}).
- room, one person seen mostly from behind: a face in {occupied["with_a_face"]} of {occupied["frames"]} frames
  ({interval(occupied["with_a_face_share_95"])}), {occupied["faces_per_frame"]:.3f} per frame.
"""


def _mean(counts: list[int]) -> float:
    return sum(counts) / len(counts)


def _precision_row(name: str, values: list[dict[str, Any]]) -> str:
    cells = ["" if one["value"] is None else _with_interval(one["value"], *one["interval_95"]) for one in values]
    return f"| {name} | {' | '.join(cells)} | {values[0]['faces']} |"


def _with_interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _privacy(evidence: Mapping[str, Any]) -> list[str]:
    if "attacks" not in evidence:
        return [older_identity_section(evidence["identity"])]
    sections = [attacks_section(evidence["attacks"])]
    if "distance" in evidence:
        sections.append(distance_section(evidence["distance"]))
    if "encoder" in evidence:
        sections.append(encoder_section(evidence["encoder"]))
    return sections


def _encoding(bundle: Bundle) -> str:
    encoding = bundle.encoding
    rows, columns = encoding.kernels.shape[1:]
    kernels = (
        f"1 kernel of {rows} x {columns} px"
        if encoding.filters == 1
        else (f"{encoding.filters} kernels of {rows} x {columns} px")
    )
    distinct = ", ".join(f"{value:.4f}" for value in sorted({float(value) for value in encoding.thresholds}))
    return f"""
## Encoding

{kernels}, {built_with(encoding)}, pool {encoding.pool}, range `{encoding.range}`, 4 bits with \
{encoding.effective_levels} effective levels. Distinct
thresholds, fractions of full scale: {distinct}.
"""


def _head_start(training: Mapping[str, Any]) -> str:
    """What this detector had before and the ceiling had not, or nothing."""
    if not (start := training.get("started_from")):
        return ""
    steps = f"{start['steps_done']:,} steps" if "steps_done" in start else "training"
    return (
        f"\nThis detector began with the weights of another, of encoding `{start.get('encoding_id', 'unknown')[:16]}`, "
        f"and trained {training['steps_done']:,} steps more; the ceiling had no such {steps} before it."
    )


def _repeat(evidence: Mapping[str, Any], made: Encoding) -> str:
    learned, training = "encoder" in evidence, evidence["training"]
    encoding = "learned/encoding.npz" if learned else "encoding.npz"
    steps = f" --steps {training['steps_done']}" if "steps_done" in training else ""
    start = (
        f" --from FOLDER --learning-rate {training['settings']['learning_rate']:g}"
        if training.get("started_from")
        else ""
    )
    options, chosen = options_of(made), ""
    if learned:
        first = f"canopic train encoder {evidence['encoder']['plan']['name']} --data DATA --out learned"
    elif options is None:
        first = "# encoding.npz: kernels, thresholds, pool and range as this bundle has them"
    else:
        first = f"python -m models.detector.gaussian_encoding {options} --out encoding.npz"
        chosen = CHOSEN
    more = " --encoder learned/learning.json" if learned else ""
    scored = SCORED if "presence" in evidence else ""
    return f"""
## Repeat it, or train on your own data

    {first}
    python -m models.detector.train --data DATA --encoding {encoding} --out detector{steps}{start}
    python -m models.detector.train --data DATA --encoding {encoding} --out ceiling --plain
    python -m models.detector.evaluate --data DATA --detector detector --ceiling ceiling --out evaluation.json
    canopic evaluate {encoding} --against clean,blur,pixelate --data DATA --out evidence
    python -m models.detector.ship --detector detector --evaluation evaluation.json \\
        --evidence evidence/evidence.json{more} --out mine.canopic
{scored}{chosen}
`DATA` is a folder with archives of the same names and tables: to train on photographs of your own, put them there in
that form. The settings behind these numbers are in the bundle: `canopic bundle show --json`.
"""
