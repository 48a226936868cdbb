"""What protocol.yaml defines is what is committed: regenerating changes nothing, and the digest covers what matters."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from host.board import protocol

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ("firmware/src/protocol.h", "firmware/src/protocol.c", "firmware/tests/protocol_text.h")
COMMITTED = (*GENERATED, "host/board/protocol.py", "docs/protocol.md")


def generate(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "firmware" / "generate_protocol.py"), "--firmware", str(root / "firmware")]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the definition and of everything that is generated from it."""
    for name in ("firmware/protocol.yaml", *COMMITTED):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def digest_in(root: Path) -> str:
    lines = (root / "host" / "board" / "protocol.py").read_text().splitlines()
    return next(line for line in lines if line.startswith("SCHEMA_DIGEST"))


def test_regeneration_changes_nothing(copy: Path) -> None:
    before = {name: (copy / name).read_bytes() for name in COMMITTED}
    result = generate(copy)
    assert result.returncode == 0, result.stderr
    assert {name: (copy / name).read_bytes() for name in COMMITTED} == before


def test_the_check_names_a_stale_file_and_the_command(copy: Path) -> None:
    assert generate(copy, "--check").returncode == 0
    (copy / "host" / "board" / "protocol.py").write_text("# edited by hand\n")
    result = generate(copy, "--check")
    assert result.returncode == 1
    assert "protocol.py" in result.stderr
    assert "make -C firmware protocol" in result.stderr


def test_the_digest_covers_meaning_and_not_wording(copy: Path) -> None:
    definition = copy / "firmware" / "protocol.yaml"
    original = definition.read_text()
    definition.write_text(original.replace("Safe table, reply, restart.", "Restarts the board."))
    assert generate(copy).returncode == 0
    assert digest_in(copy) == digest_in(ROOT)
    for old, new in (("value: 2000, unit: ms", "value: 3000, unit: ms"), ("name: gain_milli", "name: gain")):
        assert old in original
        definition.write_text(original.replace(old, new))
        assert generate(copy).returncode == 0
        assert digest_in(copy) != digest_in(ROOT)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("type: 0x15", "type: 0x14", "share a type"),
        ("kind: notice", "kind: rumour", "rumour"),
        ("states: [faulted]", "states: [confused]", "confused"),
        ("{name: crc32, type: u32,", "{name: crc32, type: u24,", "u24"),
    ],
)
def test_a_wrong_definition_is_refused(copy: Path, old: str, new: str, complaint: str) -> None:
    definition = copy / "firmware" / "protocol.yaml"
    assert old in definition.read_text()
    definition.write_text(definition.read_text().replace(old, new, 1))
    result = generate(copy)
    assert result.returncode != 0
    assert complaint in result.stderr


def test_c_and_python_agree_on_the_digest() -> None:
    header = (ROOT / "firmware" / "src" / "protocol.h").read_text()
    assert "{" + ", ".join(f"0x{byte:02X}" for byte in protocol.SCHEMA_DIGEST) + "}" in header


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (protocol.Hello(b"short"), "Hello.schema_digest: 5 bytes, expected 8"),
        (protocol.Credit(-1, 0), "Credit"),
        (protocol.StageThresholds(bytes(16), (1, 2), (0,) * 15), "2 numbers, expected 15"),
        (protocol.StageThresholds(bytes(16), (0,) * 15, (40000,) * 15), "StageThresholds"),
        (protocol.ClearFault(256), "ClearFault"),
    ],
)
def test_values_out_of_range_are_refused(message: protocol.Message, complaint: str) -> None:
    with pytest.raises(protocol.ProtocolError, match=complaint):
        message.pack()


def test_payloads_of_the_wrong_size_are_refused() -> None:
    for message in (*protocol.FROM_HOST.values(), *protocol.FROM_BOARD.values()):
        for size in {0, message.SIZE - 1, message.SIZE + 1} - {-1}:
            if size == message.SIZE or (message is protocol.Measurement and size > message.SIZE):
                continue
            with pytest.raises(protocol.ProtocolError):
                message.unpack(bytes(size))


def test_text_is_ascii_of_limited_length() -> None:
    def reply(serial: str) -> protocol.HelloReply:
        return protocol.HelloReply(bytes(8), 1, bytes(3), serial, 1, 15, 16, 2500000, 1, 1, 0, 0, 0)

    assert protocol.HelloReply.unpack(reply("CANOPIC-1").pack()) == reply("CANOPIC-1")
    for serial in ("x" * 17, "CANOPIÇ"):
        with pytest.raises(protocol.ProtocolError, match="at most 16"):
            reply(serial).pack()
