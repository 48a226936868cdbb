"""One run is one file: what one attacker, with one seed, made of one subject and question. Kept, found again, read."""

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics.whole_file import write_whole

SCHEMA = "canopic-evidence-run-1"
DIGITS = 12
# What follows the name of an answer whose attacker was trained on means of looks: another attacker to the same measure.
MEANS = ", mean codes"

# What one question's answer is worth: a JSON object (see docs of `share` and of the questions).
Measure = dict[str, Any]


class RunError(Exception):
    """A run file that cannot be used. The message names it."""


@dataclass(frozen=True)
class RunKey:
    """What decides a run's result. `settings`: a JSON object with everything else that does, data digests included."""

    subject: str
    question: str
    attacker: str
    seed: int
    settings: str

    @property
    def file_name(self) -> str:
        """The run's file: digests shortened to 12 digits."""
        attacker = self.attacker.replace(" ", "-")
        parts = (self.subject[:DIGITS], self.question, attacker, f"seed{self.seed}", digest(self.settings)[:DIGITS])
        return "_".join(parts) + ".json"


@dataclass(frozen=True, eq=False)
class Run:
    """A run as its file says it. `results`: measures by name; `seconds`: how long it took, on one core."""

    key: RunKey
    subject_name: str
    results: dict[str, Measure]
    seconds: float


def canonical(settings: dict[str, Any]) -> str:
    """Settings as text that is equal for equal settings."""
    return json.dumps(settings, sort_keys=True)


def digest(text: str) -> str:
    """SHA-256 of a text, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def write_run(folder: Path, run: Run) -> Path:
    """Write `run` into `folder` under its key's name: whole or not at all."""
    document = {
        "schema": SCHEMA,
        "subject": {"name": run.subject_name, "digest": run.key.subject},
        "question": run.key.question,
        "attacker": run.key.attacker,
        "seed": run.key.seed,
        "settings": json.loads(run.key.settings),
        "seconds": round(run.seconds, 1),
        "results": run.results,
    }
    path = folder / run.key.file_name
    write_whole(path, json.dumps(document, indent=1, allow_nan=False))
    return path


def read_run(path: Path) -> Run:
    """The run in a file. Raises RunError, which names it, when it is not one."""
    try:
        document = json.loads(path.read_text())
        if document["schema"] != SCHEMA:
            raise RunError(
                f"{path} has the schema {document['schema']!r}, expected {SCHEMA!r}: delete it to run it anew"
            )
        key = RunKey(
            document["subject"]["digest"],
            document["question"],
            document["attacker"],
            int(document["seed"]),
            canonical(document["settings"]),
        )
        return Run(key, document["subject"]["name"], document["results"], float(document["seconds"]))
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} is no run of `canopic evaluate` ({error!r}): delete it to run it anew") from None


def find_run(folder: Path, key: RunKey) -> Run | None:
    """The run of `key` in `folder`, or None. Raises RunError for a damaged file."""
    path = folder / key.file_name
    if not path.is_file():
        return None
    run = read_run(path)
    if run.key != key:
        raise RunError(f"{path} holds another run than its name says: delete it to run it anew")
    return run


def share(right: NDArray[np.bool_], labels: NDArray[np.int64], classes: int, n_train: int) -> Measure:
    """A share of right answers as a measure.

    right, labels: bool and int64 (n,), one per test image. The measure holds right, n, accuracy, per_class (the mean
    over classes of their shares), chance (1 / classes), constant (what the best constant answer would reach), n_train,
    and correct: which images were right, as base64 of packed bits, so that subjects can be compared image by image.
    """
    counts = np.bincount(labels, minlength=classes)
    present = counts > 0
    per_class = np.bincount(labels, weights=right, minlength=classes)[present] / counts[present]
    return {
        "right": int(right.sum()),
        "n": len(right),
        "accuracy": float(right.mean()),
        "per_class": float(per_class.mean()),
        "chance": 1 / classes,
        "constant": float(counts.max() / len(right)),
        "n_train": n_train,
        "correct": base64.b64encode(np.packbits(right).tobytes()).decode(),
    }


def correct_images(measure: Measure) -> NDArray[np.bool_]:
    """Which test images a share's attacker named right, bool (n,)."""
    packed = np.frombuffer(base64.b64decode(measure["correct"]), np.uint8)
    return np.unpackbits(packed)[: int(measure["n"])].astype(np.bool_)
