"""The protocol's definition as Python sees it: protocol.yaml, read and validated."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

SCALAR_BYTES = {"u8": 1, "u16": 2, "i16": 2, "u32": 4, "u64": 8}
KINDS = ("command", "notice", "stream", "reply")


class SpecificationError(ValueError):
    """protocol.yaml says something that cannot be generated."""


@dataclass(frozen=True)
class Field:
    """One field: `kind` is a scalar's name or char; `count` is None for a scalar, 0 for the rest of the payload."""

    name: str
    kind: str
    count: int | None
    unit: str
    enum: str
    doc: str

    @property
    def size(self) -> int:
        """Bytes on the wire; 0 for a field that takes the rest of the payload."""
        return SCALAR_BYTES.get(self.kind, 1) * (1 if self.count is None else self.count)


@dataclass(frozen=True)
class Structure:
    """A named sequence of fields: the payload of a message or of its reply, or a structure inside one."""

    name: str
    fields: tuple[Field, ...]
    type: int | None
    doc: str

    @property
    def size(self) -> int:
        """Bytes of the fixed part."""
        return sum(field.size for field in self.fields)

    @property
    def open_ended(self) -> bool:
        """Whether the last field takes the rest of the payload."""
        return bool(self.fields) and self.fields[-1].count == 0


@dataclass(frozen=True)
class Message:
    """A message type with its rules: where it is served, and its reply (commands only)."""

    name: str
    type: int
    kind: str
    states: tuple[str, ...]
    before_hello: bool
    cached: bool
    request: Structure
    reply: Structure | None


@dataclass(frozen=True)
class Specification:
    """protocol.yaml, validated, with its digest (first 8 bytes of the SHA-256 of its content without `doc` texts)."""

    version: int
    digest: bytes
    constants: dict[str, dict[str, Any]]
    enums: dict[str, dict[str, Any]]
    messages: tuple[Message, ...]
    structures: tuple[Structure, ...]

    def all_structures(self) -> Iterator[Structure]:
        """Every structure that has a codec: requests, replies, inner structures."""
        for message in self.messages:
            yield message.request
            if message.reply is not None:
                yield message.reply
        yield from self.structures


def without_docs(node: Any) -> Any:
    """The node without its explanations: what the schema digest covers."""
    if isinstance(node, dict):
        return {key: without_docs(value) for key, value in node.items() if key != "doc"}
    return [without_docs(item) for item in node] if isinstance(node, list) else node


def parse_field(raw: dict[str, str]) -> Field:
    """A field from its YAML mapping. Raises SpecificationError for a type that the generator does not know."""
    kind, bracket, count = raw["type"].partition("[")
    known = kind in SCALAR_BYTES or (kind == "char" and bracket)
    if not known or (bracket and not (count.endswith("]") and (count == "]" or count[:-1].isdigit()))):
        names = ", ".join(SCALAR_BYTES)
        raise SpecificationError(f"field {raw['name']}: type {raw['type']!r} is none of {names}, T[n], u8[]")
    number = None if not bracket else int(count[:-1] or 0)
    return Field(raw["name"], kind, number, raw.get("unit", ""), raw.get("enum", ""), raw.get("doc", ""))


def parse_structure(name: str, fields: list[dict[str, str]], type_: int | None, doc: str) -> Structure:
    """A structure; a field that takes the rest of the payload must be the last. Raises SpecificationError otherwise."""
    parsed = tuple(parse_field(raw) for raw in fields)
    if any(field.count == 0 for field in parsed[:-1]):
        raise SpecificationError(f"{name}: only the last field may have an open length")
    return Structure(name, parsed, type_, doc)


def parse_message(raw: dict[str, Any], states: set[str]) -> Message:
    """A message from its YAML mapping. Raises SpecificationError for an unknown kind or state."""
    name, kind = raw["name"], raw["kind"]
    if kind not in KINDS:
        raise SpecificationError(f"{name}: kind {kind!r} is none of {', '.join(KINDS)}")
    if unknown := set(raw.get("states", ())) - states:
        raise SpecificationError(f"{name}: no such state: {', '.join(sorted(unknown))}")
    request = parse_structure(name, raw["request"], raw["type"], raw["doc"])
    reply = None
    if kind == "command":
        reply = parse_structure(f"{name}Reply", raw["reply"], raw["type"] | 0x80, f"Reply to {name}.")
    return Message(
        name,
        raw["type"],
        kind,
        tuple(raw.get("states", ())),
        raw.get("before_hello", False),
        raw.get("cached", kind == "command"),
        request,
        reply,
    )


def read_specification(path: Path) -> Specification:
    """Reads and validates protocol.yaml. Raises SpecificationError when two messages share a type."""
    raw = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    content = json.dumps(without_docs(raw), sort_keys=True, separators=(",", ":")).encode()
    states = set(raw["enums"]["State"]["values"])
    messages = tuple(parse_message(message, states) for message in raw["messages"])
    types = [message.type for message in messages]
    if len(set(types)) != len(types):
        raise SpecificationError("two messages share a type")
    structures = tuple(parse_structure(s["name"], s["fields"], None, s["doc"]) for s in raw["structures"])
    digest = hashlib.sha256(content).digest()[:8]
    return Specification(raw["version"], digest, raw["constants"], raw["enums"], messages, structures)
