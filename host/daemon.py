"""The sensor's life: starting, verifying, sensing, blind. Measurements leave only while sensing.

    starting -> verifying -> sensing
                  ^   |        |
                  |   v        v
                  +-- blind <--+

Every way into `sensing` leads through a full verification: bundle and detector belong together, the board speaks the
same schema, passes its self-test and reads back the bundle's thresholds. Blindness has a reason. One that mends by
itself (a lost port, a restarted board) is tried again, with back-off; a latched one waits until somebody has acted.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from host.board.assembly import BoardMeasurement
from host.board.errors import BoardError
from host.boundary.errors import BoundaryFailed
from host.capture import CaptureSource, Identity, Probe
from host.causes import Cause, Interlock, cause_of
from host.measurement import Measurement, Provenance
from host.outputs.json_lines import started_detail
from host.outputs.report import About, Output, Reading, State, Summary
from host.pipeline import Decision, Pipeline
from host.recorder import Recorder
from host.source import Source
from host.stop import StopRequest
from host.storage import Storage
from host.stream import Place, Position, follow, next_stream, position_from_bytes, position_to_bytes

READ_S = 0.2
FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S = 0.1, 10.0
INTERLOCK_S = 0.25  # how often a sensor that an interlock blinds asks it again
PROBE_S = 2.0  # how often a blind sensor looks whether somebody has acted
# How often state is stored without an event, on the scene's clock or ours: while a hold runs, and otherwise. Storing
# all of it every second would wear out an SD card.
UNDECIDED_COMMIT_S, CALM_COMMIT_S = 0.5, 10.0
ROOM_S = 60.0  # how often the learned room is stored besides, on the scene's clock
# After the last frame of a scene: how long to wait for what is on its way, and where that last frame may be dropped.
DRAIN_S, DRAIN_DROPPED_S = 10.0, 1.0
BAD_IN_A_ROW = 10
KEPT_LATENCIES = 20_000
BLIND_WAIT_S = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run ends by itself. `measurements`: after so many; `stay_blind` False: once a reason is latched; `tries`:
    once so many verifications in a row have failed, for a simulation whose fault nobody mends."""

    measurements: int | None = None
    stay_blind: bool = True
    tries: int | None = None


class Daemon:
    """Runs one sensor until it is asked to stop, the scene ends, or a limit is reached."""

    def __init__(
        self,
        capture: CaptureSource,
        pipeline: Pipeline,
        source: Source,
        about: About,
        *,
        storage: Storage,
        outputs: Sequence[Output],
        stop: StopRequest,
        limits: Limits,
        interlocks: Sequence[Interlock] = (),
    ) -> None:
        """interlocks: reasons to be blind besides board and camera; see host.causes.Interlock."""
        self._capture, self._pipeline, self._source, self._about = capture, pipeline, source, about
        self._stop, self._limits = stop, limits
        self._interlocks = interlocks
        self._held: Interlock | None = None  # the interlock that blinds
        self._recorder = Recorder(storage, outputs, self._now)
        self.state: State = "starting"
        self.cause: Cause | None = None
        self._identity: Identity | None = None
        self._seen_blind: Probe | None = None
        self._told_cause: Cause | None = None
        self._back_off_s = FIRST_BACK_OFF_S
        self._try_at_s = 0.0
        self._failed_tries = 0
        self._position = Position()
        self._time_s: float | None = None
        self._sequence = self._unmeasured = self._occupied = self._bad_in_a_row = 0
        self._latencies_ms: deque[float] = deque(maxlen=KEPT_LATENCIES)
        self._committed_s = self._last_data_s = time.monotonic()
        self._committed_scene_s = self._room_scene_s = 0.0
        self._room_known = self._undecided = False
        self._why = ""

    def run(self) -> Summary:
        """Until done; then disarms the board and writes what waits. Bad data and broken hardware do not end it."""
        began_s = time.monotonic()
        self._restore()
        self._recorder.start(self._about)
        try:
            self._enter("verifying")
            while not self._done():
                if self.state == "verifying":
                    self._verify()
                elif self.state == "sensing":
                    self._sense()
                else:
                    self._wait_blind()
        finally:
            self._capture.release(disarm=True)
            summary = self._summary(time.monotonic() - began_s)
            self._recorder.event("stopped", asdict(summary), self._stored_state(room=True))
            self._recorder.close(summary)
        return summary

    def _done(self) -> bool:
        latched = self.state == "blind" and self.cause is not None and self.cause.latched
        if self._stop:
            self._why = self._stop.reason
        elif self._limits.measurements is not None and self._sequence >= self._limits.measurements:
            self._why = "as many measurements as asked for"
        elif not self._recorder.wanted:
            self._why = "nobody reads the output any more"
        elif self._source.failure is not None:
            self._why = f"the scene failed: {self._source.failure}"
        elif latched and not self._limits.stay_blind:
            self._why = "blind, and nobody here to act"
        elif self._limits.tries is not None and self._failed_tries >= self._limits.tries:
            self._why = f"still blind after {self._failed_tries} tries, and nobody here to act"
        elif self._source.finished and self._drained():
            self._why = "end of the scene"
        return bool(self._why)

    def _drained(self) -> bool:
        """Whether every measurement of a finished scene has arrived, or stopped arriving."""
        frames = self._source.frames
        if frames is not None and self._position.frame >= frames - 1:
            return True
        patience_s = DRAIN_DROPPED_S if self._source.dropped else DRAIN_S
        return self.state == "sensing" and time.monotonic() - self._last_data_s > patience_s

    def _enter(self, state: State, cause: Cause | None = None) -> None:
        before, self.state, self.cause = self.state, state, cause
        self._recorder.standing(state, cause)
        detail: dict[str, object] = {"from": before, "to": state}
        if cause is not None:
            detail |= asdict(cause)
        self._recorder.event("state", detail, self._stored_state())

    # Verifying

    def _rewind(self) -> None:
        # What the board had measured and not delivered is gone with its session. Between disarming and arming, since a
        # frame measured before the scene was wound back would arrive ahead of those that are missing.
        self._source.again_from(self._position.frame + 1)

    def _verify(self) -> None:
        began_s = time.monotonic()
        if self._interlocked(None):
            return
        try:
            again = self._rewind if self._identity is not None else None
            identity = self._capture.verify(*self._pipeline.exposure, before_arming=again)
        except (BoardError, BoundaryFailed, ValueError) as error:
            self._failed_tries += 1
            self._go_blind(cause_of(error))
            return
        self._failed_tries = 0
        if self._interlocked(identity):
            return
        before, self._identity = self._identity, identity
        self._back_off_s, self._told_cause = FIRST_BACK_OFF_S, None
        self._last_data_s = time.monotonic()
        if before is None:
            self._recorder.event("started", started_detail(self._about, identity))
        self._enter("sensing")
        restarted = before is not None and before.boot_id != identity.boot_id
        what = "board" if identity.camera is None else "camera"
        took = f"{what} verified in {time.monotonic() - began_s:.2f} s"
        if identity.sandbox is not None and identity.sandbox.get("missing"):
            took += f"; not enforced on this computer: {'; '.join(identity.sandbox['missing'])}"
        self._recorder.event("verified", {"message": took, "board_restarted": restarted, **asdict(identity)})

    # Blind

    def _interlocked(self, identity: Identity | None) -> bool:
        """Go blind where an interlock says so; whether it did."""
        for interlock in self._interlocks:
            cause = interlock(identity)
            if cause is not None:
                self._go_blind(cause)
                self._held = interlock
                return True
        return False

    def _go_blind(self, cause: Cause) -> None:
        self._held = None
        self._capture.release(disarm=cause.latched)
        now_s = time.monotonic()
        if cause.latched:
            self._seen_blind = self._capture.probe()
            self._try_at_s = now_s + PROBE_S
        else:
            self._try_at_s = now_s + self._back_off_s
            self._back_off_s = min(2 * self._back_off_s, LONGEST_BACK_OFF_S)
        if cause == self._told_cause:
            self.state, self.cause = "blind", cause  # tried again, still the same: no news
        else:
            self._told_cause = cause
            self._enter("blind", cause)

    def _wait_blind(self) -> None:
        self._stop.wait(min(BLIND_WAIT_S, max(0.0, self._try_at_s - time.monotonic())))
        self._commit_if_due()
        if self._stop or self.cause is None:
            return
        if self._held is not None and not self.cause.latched:
            self._try_at_s = time.monotonic() + INTERLOCK_S
            if self._held(None) is None:
                self._held, self.state = None, "verifying"
            return
        if time.monotonic() < self._try_at_s:
            return
        if not self.cause.latched:
            self.state = "verifying"  # quietly: told when it succeeds, or fails for another reason
            return
        self._try_at_s = time.monotonic() + PROBE_S
        seen = self._capture.probe()
        if seen.healthy and seen != self._seen_blind:
            self._told_cause = None
            self._recorder.event("operator_acted", {"message": "the board is not what it was; it is verified again"})
            self._enter("verifying")
        elif self._seen_blind is None or not self._seen_blind.answered:
            self._seen_blind = seen

    # Sensing

    def _sense(self) -> None:
        try:
            measured = self._capture.read(READ_S)
            # After reading: what was measured while, say, the cover went on must not count.
            if self._interlocked(self._identity):
                return
            if measured is not None:
                self._take(measured)
            self._commit_if_due()
        except (BoardError, BoundaryFailed) as error:
            cause = cause_of(error)
            if not cause.latched:  # else even what arrived in whole may be wrong
                for left in self._capture.leftover():
                    self._take(left, adjust=False)
            self._go_blind(cause)

    def _take(self, measured: BoardMeasurement, adjust: bool = True) -> None:
        """Decide on one measurement and report it, unless it was seen before a restart. Raises BoardError."""
        identity = self._identity
        if identity is None:
            return
        self._last_data_s = time.monotonic()
        place, after = follow(self._position, identity.boot_id, measured.frame, self._source.plays)
        if place is Place.SEEN:
            return
        time_s = measured.capture_time_us / 1e6 if self._on_scene_clock(identity) else time.time()
        try:
            decision = self._pipeline.decide(measured, time_s)
        except (ValueError, TypeError, ArithmeticError) as error:
            self._refuse(measured, error)
            return
        self._bad_in_a_row = 0
        if place is Place.NEXT and self._position.frame >= 0:
            self._unmeasured += max(0, measured.frame - self._position.frame - 1)
        self._position, self._time_s = after, time_s
        self._report(measured, decision, identity)
        if adjust and decision.exposure is not None:
            self._capture.set_exposure(*decision.exposure)

    def _refuse(self, measured: BoardMeasurement, error: Exception) -> None:
        self._bad_in_a_row += 1
        if self._bad_in_a_row == 1:
            self._recorder.event("bad_measurement", {"message": str(error), "frame": measured.frame})
        if self._bad_in_a_row >= BAD_IN_A_ROW:
            self._bad_in_a_row = 0
            reason = f"{BAD_IN_A_ROW} unusable measurements in a row: {error}"
            self._go_blind(Cause("bad measurements", reason, latched=False))

    def _report(self, measured: BoardMeasurement, decision: Decision, identity: Identity) -> None:
        now_s, time_s = time.monotonic(), self._now()
        kernel = self._about.kernel
        latency_ms = (now_s - measured.received_s) * 1000
        provenance = Provenance(
            capture_path=identity.capture_path,
            encoding_id=self._about.encoding_id,
            board_serial=identity.board_serial,
            firmware=identity.firmware,
            thresholds_digest=measured.thresholds_digest,
            boot_id=identity.boot_id,
            board_sequence=measured.sequence,
            frame=measured.frame,
            capture_time_s=measured.capture_time_us / 1e6,
            exposure_us=measured.exposure_us,
            gain=measured.gain,
            monotonic_s=now_s,
            wall_time_s=time.time(),
            simulated_kernel=None if kernel is None else f"{kernel.file}:{kernel.digest}",
            rehearsed_path=identity.rehearsed_path,
        )
        reading = Reading(
            sequence=self._sequence,
            time_s=time_s,
            count=decision.count,
            occupied=decision.occupied,
            measurement=Measurement(measured.codes, provenance),
            faces=decision.faces,
            present=decision.present,
            latency_ms=latency_ms,
            stages_ms=decision.stages_ms,
        )
        self._sequence += 1
        self._occupied += decision.occupied
        self._latencies_ms.append(latency_ms)
        if decision.room_known != self._room_known:
            # A restarted daemon that had to learn the room again would take whoever stands there for part of it.
            self._room_known = decision.room_known
            self._recorder.commit(state=self._stored_state(room=True))
        stream = self._position.stream
        self._recorder.storage.tally(stream, time_s, decision.count, decision.occupied)
        self._recorder.reading(reading)
        if decision.events:
            keys = [f"{stream}:{measured.frame}:{event.kind}" for event in decision.events]
            self._recorder.events(decision.events, keys, self._stored_state(room=True))

    # Clocks and state

    def _on_scene_clock(self, identity: Identity) -> bool:
        return identity.capture_path == "twin" and not self._source.wall_clock

    def _now(self) -> float:
        """The time of the last measurement; before the first one 0 on a scene's clock, else Unix time."""
        if self._time_s is not None and (self._identity is None or self._on_scene_clock(self._identity)):
            return self._time_s
        return 0.0 if self._source.plays and not self._source.live else time.time()

    def _commit_if_due(self) -> None:
        """Store the state without an event, now and then, and when a hold begins."""
        undecided = self._pipeline.undecided
        begins, self._undecided = undecided and not self._undecided, undecided
        pause_s = UNDECIDED_COMMIT_S if undecided else CALM_COMMIT_S
        scene_s = self._time_s or 0.0
        if begins:
            self._recorder.commit(state=self._stored_state(room=True))
        elif time.monotonic() - self._committed_s >= pause_s or abs(scene_s - self._committed_scene_s) >= pause_s:
            self._recorder.commit(state=self._stored_state())

    def _stored_state(self, room: bool = False) -> dict[str, bytes]:
        """What a restarted daemon needs to go on, the learned room only now and then."""
        if self._time_s is None:
            return {}
        self._committed_s, self._committed_scene_s = time.monotonic(), self._time_s
        state = {"position": position_to_bytes(self._position)} | self._pipeline.small_state()
        if room or abs(self._time_s - self._room_scene_s) >= ROOM_S:
            self._room_scene_s = self._time_s
            state |= self._pipeline.room_state()
        return state

    def _restore(self) -> None:
        stored = self._recorder.storage.load_state()
        self._position = position_from_bytes(stored.get("position"))
        if self._source.plays:
            self._position = next_stream(self._position)
        self._recorder.storage.notices.extend(self._pipeline.restore(stored))

    def _summary(self, duration_s: float) -> Summary:
        latencies = np.array(self._latencies_ms or [np.nan])
        p50, p99 = (None if np.isnan(p) else round(float(p), 3) for p in np.percentile(latencies, [50, 99]))
        return Summary(
            measurements=self._sequence,
            frames=self._source.frames,
            unmeasured=self._unmeasured,
            duration_s=round(duration_s, 3),
            events=dict(self._recorder.counted),
            occupied_share=round(self._occupied / max(1, self._sequence), 4),
            frames_per_second=round(self._sequence / max(duration_s, 1e-6), 2),
            latency_p50_ms=p50,
            latency_p99_ms=p99,
            state=self.state,
            reason=self.cause.reason if self.cause else None,
            why_stopped=self._why or "stopped by an error",
            failed=self._source.failure is not None or not self._why,
        )


def stand_blind(cause: Cause, storage: Storage, outputs: Sequence[Output], stop: StopRequest, stay: bool) -> Summary:
    """A sensor that cannot even start (its bundle is damaged or mismatched): blind, and saying so, until stopped."""
    began_s = time.monotonic()
    recorder = Recorder(storage, outputs, time.time)
    recorder.standing("blind", cause)
    recorder.event("state", {"from": "starting", "to": "blind", **asdict(cause)})
    while stay and recorder.wanted and not stop:
        stop.wait(BLIND_WAIT_S)
    duration_s = round(time.monotonic() - began_s, 3)
    why = stop.reason or "blind, and nobody here to act"
    counted = dict(recorder.counted)
    summary = Summary(0, None, 0, duration_s, counted, 0.0, 0.0, None, None, "blind", cause.reason, why, not stop)
    recorder.event("stopped", asdict(summary))
    recorder.close(summary)
    return summary
