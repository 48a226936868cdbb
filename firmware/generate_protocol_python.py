"""Renders the Python side of the protocol: one frozen dataclass for each message, with pack and unpack."""

from protocol_definition import Field, Specification, Structure

STRUCT_CODES = {"u8": "B", "u16": "H", "i16": "h", "u32": "I", "u64": "Q"}

PREAMBLE = '''"""The wire protocol's messages.

Generated from firmware/protocol.yaml by firmware/generate_protocol.py: do not edit.

Each message is a frozen dataclass of its payload: `pack()` gives the payload's bytes, `unpack(payload)` reads them
back; both raise ProtocolError for a value or size that the protocol does not allow. Framing (COBS, CRC-16) is not
done here.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self


class ProtocolError(ValueError):
    """A payload or a field does not fit the protocol."""


def _fixed(values: struct.Struct, payload: bytes, name: str, rest: bool) -> tuple[int | bytes, ...]:
    """The fixed part of a payload, unpacked. Raises ProtocolError when the payload has the wrong size."""
    if len(payload) < values.size or (len(payload) > values.size and not rest):
        relation = "at least " if rest else ""
        raise ProtocolError(f"{name}: payload of {len(payload)} bytes, expected {relation}{values.size}")
    fields: tuple[int | bytes, ...] = values.unpack_from(payload)
    return fields


def _packed(values: struct.Struct, name: str, *fields: int | bytes) -> bytes:
    """The fields packed. Raises ProtocolError when a number is out of range."""
    try:
        return values.pack(*fields)
    except struct.error as error:
        raise ProtocolError(f"{name}: {error}") from error


def _sized(value: bytes, size: int, name: str) -> bytes:
    """The value, if it has the size. Raises ProtocolError otherwise: struct would pad or cut it silently."""
    if len(value) != size:
        raise ProtocolError(f"{name}: {len(value)} bytes, expected {size}")
    return value


def _numbers(value: tuple[int, ...], count: int, name: str) -> tuple[int, ...]:
    """The value, if it has the length. Raises ProtocolError otherwise."""
    if len(value) != count:
        raise ProtocolError(f"{name}: {len(value)} numbers, expected {count}")
    return value


def _text(value: str, size: int, name: str) -> bytes:
    """ASCII text padded with zeros. Raises ProtocolError when it is too long or not ASCII."""
    if not value.isascii() or len(value) > size:
        raise ProtocolError(f"{name}: {value!r} is not ASCII text of at most {size} characters")
    return value.encode("ascii").ljust(size, b"\\0")


class Message:
    """Base of all messages: `TYPE` is the type byte on the wire (None: travels inside another message)."""

    __slots__ = ()
    TYPE: ClassVar[int | None] = None
    SIZE: ClassVar[int] = 0

    def pack(self) -> bytes:
        """The payload. Raises ProtocolError when a field is out of range."""
        raise NotImplementedError

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The message in a payload. Raises ProtocolError when its size is wrong."""
        raise NotImplementedError
'''


def struct_format(structure: Structure) -> str:
    """Format of Python's struct for the fixed part: little endian, no padding."""
    parts = []
    for field in structure.fields:
        if field.count == 0:
            continue
        if field.count is None:
            parts.append(STRUCT_CODES[field.kind])
        elif field.kind in ("u8", "char"):
            parts.append(f"{field.count}s")
        else:
            parts.append(f"{field.count}{STRUCT_CODES[field.kind]}")
    return "<" + "".join(parts)


def annotation(field: Field) -> str:
    """The Python type of a field."""
    if field.count is None:
        return "int"
    return {"u8": "bytes", "char": "str"}.get(field.kind, "tuple[int, ...]")


def packed_value(field: Field, owner: str) -> str:
    """The expression that turns a field into arguments for struct."""
    label = f'"{owner}.{field.name}"'
    if field.count is None:
        return f"self.{field.name}"
    function = {"u8": "_sized", "char": "_text"}.get(field.kind, "*_numbers")
    return f"{function}(self.{field.name}, {field.count}, {label})"


def unpacked_values(structure: Structure) -> list[str]:
    """The expressions that turn struct's values into the fields."""
    values, position = [], 0
    for field in structure.fields:
        if field.count == 0:
            values.append(f"bytes(payload[{structure.size}:])")
        elif field.count is None:
            values.append(f"int(values[{position}])")
            position += 1
        elif field.kind == "u8":
            values.append(f"bytes(values[{position}])")
            position += 1
        elif field.kind == "char":
            values.append(f'bytes(values[{position}]).rstrip(b"\\0").decode("ascii", "replace")')
            position += 1
        else:
            values.append(f"tuple(int(value) for value in values[{position}:{position + field.count}])")
            position += field.count
    return values


def call_lines(indent: int, prefix: str, arguments: list[str], suffix: str) -> list[str]:
    """A call, on one line where it fits into 120 columns, else with one argument a line."""
    one = " " * indent + prefix + ", ".join(arguments) + suffix
    if len(one) <= 120:
        return [one]
    pad = " " * indent
    return [f"{pad}{prefix}", *(f"{pad}    {argument}," for argument in arguments), f"{pad}{suffix}"]


def dataclass_text(structure: Structure) -> list[str]:
    """Lines of the dataclass of one structure."""
    name, fixed = structure.name, [field for field in structure.fields if field.count != 0]
    doc = structure.doc
    lines = ["", "", "@dataclass(frozen=True, slots=True)", f"class {name}(Message):", f'    """{doc}"""', ""]
    lines.append(f"    TYPE: ClassVar[int | None] = {'None' if structure.type is None else f'0x{structure.type:02X}'}")
    lines.append(f"    SIZE: ClassVar[int] = {structure.size}")
    if fixed:
        lines.append(f'    _VALUES: ClassVar[struct.Struct] = struct.Struct("{struct_format(structure)}")')
    lines += [""] if structure.fields else []
    for field in structure.fields:
        comment = " ".join(filter(None, [f"[{field.unit}]" if field.unit else "", field.doc]))
        comment = " ".join(filter(None, [comment, f"One of {field.enum}." if field.enum else ""]))
        line = f"    {field.name}: {annotation(field)}"
        if comment and len(line) + 4 + len(comment) > 120:
            lines.append(f"    # {comment}")
            lines.append(line)
        else:
            lines.append(line + (f"  # {comment}" if comment else ""))
    lines += ["", "    def pack(self) -> bytes:", '        """The payload. Raises ProtocolError."""']
    if not structure.fields:
        lines.append('        return b""')
    else:
        arguments = [packed_value(field, name) for field in fixed]
        tail = f" + self.{structure.fields[-1].name}" if structure.open_ended else ""
        lines += call_lines(8, "return _packed(", ["self._VALUES", f'"{name}"', *arguments], f"){tail}")
    lines += ["", "    @classmethod", "    def unpack(cls, payload: bytes) -> Self:"]
    lines.append('        """The message in a payload. Raises ProtocolError."""')
    if not structure.fields:
        lines += [f'        _sized(payload, 0, "{name}")', "        return cls()"]
    else:
        lines.append(f'        values = _fixed(cls._VALUES, payload, "{name}", rest={structure.open_ended})')
        lines += call_lines(8, "return cls(", unpacked_values(structure), ")")
    return lines


def python_module(specification: Specification) -> str:
    """Text of host/board/protocol.py."""
    lines = [PREAMBLE.rstrip(), "", ""]
    for name, constant in specification.constants.items():
        unit = f"[{constant['unit']}] " if "unit" in constant else ""
        lines += [f"# {unit}{constant['doc']}", f"{name} = {constant['value']}"]
    lines += ["# `version` of the definition, and first 8 bytes of the SHA-256 of its content."]
    lines += [f"PROTOCOL_VERSION = {specification.version}"]
    lines += [f'SCHEMA_DIGEST = bytes.fromhex("{specification.digest.hex()}")']
    for name, enum in specification.enums.items():
        lines += ["", "", f"class {name}(IntEnum):", f'    """{enum["doc"]}"""', ""]
        for key, value in enum["values"].items():
            lines += [f"    # {value['doc']}", f"    {key.upper()} = {value['value']}"]
    for structure in specification.all_structures():
        lines += dataclass_text(structure)
    lines += ["", "", "# Every message that the board sends, by type byte.", "FROM_BOARD: dict[int, type[Message]] = {"]
    for message in specification.messages:
        sent = message.reply if message.kind == "command" else message.request
        if message.kind != "notice" and sent is not None and sent.type is not None:
            lines.append(f"    0x{sent.type:02X}: {sent.name},")
    lines += ["}", "", "# Every message that the host sends, by type byte.", "FROM_HOST: dict[int, type[Message]] = {"]
    for message in specification.messages:
        if message.kind in ("command", "notice"):
            lines.append(f"    0x{message.type:02X}: {message.name},")
    lines += ["}", "", "# States in which each command or notice is served: the allow-list."]
    lines += ["SERVED_IN: dict[int, frozenset[State]] = {"]
    for message in specification.messages:
        if message.kind in ("command", "notice"):
            states = ", ".join(f"State.{state.upper()}" for state in message.states)
            lines.append(f"    0x{message.type:02X}: frozenset({{{states}}}),")
    lines += ["}", "", "# Commands that are served before a HELLO with the right schema digest."]
    early = ", ".join(f"0x{message.type:02X}" for message in specification.messages if message.before_hello)
    lines += [f"BEFORE_HELLO = frozenset({{{early}}})", ""]
    return "\n".join(lines)
