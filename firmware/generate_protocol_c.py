"""Renders the C side of the protocol: structures, codec, allow-list and a text form for the golden-vector test."""

import re

from protocol_definition import SCALAR_BYTES, Field, Specification, Structure

BANNER = "Generated from protocol.yaml by generate_protocol.py: do not edit."
C_TYPES = {"u8": "uint8_t", "u16": "uint16_t", "i16": "int16_t", "u32": "uint32_t", "u64": "uint64_t", "char": "char"}


def snake(name: str) -> str:
    """CamelCase to snake_case."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def fixed_fields(structure: Structure) -> list[Field]:
    """The fields of the fixed part."""
    return [field for field in structure.fields if field.count != 0]


def signatures(structure: Structure) -> tuple[str, str]:
    """Declarations of the pack and unpack functions of a structure."""
    name = snake(structure.name)
    return (
        f"void msg_{name}_pack(const struct msg_{name} *message, uint8_t *out)",
        f"void msg_{name}_unpack(struct msg_{name} *message, const uint8_t *in)",
    )


def c_header(specification: Specification) -> str:
    """Text of src/protocol.h."""
    lines = [f"// The wire protocol. {BANNER}", "// clang-format off", "#ifndef CANOPIC_PROTOCOL_H"]
    lines += ["#define CANOPIC_PROTOCOL_H", ""]
    lines += ["#include <stdbool.h>", "#include <stddef.h>", "#include <stdint.h>", ""]
    for name, constant in specification.constants.items():
        unit = f"[{constant['unit']}] " if "unit" in constant else ""
        lines += [f"// {unit}{constant['doc']}", f"#define PROTOCOL_{name} {constant['value']}u"]
    lines += [f"#define PROTOCOL_VERSION {specification.version}u"]
    digest = ", ".join(f"0x{byte:02X}" for byte in specification.digest)
    lines += ["// First 8 bytes of the SHA-256 of the definition.", f"#define PROTOCOL_SCHEMA_DIGEST {{{digest}}}"]
    for name, enum in specification.enums.items():
        prefix = {"ErrorCode": "ERROR"}.get(name, name.upper())
        lines += ["", f"// {enum['doc']}", f"enum {snake(name)} {{"]
        for key, value in enum["values"].items():
            lines.append(f"    {prefix}_{key.upper()} = {value['value']}, // {value['doc']}")
        lines.append("};")
    lines += ["", "enum message_type {"]
    for message in specification.messages:
        lines.append(f"    MESSAGE_{snake(message.name).upper()} = 0x{message.type:02X}, // {message.request.doc}")
    lines += ["};", ""]
    for structure in specification.all_structures():
        name = snake(structure.name)
        lines.append(f"#define MSG_{name.upper()}_SIZE {structure.size}u")
        if not fixed_fields(structure):
            continue
        lines.append(f"struct msg_{name} {{")
        for field in fixed_fields(structure):
            array = "" if field.count is None else f"[{field.count}]"
            note = " ".join(filter(None, [f"[{field.unit}]" if field.unit else "", field.doc]))
            lines.append(f"    {C_TYPES[field.kind]} {field.name}{array};" + (f" // {note}" if note else ""))
        lines += ["};", *(f"{signature};" for signature in signatures(structure)), ""]
    lines += [
        "",
        "// One row of the allow-list: what the core needs to know before it serves a command or notice.",
        "struct command_rule {",
        "    uint8_t type;",
        "    uint8_t states;       // bit s: served in state s",
        "    bool before_hello;    // served without a HELLO with the right schema digest",
        "    bool cached;          // a repeated sequence is answered from the reply cache",
        "    bool answered;        // false: a notice",
        "    uint16_t request_size; // [bytes] the only payload size that is accepted",
        "};",
        "",
        "// The rule of a type, or NULL when no command or notice has it.",
        "const struct command_rule *protocol_rule(uint8_t type);",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def pack_lines(field: Field, offset: int) -> list[str]:
    """Statements that write one field at an offset."""
    if field.kind in ("u8", "char") and field.count is not None:
        return [f"    memcpy(out + {offset}, message->{field.name}, {field.count});"]
    if field.count is not None:
        call = f"put_{field.kind}(out + {offset} + {SCALAR_BYTES[field.kind]} * i, message->{field.name}[i]);"
        return [f"    for (size_t i = 0; i < {field.count}; i++) {{", f"        {call}", "    }"]
    if field.kind == "u8":
        return [f"    out[{offset}] = message->{field.name};"]
    return [f"    put_{field.kind}(out + {offset}, message->{field.name});"]


def unpack_lines(field: Field, offset: int) -> list[str]:
    """Statements that read one field at an offset."""
    if field.kind in ("u8", "char") and field.count is not None:
        return [f"    memcpy(message->{field.name}, in + {offset}, {field.count});"]
    if field.count is not None:
        call = f"message->{field.name}[i] = get_{field.kind}(in + {offset} + {SCALAR_BYTES[field.kind]} * i);"
        return [f"    for (size_t i = 0; i < {field.count}; i++) {{", f"        {call}", "    }"]
    if field.kind == "u8":
        return [f"    message->{field.name} = in[{offset}];"]
    return [f"    message->{field.name} = get_{field.kind}(in + {offset});"]


def c_source(specification: Specification) -> str:
    """Text of src/protocol.c."""
    lines = [f"// Codec and allow-list of the wire protocol. {BANNER}", "// clang-format off"]
    lines += ['#include "protocol.h"', "", "#include <string.h>", "", '#include "bytes.h"']
    for structure in specification.all_structures():
        if not fixed_fields(structure):
            continue
        for signature, statements in zip(signatures(structure), (pack_lines, unpack_lines), strict=True):
            lines += ["", f"{signature} {{"]
            offset = 0
            for field in fixed_fields(structure):
                lines += statements(field, offset)
                offset += field.size
            lines.append("}")
    lines += ["", "static const struct command_rule RULES[] = {"]
    served = [message for message in specification.messages if message.kind in ("command", "notice")]
    for message in served:
        states = " | ".join(f"1u << STATE_{state.upper()}" for state in message.states)
        facts = (message.before_hello, message.cached, message.kind == "command")
        flags = ", ".join(str(fact).lower() for fact in facts)
        name = snake(message.name).upper()
        lines.append(f"    {{MESSAGE_{name}, {states}, {flags}, MSG_{name}_SIZE}},")
    lines += [
        "};",
        "",
        "const struct command_rule *protocol_rule(uint8_t type) {",
        "    for (size_t i = 0; i < sizeof RULES / sizeof RULES[0]; i++) {",
        "        if (RULES[i].type == type) {",
        "            return &RULES[i];",
        "        }",
        "    }",
        "    return NULL;",
        "}",
        "",
    ]
    return "\n".join(lines)


def text_lines(field: Field) -> list[str]:
    """Statements that append `name=value` to the text of a message."""
    label = f'"{field.name}"'
    if field.kind == "char":
        return [f"        text_chars(&text, {label}, message.{field.name}, {field.count});"]
    if field.kind == "u8" and field.count is not None:
        return [f"        text_hex(&text, {label}, message.{field.name}, {field.count});"]
    if field.count is not None:
        return [f"        text_{field.kind}s(&text, {label}, message.{field.name}, {field.count});"]
    if field.kind == "i16":
        return [f"        text_signed(&text, {label}, message.{field.name});"]
    return [f"        text_number(&text, {label}, message.{field.name});"]


def c_text_helper(specification: Specification) -> str:
    """Text of tests/protocol_text.h: every message as `name=value` text, and packed again, for the golden vectors."""
    lines = [f"// Messages as text, for the golden-vector test. {BANNER}", "// clang-format off"]
    lines += ["#ifndef CANOPIC_PROTOCOL_TEXT_H", "#define CANOPIC_PROTOCOL_TEXT_H", "", "#include <string.h>", ""]
    lines += ['#include "protocol.h"', '#include "text.h"', ""]
    lines += ["// Unpacks the fixed part of a named message, appends its fields to text and packs it into repacked."]
    lines += ["// Returns its size, or -1 when the name is unknown or the payload too short."]
    lines += ["static inline int protocol_text(const char *name, const uint8_t *in, size_t size, struct text *out,"]
    lines += ["                                uint8_t *repacked) {", "    struct text text = *out;"]
    for structure in specification.all_structures():
        symbol = snake(structure.name)
        enough = f" && size >= MSG_{symbol.upper()}_SIZE" if structure.size else ""
        lines.append(f'    if (strcmp(name, "{structure.name}") == 0{enough}) {{')
        if fixed_fields(structure):
            lines += [f"        struct msg_{symbol} message;", f"        msg_{symbol}_unpack(&message, in);"]
            for field in fixed_fields(structure):
                lines += text_lines(field)
            lines += [f"        msg_{symbol}_pack(&message, repacked);"]
        lines += ["        *out = text;", f"        return (int)MSG_{symbol.upper()}_SIZE;", "    }"]
    lines += ["    return -1;", "}", "", "#endif", ""]
    return "\n".join(lines)
