"""Renders the tables of docs/protocol.md between their markers; the text around them is written by hand."""

from protocol_definition import Specification, Structure


def cell(text: object) -> str:
    """Text that is safe inside a table cell."""
    return str(text).replace("|", "\\|")


def constants_table(specification: Specification) -> str:
    """Table of the constants."""
    rows = ["| constant | value | unit | meaning |", "|---|---|---|---|"]
    for name, constant in specification.constants.items():
        rows.append(f"| `{name}` | {constant['value']} | {constant.get('unit', '')} | {cell(constant['doc'])} |")
    return "\n".join(rows)


def enums_table(specification: Specification) -> str:
    """One table for each enumeration."""
    blocks = []
    for name, enum in specification.enums.items():
        rows = [f"### {name}", enum["doc"], "", "| value | name | meaning |", "|---|---|---|"]
        rows += [f"| {value['value']} | `{key}` | {cell(value['doc'])} |" for key, value in enum["values"].items()]
        blocks.append("\n".join(rows))
    return "\n\n".join(blocks)


def allow_list_table(specification: Specification) -> str:
    """Which command is served in which state."""
    states = list(specification.enums["State"]["values"])
    rows = [f"| command | {' | '.join(states)} | before HELLO |", f"|---|{'---|' * (len(states) + 1)}"]
    for message in specification.messages:
        if message.kind in ("command", "notice"):
            marks = ["yes" if state in message.states else "" for state in states]
            marks.append("yes" if message.before_hello else "")
            rows.append(f"| `{message.name}` | {' | '.join(marks)} |")
    return "\n".join(rows)


def fields_table(structure: Structure) -> list[str]:
    """Table of the fields of a structure, with offsets in bytes."""
    rows = ["", "| offset | field | type | unit | meaning |", "|---|---|---|---|---|"]
    offset = 0
    for field in structure.fields:
        array = "" if field.count is None else f"[{field.count or ''}]"
        meaning = " ".join(filter(None, [field.doc, f"({field.enum})" if field.enum else ""]))
        rows.append(f"| {offset} | `{field.name}` | {field.kind}{array} | {field.unit} | {cell(meaning)} |")
        offset += field.size
    return [*rows, ""]


def messages_section(specification: Specification) -> str:
    """Every message with its fields."""
    directions = {
        "command": "host to board, answered",
        "notice": "host to board, never answered",
        "stream": "board to host, never answered",
        "reply": "board to host, answers any command",
    }
    lines = []
    for message in specification.messages:
        lines += [f"### {message.name} (0x{message.type:02X})", f"*{directions[message.kind]}.* {message.request.doc}"]
        if message.request.fields:
            lines += fields_table(message.request)
        else:
            lines += ["", "No payload.", ""]
        if message.reply is not None:
            if message.reply.fields:
                lines += [f"Reply (0x{message.type | 0x80:02X}):", *fields_table(message.reply)]
            else:
                lines += [f"Reply (0x{message.type | 0x80:02X}): empty.", ""]
    for structure in specification.structures:
        lines += [f"### {structure.name}", structure.doc, *fields_table(structure)]
    return "\n".join(lines).rstrip()


def with_tables(specification: Specification, text: str) -> str:
    """The reference with every generated part replaced. Raises ValueError when a marker is missing."""
    parts = {
        "constants": constants_table(specification),
        "enums": enums_table(specification),
        "allow-list": allow_list_table(specification),
        "messages": messages_section(specification),
    }
    for name, table in parts.items():
        begin, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
        if begin not in text or end not in text:
            raise ValueError(f"docs/protocol.md: the markers {begin} and {end} are missing; put them back")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    return text
