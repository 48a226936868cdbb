"""Entries "presence" of a bundle's evidence, for tests of whoever reads them."""

from typing import Any


def share(hits: int, total: int) -> dict[str, Any]:
    """A share with intervals that contain it."""
    if total == 0:
        return {"value": None, "hits": 0, "total": 0, "interval_95": None, "block_interval_95": None}
    value = hits / total
    wide = [max(0.0, value - 0.02), min(1.0, value + 0.02)]
    return {"value": value, "hits": hits, "total": total, "interval_95": wide, "block_interval_95": [0.8 * value, 1.0]}


def scene(
    name: str = "demo",
    *,
    found: int = 330,
    occupied: int = 335,
    right: int = 93,
    empty: int = 96,
    exact: int = 200,
    seed: int = 0,
    **more: Any,
) -> dict[str, Any]:
    """One scene: somebody found in `found` of `occupied` frames, nobody in `right` of `empty` ones."""
    return {
        "scene": name,
        "truth": "built in" if name == "demo" else "counts room.csv",
        "data_sha256": {} if name == "demo" else {name: "d1" * 32, "room.csv": "d2" * 32},
        "capture_path": "twin",
        "seed": seed,
        "light": [],
        "frames": occupied + empty,
        "occupied_frames": occupied,
        "visits": 2,
        "block_s": 2.0,
        "precision": share(found, found + empty - right),
        "recall": share(found, occupied),
        "specificity": share(right, empty),
        "count_exact": share(exact, occupied + empty),
        **more,
    }


def presence(encoding_id: str, model_sha256: str, *scenes: dict[str, Any]) -> dict[str, Any]:
    """The entry, of these scenes (default: the built-in one)."""
    return {"encoding_id": encoding_id, "model_sha256": model_sha256, "scenes": list(scenes) or [scene()]}
