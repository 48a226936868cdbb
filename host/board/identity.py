"""Who answers at the port: whether it speaks this host's protocol, and which end is stale where it does not."""

import importlib.metadata

from host.board import protocol
from host.board.errors import SchemaMismatch

_REBUILD = (
    "`make -C firmware protocol host` for the twin; for a real board, flash the firmware that comes with this version"
)
_UPDATE_HOST = "`git pull && make setup` on the host"


def firmware_text(hello: protocol.HelloReply) -> str:
    """The board's firmware version, such as "0.1.0"."""
    return ".".join(str(part) for part in hello.firmware_version)


def check_schema(hello: protocol.HelloReply) -> None:
    """Raise SchemaMismatch, naming the stale end and what fixes it, where the board's protocol is not this host's."""
    if hello.schema_digest == protocol.SCHEMA_DIGEST:
        return
    ours = (protocol.PROTOCOL_VERSION, _host_version())
    theirs = (hello.protocol_version, tuple(hello.firmware_version))
    # With the same version on both ends the definition was edited without raising it: then the host's generated module
    # and the firmware's are as old as their last build, and regenerating and rebuilding settles both.
    stale_end, fix = ("host", _UPDATE_HOST) if theirs > ours else ("firmware", _REBUILD)
    raise SchemaMismatch(
        stale_end,
        host=f"protocol {ours[0]} ({protocol.SCHEMA_DIGEST.hex()})",
        board=f"protocol {theirs[0]} ({hello.schema_digest.hex()}, firmware {firmware_text(hello)})",
        fix=fix,
    )


def _host_version() -> tuple[int, ...]:
    """This host's version as numbers, compared with the firmware's: both come from the same release."""
    try:
        text = importlib.metadata.version("canopic")
    except importlib.metadata.PackageNotFoundError:
        return ()
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())
