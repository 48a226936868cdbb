"""Puts a sensor together from its configuration: storage, bundle, models, scene, board; then runs the daemon."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from host.boundary.client import TwinFault
from host.boundary.measuring import NotMeasurable
from host.causes import Cause, Interlock
from host.config import Config
from host.daemon import Daemon, Limits, stand_blind
from host.gpio.pins import Pins
from host.interlocks import StatusLight, interlocks_of, open_panel
from host.measurement import KernelUse
from host.mounting import mounting_warning
from host.outputs.report import About, Output, Summary
from host.pipeline import Pipeline
from host.seal.sealing import sealed_exposure
from host.shown_mask import ShownMask, open_shown_mask
from host.source import Source, open_source
from host.stop import StopRequest
from host.storage import open_storage
from host.twin.scene import parse_scene
from host.weak_detector import weak_detector_warning
from models.detector.runtime import FaceDetector, ModelError
from optics.archive import BundleError
from optics.bundle import Bundle, read_bundle, resolve_bundle

DETECTOR = "detector.onnx"
# What the configuration's own exposure may be (host.config.Exposure).
LEAST_EXPOSURE_US, LONGEST_EXPOSURE_US, HIGHEST_GAIN = 100, 33_000, 16.0


@dataclass(frozen=True)
class Settings:
    """What a run needs: its configuration, the directory of its state, and when it ends by itself. twin_fault: of the
    camera of a rehearsal. interlocks: reasons to be blind besides board and camera (host.causes.Interlock)."""

    config: Config
    directory: Path
    limits: Limits = field(default_factory=Limits)
    twin_fault: TwinFault | None = None
    interlocks: Sequence[Interlock] = ()


@dataclass(frozen=True)
class Equipment:
    """A bundle and the detector in it, known to belong together."""

    path: Path
    bundle: Bundle
    detector: FaceDetector


def load_equipment(config: Config) -> Equipment:
    """Read the bundle and start its detector. Raises BundleError, or ModelError where they do not belong together."""
    path = resolve_bundle(config.bundle)
    bundle = read_bundle(path)
    if DETECTOR not in bundle.models:
        raise BundleError(
            f"{path} holds no {DETECTOR}, only {sorted(bundle.models) or 'an encoding'}; use another bundle"
        )
    detector = FaceDetector(
        bundle.models[DETECTOR],
        config.detector.threads,
        metadata=bundle.metadata[DETECTOR],
        encoding_id=bundle.encoding.id,
        score_threshold=config.detector.score_threshold,
        pool_px=bundle.encoding.pool,
    )
    shape = (
        bundle.rows_px // bundle.encoding.pool,
        bundle.columns_px // bundle.encoding.pool,
        bundle.encoding.channels,
    )
    if detector.shape != shape:
        raise ModelError(f"the detector takes codes of shape {detector.shape}, the bundle's sensor gives {shape}")
    return Equipment(path, bundle, detector)


def run_configured(
    settings: Settings, outputs: Sequence[Output], stop: StopRequest, opened: Callable[[Source], None] = lambda _: None
) -> Summary:
    """Run a sensor to its end and return what it did.

    `opened` is called with the source once it is there (tests inject faults through it). A bundle that cannot be used
    leaves a sensor that is blind from the start. Raises StorageError, SceneError, TwinError or ValueError for what
    cannot even start.
    """
    config = settings.config
    with ExitStack() as stack:
        storage = stack.enter_context(open_storage(settings.directory, config.storage.retention_days))
        if config.capture.path == "twin" or config.camera.device == "twin":
            parse_scene(config.capture.scene)  # says at once that there is no such scene
        for output in outputs:
            output.progress("starting: bundle and models")
        try:
            equipment = load_equipment(config)
        except (BundleError, ModelError) as error:
            cause = Cause(type(error).__name__, str(error), True, "correct the bundle, then start again")
            return stand_blind(cause, storage, outputs, stop, settings.limits.stay_blind)
        panel = open_panel(config, stack)
        shown = open_shown_mask(config, equipment.bundle, stack)
        for missing in (panel, shown):
            if isinstance(missing, Cause):
                return stand_blind(missing, storage, outputs, stop, settings.limits.stay_blind)
        if isinstance(panel, Pins):
            outputs = [*outputs, StatusLight(panel)]
        for output in outputs:
            output.progress(_slow_step(config))
        try:
            source = open_source(config, equipment.bundle, equipment.path, settings.twin_fault)
        except NotMeasurable as error:
            cause = Cause("bundle_and_camera", str(error), True, "use a bundle that fits the camera, then start again")
            return stand_blind(cause, storage, outputs, stop, settings.limits.stay_blind)
        stack.callback(source.close)
        opened(source)
        bundle = equipment.bundle
        warnings = (mounting_warning(config, bundle), weak_detector_warning(bundle, config.presence.enabled))
        about = About(
            bundle_name=equipment.path.stem,
            bundle_id=bundle.id,
            encoding_id=bundle.encoding.id,
            effective_levels=bundle.encoding.effective_levels,
            rows_px=bundle.rows_px,
            columns_px=bundle.columns_px,
            capture_path=config.capture.path,
            source=source.description,
            state_directory=str(settings.directory),
            kernel=source.kernel,
            warnings=tuple(each for each in warnings if each is not None),
        )
        daemon = Daemon(
            source.capture,
            Pipeline(
                equipment.detector,
                bundle.encoding,
                with_sealed_exposure(config, bundle),
                _room_key(bundle.encoding.id, source.kernel),
            ),
            source,
            about,
            storage=storage,
            outputs=outputs,
            stop=stop,
            limits=settings.limits,
            interlocks=[
                *interlocks_of(config, bundle, settings.directory, panel if isinstance(panel, Pins) else None),
                *([shown] if isinstance(shown, ShownMask) else []),
                *settings.interlocks,
            ],
        )
        return daemon.run()


def with_sealed_exposure(config: Config, bundle: Bundle) -> Config:
    """The configuration with the exposure and gain that the bundle's range was calibrated to, where a camera looks and
    the configuration sets none itself."""
    sealed = sealed_exposure(bundle)
    if sealed is None or config.capture.path not in ("camera", "loop"):
        return config
    exposure_us = min(max(sealed[0], LEAST_EXPOSURE_US), LONGEST_EXPOSURE_US)
    found = {"exposure_us": exposure_us, "gain": min(max(sealed[1], 1.0), HIGHEST_GAIN)}
    missing = {name: value for name, value in found.items() if name not in config.exposure.model_fields_set}
    return config.model_copy(update={"exposure": config.exposure.model_copy(update=missing)})


def _room_key(encoding_id: str, kernel: KernelUse | None) -> str:
    """What a learned room belongs to: behind another kernel the same room has other codes."""
    return encoding_id if kernel is None else f"{encoding_id}:{kernel.digest}"


def _slow_step(config: Config) -> str:
    if config.capture.path == "camera" or (config.capture.path == "loop" and config.capture.port is not None):
        return "starting: camera, inside the boundary process"
    if config.capture.path == "board":
        return f"starting: board on {config.capture.port}"
    built = os.environ.get("CANOPIC_BOARD") is not None
    return "starting: twin" + ("" if built else " (the first time, this compiles the firmware)")
