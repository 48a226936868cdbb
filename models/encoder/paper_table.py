"""Table 1 of the CAnOPIC paper: its rows, its published numbers, and this project's beside them."""

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["unlearned", "learned"]
Question = Literal["identity", "face"]
# The published test sets: 100 people x 30 images, and the same 3,000 faces with 3,000 faceless images.
PUBLISHED_CHANCE = {"identity": 0.01, "face": 0.5}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table. `title` as printed; `alpha`: privacy weight, None where nothing is learned; `published`:
    percent right by (kind, question)."""

    name: str
    title: str
    alpha: float | None
    published: dict[tuple[Kind, Question], float]

    @property
    def learned(self) -> bool:
        """Whether the table has a learned encoder for it."""
        return self.alpha is not None


def _row(name: str, title: str, alpha: float | None, *percent: float) -> Row:
    keys: list[tuple[Kind, Question]] = [
        ("unlearned", "identity"), ("unlearned", "face"), ("learned", "identity"), ("learned", "face"),
    ]  # fmt: skip
    return Row(name, title, alpha, dict(zip(keys, percent, strict=False)))


BASELINES = ("clean", "blur", "pixelate")
# Tan et al., ICME 2020, Table 1 (DOI 10.1109/ICME46284.2020.9102956), in its order.
TABLE_1: tuple[Row, ...] = (
    _row("clean", "Clean (no encoding)", None, 97.60, 99.81),
    _row("blur", "Gaussian Blur", None, 73.50, 96.61),
    _row("pixelate", "Pixelate (average pool)", None, 75.73, 97.73),
    _row("conv1_maxpool_quantize_alpha1", "Conv(1) + MP + Quantize", 1, 36.70, 93.51, 33.73, 94.66),
    _row("conv1_maxpool_quantize_alpha50", "Conv(1) + MP + Quantize", 50, 36.70, 93.51, 19.13, 91.87),
    _row("conv1_maxpool_quantize_alpha300", "Conv(1) + MP + Quantize", 300, 36.70, 93.51, 5.2, 74.81),
    _row("conv4_maxpool_quantize_alpha1", "Conv(4) + MP + Quantize", 1, 72.13, 96.94, 66.50, 98.44),
    _row("conv4_maxpool_quantize_alpha50", "Conv(4) + MP + Quantize", 50, 72.13, 96.94, 17.87, 87.75),
    _row("conv1_alpha300", "Conv(1)", 300, 73.50, 96.61, 56.17, 97.03),
    _row("maxpool", "MP", None, 60.40, 96.88),
    _row("quantize_alpha300", "Quantize", 300, 97.13, 99.81, 8.63, 78.03),
    _row("conv1_maxpool_alpha300", "Conv(1) + MP", 300, 54.40, 94.49, 24.17, 92.50),
    _row("conv1_quantize_alpha300", "Conv(1) + Quantize", 300, 59.43, 95.36, 12.07, 84.47),
    _row("maxpool_quantize_alpha300", "MP + Quantize", 300, 51.57, 96.01, 6.73, 74.56),
)
ROWS = {row.name: row for row in TABLE_1}


def table_markdown(cells: list[dict[str, Any]], notes: list[str]) -> str:
    """Table 1 as Markdown: one line per row, published and measured side by side, with n, interval and chance.

    cells: `models.encoder.paper` writes them (table1.json, "cells"): row, kind, question, percent, low, high, n, seeds,
    chance, published (or None).
    """
    found = {(cell["row"], cell["kind"], cell["question"]): cell for cell in cells}
    names = list(dict.fromkeys(cell["row"] for cell in cells))
    lines = [
        "| row | alpha | kind | identity, paper % | identity % | face, paper % | face % |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in names:
        for kind in ("unlearned", "learned"):
            both = [found.get((name, kind, question)) for question in ("identity", "face")]
            if both == [None, None]:
                continue
            some = both[0] or both[1] or {}
            alpha = "-" if some["alpha"] is None else f"{some['alpha']:g}"
            values = [part for cell in both for part in (_published(cell), _measured(cell))]
            lines.append(f"| {' | '.join([some['title'], alpha, kind, *values])} |")
    chances = {cell["question"]: cell["chance"] for cell in cells}
    said = ", ".join(f"{question} {100 * chance:.1f} %" for question, chance in sorted(chances.items()))
    lines += [
        "",
        f"Chance: {said}. Mean over seeds; brackets: 95 % interval (Wilson, n images); then n and seeds.",
        "",
    ]
    return "\n".join(lines + [f"- {note}" for note in notes]) + "\n"


def _published(cell: dict[str, Any] | None) -> str:
    return "-" if cell is None or cell["published"] is None else f"{cell['published']:.2f}"


def _measured(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return "-"
    return f"{cell['percent']:.2f} [{cell['low']:.1f}, {cell['high']:.1f}] n={cell['n']} x {cell['seeds']}"
