"""What may be claimed about a measurement: derived from where its steps happened, never written by hand elsewhere."""

from collections.abc import Mapping

from host.measurement import KernelUse, RehearsedPath, Step

BEFORE_DIGITAL: frozenset[Step] = frozenset({"optical", "analog"})


def provenance_line(steps: Mapping[str, Step]) -> str:
    """Each step and where it happened: "convolution optical, pooling analog, thresholds analog"."""
    return ", ".join(f"{step} {where}" for step, where in steps.items())


def claim(steps: Mapping[str, Step], rehearsed: RehearsedPath | None = None) -> str:
    """One sentence on what never existed as digital data. Claims nothing for a step that was digital or simulated.

    rehearsed: the path whose drivers ran on a twin (Provenance.rehearsed_path); saying so claims nothing more.
    """
    if rehearsed is not None and any(where == "simulated" for where in steps.values()):
        return f"A rehearsal of path {rehearsed} with simulated parts: runs its drivers, protects nobody."
    if any(where == "simulated" for where in steps.values()):
        simulated = [step for step, where in steps.items() if where == "simulated"]
        return f"Simulated {_listed(simulated)}: shows how the sensor behaves, protects nobody."
    before = [step for step, where in steps.items() if where in BEFORE_DIGITAL]
    after = [step for step, where in steps.items() if where not in BEFORE_DIGITAL]
    if not before:
        return "Every step was digital: an image existed in this device."
    if not after:
        return f"{_listed(before).capitalize()} came before anything digital: only codes ever existed as data."
    return f"Only {_listed(before)} came before anything digital; {_listed(after)} did not."


def levels_line(effective_levels: int) -> str:
    """The levels that a 4-bit code really distinguishes: thresholds that coincide leave fewer than 16."""
    return f"4 bits, {effective_levels} effective level{'s' if effective_levels != 1 else ''}"


def kernel_line(kernel: KernelUse) -> str:
    """Which kernel a twin simulates in place of the bundle's, and how far it is from what the detector knows."""
    least, most = min(kernel.light), max(kernel.light)
    light = f"{least:.0%}" if f"{least:.0%}" == f"{most:.0%}" else f"{least:.0%} to {most:.0%}"
    return (
        f"{kernel.file} ({kernel.digest}) in place of the bundle's kernel: correlation {kernel.correlation:.3f}, "
        f"passes {light} of the light; thresholds and detector were made for the bundle's"
    )


def short_kernel_line(kernel: KernelUse) -> str:
    """`kernel_line` for the live view's narrow panel."""
    return f"{kernel.file} {kernel.digest}, not the bundle's kernel (correlation {kernel.correlation:.3f})"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
