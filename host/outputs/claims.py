"""What may be claimed about a measurement: derived from where its steps happened, never written by hand elsewhere."""

from collections.abc import Mapping

from host.measurement import Step

BEFORE_DIGITAL: frozenset[Step] = frozenset({"optical", "analog"})


def provenance_line(steps: Mapping[str, Step]) -> str:
    """Each step and where it happened: "convolution optical, pooling analog, thresholds analog"."""
    return ", ".join(f"{step} {where}" for step, where in steps.items())


def claim(steps: Mapping[str, Step]) -> str:
    """One sentence on what never existed as digital data. Claims nothing for a step that was digital or simulated."""
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


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
