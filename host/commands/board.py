"""canopic board info | selftest | thresholds | clear: on a given port, or on a twin started for it."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from rich.table import Table

from host.board.client import BoardClient
from host.board.deadline import Deadline
from host.board.errors import BoardError, PortBusy
from host.board.protocol import NO_CHANNEL, Fault, State
from host.board.thresholds import (
    DAC_FULL_SCALE,
    dac_codes_to_volts,
    effective_levels,
    thresholds_digest,
    thresholds_to_dac_codes,
)
from host.commands.common import DONE, FAILED, WRONG_INPUT, expected, out, print_json
from host.outputs.claims import levels_line
from host.seal.sealing import sealed_trims
from host.twin.board_process import BoardProcess
from optics.archive import BundleError
from optics.bundle import read_bundle, resolve_bundle

CONNECT_S = 5.0
# A blind daemon looks at its board every few seconds and has the port meanwhile.
BUSY_S = 3.0


def info(port: str | None, as_json: bool) -> int:
    """Print who the board is and how it is."""
    with expected(BoardError), _board(port) as client:
        hello, status = client.identity, client.status()
    facts = {
        "port": port or "a twin started for this command",
        "serial": hello.board_serial,
        "firmware": client.firmware,
        "protocol_version": hello.protocol_version,
        "boot_id": hello.boot_id,
        "state": State(status.state).name.lower(),
        "fault": Fault(status.fault).name.lower(),
        "fault_channel": None if status.fault_channel == NO_CHANNEL else status.fault_channel,
        "uptime_s": round(status.uptime_ms / 1000, 1),
        "supply_volts": round(status.supply_millivolts / 1000, 3),
        "thresholds_digest": f"{status.thresholds_crc:08x}" if status.thresholds_crc else None,
        "encoding_id": bytes(status.encoding_id).hex() if any(status.encoding_id) else None,
        "frames_unmeasured": status.frames_unmeasured,
        "rx_bad_frames": status.rx_bad_frames,
        "measurement_slots": hello.measurement_slots,
        "max_cells": hello.max_cells,
        "dac_bits": hello.dac_bits,
        "comparators": hello.comparators,
        "reference_volts": hello.reference_microvolts / 1e6,
    }
    _print_facts(facts, as_json)
    return DONE


def selftest(port: str | None, as_json: bool) -> int:
    """Print every channel that does not work; exit status 1 if there is one."""
    with expected(BoardError), _board(port) as client:
        tested = client.selftest()
    broken = {
        "dac_channels": [channel for channel, works in enumerate(tested.dac_ok) if not works],
        "comparators": [channel for channel, works in enumerate(tested.comparators_ok) if not works],
    }
    passed = not any(broken.values())
    if as_json:
        print_json({"passed": passed, "broken": broken, "supply_volts": tested.supply_volts})
    else:
        parts = [f"{name.replace('_', ' ')} {channels} do not work" for name, channels in broken.items() if channels]
        good = f"{len(tested.dac_ok)} DAC channels and {len(tested.comparators_ok)} comparators work"
        out().print(
            f"{'passed' if passed else 'FAILED'}: {'; '.join(parts) or good}; supply {tested.supply_volts:.2f} V"
        )
    return DONE if passed else FAILED


def thresholds(port: str | None, bundle_name: str, as_json: bool) -> int:
    """Print what the board reads back beside what the bundle wants (a twin started for it gets the bundle's first)."""
    with expected(BundleError, ValueError, status=WRONG_INPUT):
        bundle = read_bundle(resolve_bundle(bundle_name))
        wanted = thresholds_to_dac_codes(bundle.encoding.thresholds)
        trims = sealed_trims(bundle)
        digest = thresholds_digest(wanted, trims)
    with expected(BoardError), _board(port) as client:
        if port is None:
            client.provision(bundle.encoding.id, wanted, trims)
        found = client.read_thresholds()
    sealed = [0] * len(wanted) if trims is None else trims.tolist()
    same = bool((found.dac_codes == wanted).all()) and found.trims.tolist() == sealed
    if as_json:
        print_json({
            "board": {
                "dac_codes": found.dac_codes.tolist(),
                "trims": found.trims.tolist(),
                "readback": found.readback.tolist(),
                "digest": found.digest,
            },
            "bundle": {"dac_codes": wanted.tolist(), "trims": sealed, "digest": digest},
            "same": same,
            "effective_levels": effective_levels(found.dac_codes),
        })  # fmt: skip
        return DONE if same else FAILED
    table = Table("comparator", "board", "volts", "trim", "bundle", "its trim", "", box=None, pad_edge=False)
    rows = zip(found.dac_codes.tolist(), found.trims.tolist(), wanted.tolist(), sealed, strict=True)
    for channel, (have, trim, want, own_trim) in enumerate(rows):
        volts = f"{float(dac_codes_to_volts(have)):.4f}"
        differs = "" if (have, trim) == (want, own_trim) else "DIFFERENT"
        table.add_row(str(channel), str(have), volts, _signed(trim), str(want), _signed(own_trim), differs)
    console = out()
    console.print(table)
    safe = bool((found.readback == DAC_FULL_SCALE).all())
    state = "the safe table: nothing is committed" if safe else levels_line(effective_levels(found.dac_codes))
    console.print(f"board {found.digest} ({state}), bundle {digest}")
    return DONE if same else FAILED


def _signed(trim: int) -> str:
    return f"{trim:+d}" if trim else "0"


def clear(port: str | None) -> int:
    """Clear the latched fault; restart a board that has none, so that a blind daemon verifies it again."""
    with expected(BoardError), _board(port) as client:
        status = client.status()
        if status.state == State.FAULTED:
            client.clear_fault()
            out().print(f"cleared: {Fault(status.fault).name.lower()}")
        else:
            client.reset()
            out().print("no fault is latched; the board was restarted, so that a blind daemon verifies it again")
    return DONE


@contextmanager
def _board(port: str | None) -> Iterator[BoardClient]:
    with ExitStack() as stack:
        path = port or str(stack.enter_context(BoardProcess()).pty)
        client = stack.enter_context(BoardClient(path))
        until_s = time.monotonic() + BUSY_S
        while True:
            try:
                client.connect(Deadline(CONNECT_S, f"connecting to the board at {path}"))
                break
            except PortBusy:
                if time.monotonic() > until_s:
                    raise
                time.sleep(0.05)
        yield client


def _print_facts(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for key, value in facts.items():
        if value is not None:
            table.add_row(key.replace("_", " "), str(value))
    out().print(table)
