"""Draws Fig. 6: discrete ROC curves of all subjects, true positive rate over the number of false positives."""

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from optics.whole_file import whole_file

TITLES = {
    "clean": "clean (8 x 8 means)",
    "blur": "Gaussian blur",
    "pixelate": "pixelate",
    "conv1_maxpool_quantize_alpha1": "Conv(1) + MP + Quantize, alpha 1",
    "conv4_maxpool_quantize_alpha1": "Conv(4) + MP + Quantize, alpha 1",
}
# The published figure ends here.
MOST_FALSE_POSITIVES = 2000


def draw_figure(curves: dict[str, dict[str, Any]], path: Path) -> None:
    """Writes a PNG of the curves (`models.encoder.paper_detection`), whole or not at all."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, curve in curves.items():
        roc = curve["roc"]
        # Clean and pixelate may be one picture: the one drawn later must not hide the other.
        style = "--" if name == "pixelate" else "-"
        axes.plot(
            roc["false_positives"], roc["true_positive_rate"], style, drawstyle="steps-post",
            label=f"{TITLES.get(name, name)}, AP {curve['ap']['value']:.2f}",
        )  # fmt: skip
    some = next(iter(curves.values()))
    axes.set(
        xlim=(0, MOST_FALSE_POSITIVES),
        ylim=(0, 1),
        xlabel="false positives",
        ylabel="true positive rate",
        title=f"FDDB, {some['photographs']} photographs, {some['faces']} faces",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", dpi=150)
