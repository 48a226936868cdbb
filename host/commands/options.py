"""Command-line options that several commands share, as configuration overrides."""

from pathlib import Path


def light_steps(text: str | None) -> list[list[float]]:
    """ "12:0.3,20:1" to [[12.0, 0.3], [20.0, 1.0]]. Raises ValueError."""
    if not text:
        return []
    steps = []
    for part in text.split(","):
        at_s, colon, factor = part.partition(":")
        try:
            steps.append([float(at_s), float(factor)])
        except ValueError:
            colon = ""
        if not colon:
            raise ValueError(f'--light: {part!r} is not valid: expected SECONDS:FACTOR, such as "12:0.3,20:1"')
    return steps


def overrides(
    *,
    scene: str | None = None,
    pace: str | None = None,
    board: str | None = None,
    bundle: str | None = None,
    seed: int | None = None,
    light: str | None = None,
    kernel: Path | None = None,
    sensor: Path | None = None,
    state: Path | None = None,
    output_format: str | None = None,
    path: str | None = None,
    camera: str | None = None,
) -> dict[str, tuple[object, str]]:
    """What the options change in the configuration: {"capture.scene": (value, "--scene")}. Raises ValueError.

    A board's port alone means path board; with --path loop it is the port of the board in the loop.
    """
    given: dict[str, tuple[object, str]] = {
        "capture.path": (path or (board and "board"), "--path" if path else "--board"),
        "camera.device": (camera, "--camera"),
        "capture.port": (board, "--board"),
        "capture.scene": (scene, "--scene"),
        "capture.pace": (pace, "--pace"),
        "capture.seed": (seed, "--seed"),
        "capture.light": (light_steps(light) or None, "--light"),
        "capture.kernel": (kernel and str(kernel), "--kernel"),
        "capture.sensor": (sensor and str(sensor), "--sensor"),
        "bundle": (bundle, "--bundle"),
        "storage.directory": (state and str(state), "--state"),
        "output.format": (output_format, "--json"),
    }
    return {key: (value, option) for key, (value, option) in given.items() if value is not None}
