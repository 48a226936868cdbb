"""Puts encoding, detector and evidence into one bundle and writes its model card, every number of it from the evidence.

    python -m models.detector.ship --detector DIR --evaluation FILE --evidence evidence.json --out private.canopic \\
        [--subject NAME] [--encoder learning.json] [--distance distance.json] [--score demo.json --score room.json]

The card is written beside the bundle (private.md). No torch needed. What is said about another encoding than the
detector's is refused.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from models.detector.card import model_card
from models.detector.scenes import PLANE_COLUMNS_PX, PLANE_ROWS_PX, plane_cells
from models.encoding_file import read_encoding
from models.presence import VERSION
from optics.archive import canonical_json
from optics.bundle import Bundle, read_bundle, write_bundle
from optics.bundle_evidence import findings
from optics.bundle_presence import FIRST_VERSION
from optics.encoding import Encoding

MODEL = "detector.onnx"
# What `canopic evaluate` writes of one attacker, less what only its own report needs.
KEPT = (
    "mean", "interval_95", "n", "people", "per_class", "train_accuracy", "n_train", "chance", "constant", "looks",
    "seeds", "by_seed",
)  # fmt: skip
# What an evaluation of a detector names, so that it stands for no other; a score names them too.
BOUND = ("encoding_id", "model_sha256", "data_sha256")
# Shares of frames that are kept of a score.
SHARES = ("precision", "recall", "specificity", "count_exact")
FACTS = ("bits_per_measurement", "bits_per_code", "codes_per_measurement", "faces_measured", "build", "noise_of_parts")
# Subjects whose headline is kept beside the bundle's own, so that a card can say what a number is small against.
BESIDE = ("baseline", "paper", "handmade")


class ShipError(ValueError):
    """Evidence that does not belong to the encoding, or is not for quoting. The message says what to do."""


def assembled(encoding: Encoding, model: bytes, training: dict[str, Any], evidence: dict[str, Any]) -> Bundle:
    """The bundle of an encoding and the detector trained for it.

    training: what `train` wrote about the detector. evidence: entries as docs/bundle.md describes them ("detector" is
    what `evaluate` writes). Raises BundleError when the detector was trained for another encoding, an entry is of
    another encoding or model or in no known form, ValueError for a pool that no detector is made for.
    """
    rows, columns = plane_cells(encoding.pool)
    metadata = {
        "encoding_id": training["encoding_id"],
        "score_threshold": training["score_threshold"],
        "input": f"codes uint8 (1, {rows}, {columns}, {encoding.channels}), each 0..15",
        "outputs": [
            f"heat float32 ({rows}, {columns}): probability that a face has its centre in the cell",
            f"box float32 (4, {rows}, {columns}): offset x, y from the cell's middle, ln width, ln height; in cells",
        ],
        "parameters": training["parameters"],
        "terms": "research only: trained on photographs of real people; see the card",
    }
    bundle = Bundle(
        encoding,
        PLANE_ROWS_PX,
        PLANE_COLUMNS_PX,
        models={MODEL: model},
        metadata={MODEL: metadata},
        evidence={**evidence, "training": training},
    )
    findings(bundle)
    return bundle


def attacks_of(document: Mapping[str, Any], encoding_id: str, subject: str | None = None) -> dict[str, Any]:
    """The entry "attacks" of a bundle, from what `canopic evaluate` wrote (evidence.json).

    subject: its name there; None: the one with this encoding. Raises ShipError where it is not there, was another
    encoding, or the evidence was a quick trial.
    """
    if document["quick"]:
        raise ShipError("the evidence is of a quick trial (--quick), which is not for quoting: evaluate without it")
    rows = {row["name"]: row for row in document["subjects"]}
    if subject is None:
        subject = next((name for name, row in rows.items() if row.get("encoding_id") == encoding_id), None)
    row = rows.get(subject) if subject is not None else None
    if row is None or row.get("encoding_id") != encoding_id:
        known = ", ".join(f"{name} ({one['encoding_id'][:12]})" for name, one in rows.items() if "encoding_id" in one)
        raise ShipError(
            f"the evidence has no subject {subject or ''} with encoding {encoding_id[:12]}, only {known or 'none'}: "
            "evaluate the encoding that the detector was trained for"
        )
    # Which questions were asked does not change the answers to the others.
    settings = {name: value for name, value in document["settings"].items() if name not in ("questions", "quick")}
    protocol = {"schema": document["schema"], "settings": settings, "data_sha256": document["data_sha256"]}
    return {
        "protocol": protocol | {"digest": hashlib.sha256(canonical_json(protocol)).hexdigest()},
        "subject": subject,
        "encoding_id": encoding_id,
        "results": {question: _result(result) for question, result in row["results"].items()},
        "beside": {
            name: {question: _headline(result) for question, result in one["results"].items()}
            for name, one in rows.items()
            if one["kind"] in BESIDE and one["results"]
        },
        **{name: row[name] for name in FACTS if name in row},
    }


def detector_of(evaluation: Mapping[str, Any], encoding_id: str, model: bytes) -> dict[str, Any]:
    """The entry "detector" of a bundle, from what `evaluate` wrote.

    Raises ShipError where it does not say what it was measured on, or was measured on another encoding or model.
    """
    if missing := [name for name in BOUND if name not in evaluation]:
        raise ShipError(
            f"the evaluation has no {missing[0]}, so nothing binds its numbers to this detector (older versions wrote "
            "none): make it again with `python -m models.detector.evaluate`"
        )
    if evaluation["encoding_id"] != encoding_id:
        raise ShipError(
            f"the evaluation is of encoding {evaluation['encoding_id']}, the detector was trained for {encoding_id}: "
            "evaluate this detector"
        )
    digest = hashlib.sha256(model).hexdigest()
    if evaluation["model_sha256"] != digest:
        raise ShipError(
            f"the evaluation is of the model with SHA-256 {evaluation['model_sha256']}, {MODEL} in the detector's "
            f"folder has {digest}: evaluate this detector"
        )
    return dict(evaluation)


def presence_of(scores: Mapping[str, Mapping[str, Any]], encoding_id: str, model: bytes) -> dict[str, Any]:
    """The entry "presence" of a bundle, from what `canopic score --json` wrote. scores: file's name to its content.

    Raises ShipError for a score of another encoding, model or kernel, by another version of the presence model than the
    installed one, of a part of a scene, of a scene that another of them is of, and for a file in another form.
    """
    digest = hashlib.sha256(model).hexdigest()
    scenes: dict[str, dict[str, Any]] = {}
    for file, score in scores.items():
        try:
            scene = _scored_scene(file, score, encoding_id, digest)
        except (KeyError, TypeError, AttributeError) as error:
            raise ShipError(
                f"{file} is not what `canopic score --json` of this version writes ({error!r}): score the scene again"
            ) from error
        if scene["scene"] in scenes:
            raise ShipError(f"{file} is of scene {scene['scene']}, as is another score: name one score of each scene")
        scenes[scene["scene"]] = scene
    return {"encoding_id": encoding_id, "model_sha256": digest, "scenes": list(scenes.values())}


def _scored_scene(file: str, score: Mapping[str, Any], encoding_id: str, model_sha256: str) -> dict[str, Any]:
    if missing := [name for name in BOUND if name not in score]:
        raise ShipError(
            f"{file} has no {missing[0]}, so nothing binds its numbers to this detector (older versions wrote none): "
            "make it again with `canopic score --json`"
        )
    for name, what, ours in (("encoding_id", "encoding", encoding_id), ("model_sha256", "the model", model_sha256)):
        if score[name] != ours:
            raise ShipError(
                f"{file} is of {what} {score[name]}, the bundle is to hold {ours}: score a bundle of this detector"
            )
    version = score.get("presence_version", FIRST_VERSION)
    if version != VERSION:
        raise ShipError(f"{file} is by presence model {version}, installed is {VERSION}: score the scene again")
    if score["kernel"] is not None:
        raise ShipError(f"{file} was scored behind kernel {score['kernel']['file']}: score without --kernel")
    run, found = score["run"], score["score"]
    if run["failed"] or run["state"] == "blind":
        raise ShipError(f"{file} is of a run that ended {run['state']} ({run['why_stopped']}): score the scene again")
    lost = run["unmeasured"] or found["unmeasured"] or run["frames"] is None
    if score["frames"] is not None or lost or min(run["measurements"], score["truth_frames"]) < run["frames"]:
        raise ShipError(
            f"{file} is of a part of scene {score['scene']}: score all of it, without --frames, with a truth of all of "
            "its frames"
        )
    return {
        **{name: score[name] for name in ("scene", "truth", "data_sha256", "capture_path", "seed", "light")},
        **{name: found[name] for name in ("frames", "visits", "block_s")},
        # Older scores name none, and a bundle of theirs keeps its id.
        **({"presence_version": version} if "presence_version" in score else {}),
        "occupied_frames": found["recall"]["total"],
        **{name: _counted(found[name]) for name in SHARES},
    }


def _counted(share: Mapping[str, Any]) -> dict[str, Any]:
    def bounds(low: str, high: str) -> list[float] | None:
        return None if share[low] is None else [share[low], share[high]]

    kept = {name: share[name] for name in ("value", "hits", "total")}
    return kept | {"interval_95": bounds("low", "high"), "block_interval_95": bounds("block_low", "block_high")}


def encoder_of(learning: Mapping[str, Any], encoding_id: str) -> dict[str, Any]:
    """The entry "encoder" of a bundle, from the learning.json of `canopic train encoder`.

    Raises ShipError for another encoding, or a learning that was not finished.
    """
    if learning["encoding_id"] != encoding_id:
        raise ShipError(
            f"the learning gave encoding {learning['encoding_id']}, the detector was trained for {encoding_id}: "
            "name the learning.json beside the encoding.npz that was used"
        )
    if not learning["finished"]:
        raise ShipError("the learning is not finished: `canopic train encoder` with the same folder goes on with it")
    kept = next((cycle for cycle in learning["cycles"] if cycle.get("cycle") == learning["kept_cycle"]), None)
    about = {name: learning[name] for name in ("encoding_id", "plan", "kept_cycle", "material", "seconds", "versions")}
    return about | {"cycles": len(learning["cycles"]), "kept": kept}


def main(
    detector: Annotated[Path, typer.Option(help="Folder made by `train`.")],
    evaluation: Annotated[Path, typer.Option(help="JSON made by `evaluate`.")],
    out: Annotated[Path, typer.Option(help="The bundle to write.")],
    evidence: Annotated[Path, typer.Option(help="evidence.json made by `canopic evaluate`.")],
    subject: Annotated[str | None, typer.Option(help="Its name in the evidence (default: by its encoding).")] = None,
    encoder: Annotated[Path | None, typer.Option(help="learning.json made by `canopic train encoder`.")] = None,
    distance: Annotated[Path | None, typer.Option(help="JSON of identity and detection by face size.")] = None,
    score: Annotated[list[Path] | None, typer.Option(help="JSON of `canopic score --json`; once a scene.")] = None,
) -> None:
    """Write the bundle and, beside it, its model card."""
    console = Console(stderr=True)
    try:
        training = _document(detector / "training.json")
        encoding = read_encoding(detector / "encoding.npz")
        model = (detector / MODEL).read_bytes()
        entries = {
            "detector": detector_of(_document(evaluation), encoding.id, model),
            "attacks": attacks_of(_document(evidence), encoding.id, subject),
        }
        if encoder is not None:
            entries["encoder"] = encoder_of(_document(encoder), encoding.id)
        if distance is not None:
            entries["distance"] = _document(distance)
        if score:
            scores = {str(path): _document(path) for path in score}
            entries["presence"] = presence_of(scores, encoding.id, model)
        bundle = assembled(encoding, model, training, entries)
        write_bundle(bundle, out)
    except KeyError as error:
        console.print(f"[red]one of the files is in another form than expected: it has no {error}")
        sys.exit(1)
    except (OSError, ValueError) as error:
        console.print(f"[red]{error}")
        sys.exit(1)
    # From what is in the file, not from what was meant to be in it.
    out.with_suffix(".md").write_text(model_card(read_bundle(out)))
    console.print(f"{out}: bundle {bundle.id}, encoding {encoding.id}")


def _document(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ShipError(f"{path} is no JSON file: {error}") from error
    if not isinstance(found, dict):
        raise ShipError(f"{path} holds no JSON object")
    return found


def _result(result: Mapping[str, Any]) -> dict[str, Any]:
    attackers = {name: {key: one[key] for key in KEPT if key in one} for name, one in result["attackers"].items()}
    return {"headline": result["headline"], "attackers": attackers}


def _headline(result: Mapping[str, Any]) -> dict[str, Any]:
    best = result["attackers"][result["headline"]]
    return {"attacker": result["headline"], **{key: best[key] for key in KEPT if key in best}}


if __name__ == "__main__":
    typer.run(main)
