"""What a sweep leaves: sweep.json, sweep.csv and the figure, each written anew whenever a point ends."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from host.figures.sweep import draw
from host.sweep.run import Progress
from host.sweep.work import write_json
from models.encoder.sweep_front import Joined, beaten_beyond, join, pareto_front
from optics.whole_file import write_whole

SUMMARY, TABLE, FIGURE = "sweep.json", "sweep.csv", "sweep.png"
COLUMNS = (
    "point", "seeds", "front", "beaten_beyond_by", "identity", "identity_low", "identity_high", "identity_attacker",
    "face", "face_low", "face_high", "face_network", "bits", "levels_least", "levels_most", "digests",
)  # fmt: skip


def joined_points(progress: Progress) -> tuple[list[Joined], list[int]]:
    """Points whose seeds are joined, and which of them are the front, by rising identity."""
    joined = join(progress.results())
    return joined, pareto_front([one.identity.mean for one in joined], [one.face.mean for one in joined])


def summary(name: str, progress: Progress) -> dict[str, Any]:
    """The whole sweep as a JSON object: each point with its state, the joined ones, the front and the chance lines."""
    joined, front = joined_points(progress)
    points = []
    for one in progress.standings.values():
        entry = {"digest": one.point.digest, "name": one.point.name, "seed": one.point.plan.seed, "state": one.state}
        if one.state == "failed" and one.document is not None:
            entry["reason"] = str(one.document.get("reason", ""))
        points.append(entry)
    return {
        "name": name,
        "points": points,
        "joined": [
            one.to_dict() | {"front": index in front, "beaten_beyond_by": beaten_beyond(joined, index)}
            for index, one in enumerate(joined)
        ],
        "front": [joined[index].name for index in front],
        "chance": chances(progress.results()),
        "n": _sizes(progress.results()),
        "data_sha256": next((one["data_sha256"] for one in progress.results()), {}),
        "intervals": "95 %: identity by bootstrap over people (mean of each over seeds), face by Wilson for the images "
        "of one seed, each widened to take in every seed",
    }


def chances(results: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
    """Chance of either axis; None without results."""
    return {axis: float(results[0][axis]["chance"]) for axis in ("identity", "face")} if results else None


def write_report(out: Path, name: str, progress: Progress) -> dict[str, Any]:
    """Write all three (the figure where there is a result); returns the summary. Raises OSError."""
    document = summary(name, progress)
    write_json(out / SUMMARY, document)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(one) for one in document["joined"])
    write_whole(out / TABLE, text.getvalue())
    chance = document["chance"]
    if chance is not None:
        joined, front = joined_points(progress)
        draw(joined, front, chance, document["n"], name, out / FIGURE)
    return document


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    shares: dict[str, float] = {}
    for axis in ("identity", "face"):
        shares |= {axis: one[axis]["mean"], f"{axis}_low": one[axis]["low"], f"{axis}_high": one[axis]["high"]}
    return {
        "point": one["name"],
        "seeds": len(one["seeds"]),
        "front": int(one["front"]),
        "beaten_beyond_by": one["beaten_beyond_by"] or "",
        **{key: f"{share:.5f}" for key, share in shares.items()},
        "identity_attacker": one["identity"]["attacker"],
        "face_network": one["face"]["attacker"],
        "bits": f"{one['bits']:.2f}",
        "levels_least": one["levels"][0],
        "levels_most": one["levels"][1],
        "digests": " ".join(digest[:12] for digest in one["digests"]),
    }


def _sizes(results: Sequence[Mapping[str, Any]]) -> dict[str, int] | None:
    """Test images of either axis and people; None without results."""
    if not results:
        return None
    identity, face = results[0]["identity"], results[0]["face"]
    return {"identity": int(identity["n"]), "people": int(identity["people"]), "face": int(face["n"])}
