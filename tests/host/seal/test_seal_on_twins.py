"""A twin calibrated, sealed, run and verified: its codes as predicted, each mismatch blind, and recovery from each."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from host.board.client import BoardClient
from host.boundary.measuring import Measuring, digital
from host.calibrate.procedure import Procedure, Step, StepData
from host.calibrate.run import Session, SessionError
from host.camera.about import Exposed
from host.commands.agreement import calibrated_twin
from host.commands.verify import verify_sensor
from host.config import Config
from host.daemon import Limits
from host.figures.agreement import draw
from host.seal.agreement import agreement, hidden_camera
from host.seal.sealed_model import predicted_codes, sealed_model
from host.seal.sealing import seal, seal_of
from host.seal.verification import FILE_NAME, Check, Verification, read_verification, verification, write_verification
from host.seal.verification_parts import DeviceParts, TwinParts
from host.seal.verifying import NotLooked, NotSealed, verify, with_earlier
from host.twin.bench import BenchError, make_bench
from host.twin.board_process import BoardProcess
from host.twin.mosaic import MosaicSensor
from optics.bundle import Attachment, Bundle, default_bundle_path, read_bundle, write_bundle
from optics.code_change import photographs
from optics.encoding import convolve_psf
from tests.host.seal import parts
from tests.host.sensing import Memory, Running, board_missing, make_room

pytestmark = pytest.mark.skipif(bool(board_missing()), reason=f"no board program: {board_missing()}")
SEED, OTHER = 3, 4
MEASUREMENTS = 4
PINS = {"device": "twin", "source_pin": 22}


@pytest.fixture(scope="module")
def sealed() -> Bundle:
    return calibrated_twin(read_bundle(default_bundle_path()), SEED, lambda _text: None)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_room(tmp_path_factory.mktemp("scene") / "room", 12)


Run = Callable[..., Memory]


@pytest.fixture
def run(room: Path, tmp_path: Path) -> Run:
    """Run a bundle through the daemon, on the twin of a seed; its state stays the same between two runs of a test."""

    def made(bundle: Bundle, seed: int = SEED, **overrides: Any) -> Memory:
        path = tmp_path / "sealed.canopic"
        write_bundle(bundle, path)
        limits = Limits(MEASUREMENTS, stay_blind=False)
        given = {"bundle": str(path), "capture.seed": seed, **overrides}
        with Running(room, tmp_path / "state", limits, **given) as running:
            return running.finish()

    return made


def blind(memory: Memory) -> str:
    """Why nothing was measured."""
    assert memory.measurements == []
    assert memory.summary is not None
    assert memory.summary.state == "blind"
    return str(memory.summary.reason)


def senses(memory: Memory) -> bool:
    return len(memory.measurements) == MEASUREMENTS


# The model's codes and the twin's


@pytest.fixture(scope="module")
def coffee(sealed: Bundle) -> list[tuple[str, NDArray[np.float32]]]:
    return [each for each in photographs(sealed.rows_px, sealed.columns_px) if each[0] == "coffee"]


def test_predicted_codes_agree_with_the_twins_as_well_as_its_noise_allows(
    sealed: Bundle, coffee: list[tuple[str, NDArray[np.float32]]], tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    camera = hidden_camera(SEED)
    found = agreement(sealed, camera, coffee, lambda done, total, _: seen.append((done, total)))
    assert [row.name for row in found.rows][0::4] == ["nothing calibrated", "+ sensor noise"]
    assert found.before.share < 0.5
    assert 0.9 < found.exposures.share < 0.995
    # Only one of a prediction and an exposure is noisy, so a good model is at least as near as two exposures.
    assert found.after.share > found.exposures.share - 0.01
    assert found.after.share > found.rows[2].share > found.rows[1].share > found.before.share
    assert seen[-1] == (4, 4)
    assert json.loads(json.dumps(found.as_json()))["photographs"] == ["coffee"]
    draw(found, tmp_path / "agreement.png")
    assert (tmp_path / "agreement.png").stat().st_size > 10_000
    # The model of one twin does not fit another's optics and comparators.
    other = hidden_camera(OTHER)
    wrong = agreement(sealed, replace(camera, kernels=other.kernels, board=other.board), coffee).after.share
    assert wrong < found.after.share - 0.02


@dataclass(eq=False)
class Still:
    """Light that stands still on the sensor (host.twin.bench.World)."""

    light: NDArray[np.float32]

    def __post_init__(self) -> None:
        _, self.rows_px, self.columns_px = self.light.shape

    def irradiance(self, time_s: float) -> NDArray[np.float32]:
        del time_s
        return self.light


def test_codes_of_the_boundary_are_predicted_from_the_mosaic_up(sealed: Bundle) -> None:
    """Path camera: Bayer mosaic, converter, colours evened out, digital thresholds, all of it the product's own."""
    camera, own = hidden_camera(SEED), make_bench("sensor", SEED)
    scene = dict(photographs(sealed.rows_px, sealed.columns_px))["coffee"]
    light = np.maximum(convolve_psf(scene, camera.kernels), 0)
    bits, black_dn = own.camera_options["bits"], own.camera_options["black_dn"]
    sensor = MosaicSensor(Still(light), own.sensor, np.random.default_rng(1), bits, black_dn, "RGGB")
    mosaic = np.empty(sensor.size_px[::-1], np.uint16)
    about = Exposed(0, 0.0, 10_000.0, 1.0, (black_dn,) * 4, 2**bits - 1, "RGGB")
    measuring = Measuring(sealed, digital(sealed))
    codes = []
    for _ in range(2):
        sensor.take(0.0, 10_000.0, 1.0, mosaic)
        codes.append(measuring.codes(mosaic, about))
    predicted = predicted_codes(sealed_model(sealed, "camera", (10_000.0, 1.0)), scene)
    limit = (codes[0] == codes[1]).mean()
    assert limit > 0.9
    assert (predicted == codes[0]).mean() > limit - 0.01
    uneven = predicted_codes(sealed_model(sealed, "board", (10_000.0, 1.0)), scene)
    assert (uneven == codes[0]).mean() < limit - 0.1


# The daemon


def test_a_sealed_twin_senses_with_its_trims_and_says_which_bundle(sealed: Bundle, run: Run) -> None:
    memory = run(sealed)
    named = seal_of(sealed)
    assert named is not None
    assert senses(memory)
    assert {m["provenance"]["thresholds_digest"] for m in memory.measurements} == {named["board"]["thresholds_digest"]}
    assert {m["provenance"]["board_serial"] for m in memory.measurements} == {named["board"]["serial"]}
    assert memory.about is not None
    assert memory.about.bundle_id == sealed.id


def test_another_board_blinds_until_the_sealed_one_is_back(sealed: Bundle, run: Run) -> None:
    assert "board TWIN-0003 is sealed, this is TWIN-0004" in blind(run(sealed, OTHER))
    assert senses(run(sealed))


def test_another_model_in_the_archive_blinds(sealed: Bundle, run: Run) -> None:
    name = next(iter(sealed.models))
    lenient = replace(sealed, metadata={**sealed.metadata, name: {**sealed.metadata[name], "score_threshold": 0.99}})
    assert f"model {name} is another one" in blind(run(lenient))
    assert senses(run(sealed))


def test_other_trims_in_the_archive_blind(sealed: Bundle, run: Run) -> None:
    assert sealed.calibration is not None
    arrays = sealed.calibration.arrays | {"board.trims": np.zeros(15, np.int16)}
    changed = replace(sealed, calibration=Attachment(sealed.calibration.document, arrays))
    assert "an array of the calibration" in blind(run(changed))
    assert senses(run(sealed))


def test_trims_that_the_seal_does_not_name_blind(sealed: Bundle, run: Run) -> None:
    """A seal whose digest of thresholds is another one, made consistent by whoever changed it."""
    assert sealed.calibration is not None
    document = sealed.calibration.document
    named = {**document["seal"], "board": {**document["seal"]["board"], "thresholds_digest": "00000000"}}
    changed = replace(sealed, calibration=Attachment({**document, "seal": named}, sealed.calibration.arrays))
    assert "sealed are 00000000" in blind(run(changed))
    assert senses(run(sealed))


def test_a_real_seal_does_not_run_on_a_twin_nor_a_forced_one(sealed: Bundle, run: Run) -> None:
    plain, now = read_bundle(default_bundle_path()), datetime.now(UTC).isoformat()
    real = seal(plain, {"board": parts.board(plain)}, sealed_at=now, by=parts.BY)
    assert "sealed on real parts, and this is a twin" in blind(run(real))
    failed = parts.board(plain, twin=True)
    failed = replace(failed, outcome=replace(failed.outcome, passed=False))
    forced = seal(plain, {"board": failed}, sealed_at=now, by=parts.BY, force=True)
    assert "had not passed: board" in blind(run(forced))
    assert senses(run(sealed))


REHEARSED = {"camera.device": "twin"}


def test_another_camera_blinds_the_camera_path_until_the_sealed_one_is_back(sealed: Bundle, run: Run) -> None:
    plain, now = read_bundle(default_bundle_path()), datetime.now(UTC).isoformat()
    other = {"psf": parts.psf(twin=True, camera="imx708 elsewhere")}
    elsewhere = seal(plain, other, sealed_at=now, by=parts.BY)  # type: ignore[arg-type]
    path = {"capture.path": "camera", **REHEARSED}
    assert "camera imx708 elsewhere is sealed, this is imx219" in blind(run(elsewhere, **path))
    assert senses(run(sealed, **path))


def test_another_board_blinds_the_loop_and_a_seal_without_board_does_too(sealed: Bundle, run: Run) -> None:
    loop = {"capture.path": "loop", **REHEARSED}
    assert "board TWIN-0003 is sealed, this is TWIN-0004" in blind(run(sealed, OTHER, **loop))
    memory = run(sealed, **loop)
    assert senses(memory)
    named = seal_of(sealed)
    assert named is not None
    assert {m["provenance"]["thresholds_digest"] for m in memory.measurements} == {named["board"]["thresholds_digest"]}


def test_a_mask_that_the_bundle_does_not_hold_blinds(sealed: Bundle, run: Run) -> None:
    assert "the bundle names no mask" in blind(run(sealed, **{"mask.id": "abcd1234"}))
    assert senses(run(sealed))


def test_a_failed_or_old_or_damaged_verification_blinds_until_one_passes(
    sealed: Bundle, run: Run, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    bad, good = Check("psf", 0.3, 0.1, "", False, "the PSF changed"), Check("psf", 0.0, 0.1, "", True, "fine")
    write_verification(verification(sealed.id, [bad]), state)
    assert "psf: the PSF changed" in blind(run(sealed))
    (state / FILE_NAME).write_text("no json")
    assert "cannot be read" in blind(run(sealed))
    write_verification(verification(sealed.id, [good]), state)
    assert senses(run(sealed))
    old = (datetime.now(UTC) - timedelta(days=100)).isoformat(timespec="seconds")
    aged = _sealed_at(sealed, old)
    write_verification(Verification(aged.id, old, (good,)), state)
    assert "100 days ago" in blind(run(aged))
    write_verification(verification(aged.id, [good]), state)
    assert senses(run(aged))


def _sealed_at(bundle: Bundle, at: str) -> Bundle:
    assert bundle.calibration is not None
    document = bundle.calibration.document
    return replace(
        bundle,
        calibration=Attachment({**document, "seal": {**document["seal"], "sealed_at": at}}, bundle.calibration.arrays),
    )


# Verifying


def names(checks: list[Check], passed: bool) -> list[str]:
    return [check.name for check in checks if check.passed == passed]


def test_parts_that_are_what_they_were_pass(sealed: Bundle) -> None:
    said: list[str] = []
    checks = verify(sealed, TwinParts(SEED), progress=said.append)
    assert names(checks, True) == ["board", "psf", "read_noise", "black_level", "range"]
    assert names(checks, False) == []
    assert any(text.startswith("psf: ") for text in said)


@pytest.mark.parametrize(
    ("fault", "failed", "says"),
    [
        ("psf_drifted", "psf", "(wider). The mask is loose, dusty or wet"),
        ("mask_missing", "psf", "mask_missing"),
        ("source_off", "psf", "source_off"),
        ("board_drifted", "board", "switches"),
        ("stuck_comparator", "board", "comparator"),
        ("too_dark", "range", "too_dark"),
    ],
)
def test_what_has_drifted_fails_alone(sealed: Bundle, fault: str, failed: str, says: str) -> None:
    checks = verify(sealed, TwinParts(SEED, fault))
    assert names(checks, False) == [failed]
    assert says in next(check.note for check in checks if not check.passed)


def test_other_parts_fail(sealed: Bundle) -> None:
    checks = verify(sealed, TwinParts(OTHER))
    assert "board" in names(checks, False)
    assert "board TWIN-0003 is sealed, this is TWIN-0004" in checks[0].note


def test_a_board_on_a_port_is_verified_without_hands(sealed: Bundle) -> None:
    """The parts of a configuration: a served board, and a camera that nobody can arrange."""
    with BoardProcess(**make_bench("board", SEED).board) as board:
        config = Config.model_validate({"capture": {"path": "board", "port": str(board.pty)}})
        checks = verify(sealed, DeviceParts(sealed, config), unattended=True)
        # PSF and range ask for hands, so they are left out; what they found last stands.
        assert [(check.name, check.passed) for check in checks] == [("board", True)]
        with BoardClient(board.pty) as daemon:  # which still runs
            daemon.connect()
            with pytest.raises(NotLooked, match="the board cannot be looked at") as busy:
                verify(sealed, DeviceParts(sealed, config), unattended=True)
        assert names(verify(sealed, DeviceParts(sealed, config), unattended=True), True) == ["board"]
    assert busy.value.checks == ()
    with pytest.raises(NotLooked, match="is not there"):
        verify(sealed, DeviceParts(sealed, config), unattended=True)
    with pytest.raises(NotLooked, match="give --board PORT"):
        verify(sealed, DeviceParts(sealed, Config()), unattended=True)


def test_a_camera_that_nobody_can_arrange_leaves_no_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, now = read_bundle(default_bundle_path()), datetime.now(UTC).isoformat()
    alone = seal(plain, {"psf": parts.psf()}, sealed_at=now, by=parts.BY)
    write_bundle(alone, tmp_path / "alone.canopic")
    status = verify_sensor(
        None, bundle=str(tmp_path / "alone.canopic"), path="camera", board=None, seed=None, twin_fault=None,
        state=tmp_path / "state", unattended=True, yes=False, as_json=False,
    )  # fmt: skip
    assert status == 0
    assert "nothing of this sensor can be checked without hands" in capsys.readouterr().err
    assert read_verification(tmp_path / "state") is None


@pytest.mark.skipif(find_spec("libcamera") is not None, reason="libcamera is installed: run this where it is not")
def test_without_libcamera_nothing_is_said_of_the_camera_but_what_to_install() -> None:
    plain, now = read_bundle(default_bundle_path()), datetime.now(UTC).isoformat()
    alone = seal(plain, {"psf": parts.psf()}, sealed_at=now, by=parts.BY)
    with pytest.raises(NotLooked, match=r"psf cannot be looked at: .*picamera2"):
        verify(alone, DeviceParts(alone, Config.model_validate({"capture": {"path": "camera"}, "gpio": PINS})))


class NoCamera(TwinParts):
    """A twin whose camera another program has."""

    @contextmanager
    def session(self, procedure: Procedure) -> Iterator[Session]:
        del procedure
        yield Busy()


class Busy:
    """A session that never gets its camera."""

    device = "twin"

    def acquire(self, step: Step, before: dict[str, StepData]) -> StepData:
        del step, before
        raise SessionError("another program (canopic, process 7) has the camera: stop it", "camera_busy")


def test_a_busy_camera_says_nothing_but_a_board_that_drifted_before_does(
    sealed: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bundle(sealed, tmp_path / "sealed.canopic")
    state = tmp_path / "state"
    good = verification(sealed.id, [Check("psf", 0.0, 0.1, "", True, "fine")])
    write_verification(good, state)
    monkeypatch.setattr("host.commands.verify.TwinParts", NoCamera)

    def verified(fault: str | None) -> int:
        return verify_sensor(
            None, bundle=str(tmp_path / "sealed.canopic"), path="twin", board=None, seed=SEED, twin_fault=fault,
            state=state, unattended=False, yes=False, as_json=False,
        )  # fmt: skip

    assert verified(None) == 2
    said = capsys.readouterr().err
    assert "process 7) has the camera" in said
    assert "no record is written" in said
    assert read_verification(state) == good
    assert verified("board_drifted") == 1
    record = read_verification(state)
    assert record is not None
    assert [(check.name, check.passed) for check in record.checks] == [("board", False), ("psf", True)]


class Attended(DeviceParts):
    """A real sensor's parts, whose camera would open."""

    @contextmanager
    def session(self, procedure: Procedure) -> Iterator[Session]:
        del procedure
        yield Busy()


def test_without_a_terminal_nobody_is_asked_and_nothing_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`</dev/null`, as from cron: the earlier record stays."""
    plain, now = read_bundle(default_bundle_path()), datetime.now(UTC).isoformat()
    alone = seal(plain, {"psf": parts.psf()}, sealed_at=now, by=parts.BY)
    write_bundle(alone, tmp_path / "alone.canopic")
    config = tmp_path / "c.yaml"
    config.write_text("capture:\n  path: camera\nstorage:\n  directory: state\n")
    monkeypatch.setattr("host.commands.verify.DeviceParts", Attended)
    earlier = verification(alone.id, [Check("psf", 0.0, 0.1, "", True, "fine")])
    for kept in (None, earlier):
        if kept is not None:
            write_verification(kept, tmp_path / "state")
        status = verify_sensor(
            config, bundle=str(tmp_path / "alone.canopic"), path=None, board=None, seed=None, twin_fault=None,
            state=None, unattended=False, yes=False, as_json=False,
        )  # fmt: skip
        assert status == 2
        assert "standard input is no terminal" in capsys.readouterr().err
        assert read_verification(tmp_path / "state") == kept


def test_what_cannot_be_verified_is_said(sealed: Bundle) -> None:
    with pytest.raises(NotSealed, match="canopic seal"):
        verify(read_bundle(default_bundle_path()), TwinParts(SEED))
    with pytest.raises(BenchError, match="psf_drifted"):
        TwinParts(SEED, "no such fault")
    with pytest.raises(NotLooked, match="the board cannot be looked at"):
        verify(sealed, TwinParts(SEED, "no_board"))


def test_what_failed_stays_failed_until_it_is_checked_again(sealed: Bundle) -> None:
    bad = Check("psf", None, 0.0, "", False, "changed")
    good = Check("board", 0.1, 2.0, "mV", True, "fine")
    earlier = verification(sealed.id, [bad])
    assert names(with_earlier([good], earlier, sealed.id), False) == ["psf"]
    assert names(with_earlier([good], earlier, "another bundle"), False) == []
    assert names(with_earlier([replace(bad, passed=True)], earlier, sealed.id), False) == []


def test_the_command_blinds_the_daemon_and_lets_it_measure_again(
    sealed: Bundle, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bundle(sealed, tmp_path / "sealed.canopic")

    def verified(fault: str | None, as_json: bool = True) -> int:
        return verify_sensor(
            None, bundle=str(tmp_path / "sealed.canopic"), path="twin", board=None, seed=SEED, twin_fault=fault,
            state=tmp_path / "state", unattended=False, yes=False, as_json=as_json,
        )  # fmt: skip

    assert senses(run(sealed))
    assert verified("board_drifted") == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["kind"], said["passed"]) == ("verify", False)
    assert "board: " in blind(run(sealed))
    assert verified(None, as_json=False) == 0
    assert "passed: 5 checks passed" in capsys.readouterr().out
    record = read_verification(tmp_path / "state")
    assert record is not None
    assert record.bundle_id == sealed.id
    assert senses(run(sealed))
