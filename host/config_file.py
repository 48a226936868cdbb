"""Reads canopic.yaml: every problem at once with file, line, key and what was expected; and each value's origin."""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from host.config import Config

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
DEFAULT = "default"
EXPECTED_SECTIONS = (
    "expected sections such as `capture:` (`canopic config show` prints all; without --config: defaults)"
)


class ConfigError(ValueError):
    """Everything that is wrong with a configuration, one line each, in `problems`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class LoadedConfig:
    """A valid configuration; `origins` says for each dotted key where its value came from: "default", "FILE:LINE" or
    the command-line option."""

    config: Config
    origins: Mapping[str, str]
    path: Path | None = None


@dataclass
class _Document:
    """The plain values of a YAML document, the line of every key (by path) and the problems met on the way."""

    name: str
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)

    def value(self, node: Node, path: tuple[str, ...]) -> Any:
        """The node as str, int, float, bool, None, list or dict. Notes duplicate keys, aliases and odd keys."""
        line = node.start_mark.line + 1
        # An alias is the same node met again. Refused: expanding nested ones can fill the memory.
        if id(node) in self._seen or len(path) > MAX_DEPTH:
            what = "aliases (*name) are not allowed" if id(node) in self._seen else "nested too deeply"
            self.problems.append((line, f"{what} in '{_dotted(path)}'; write the value out"))
            return None
        self._seen.add(id(node))
        if isinstance(node, SequenceNode):
            return [self.value(item, (*path, str(index))) for index, item in enumerate(node.value)]
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        return _scalar(node)

    def _mapping(self, node: MappingNode, path: tuple[str, ...]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                self.problems.append((line, f"a key in {_section(path)} is not a word; expected `key: value`"))
                continue
            key = str(key_node.value)
            if key in values:
                first = self.lines[(*path, key)]
                self.problems.append((line, f"duplicate key '{key}' in {_section(path)}: line {first} has it already"))
                continue
            self.lines[(*path, key)] = line
            values[key] = self.value(value_node, (*path, key))
        return values


def load_config(path: Path | None = None, overrides: Mapping[str, tuple[object, str]] | None = None) -> LoadedConfig:
    """Read, merge and validate.

    `path` None: defaults only. `overrides`: {"capture.scene": (value, "--scene")}, they win over the file. Relative
    `storage.directory`, `bundle`, `capture.scene`, `capture.kernel` and `capture.sensor` in the file are relative to
    the file. Raises ConfigError.
    """
    overrides = overrides or {}
    document = _Document(str(path) if path else "command line")
    values = _read(path, document) if path else {}
    for section, model in _sections():
        # `capture:` with every key below it commented out is YAML's null: a section of defaults.
        if section in values and values[section] is None and model is not None:
            values[section] = {}
    if path:
        _anchor_paths(values, path.parent)
    option_of: dict[tuple[str, ...], str] = {}
    for dotted, (value, option) in overrides.items():
        keys = tuple(dotted.split("."))
        target = values
        for key in keys[:-1]:
            if not isinstance(target.get(key), dict):
                target[key] = {} if target.get(key) is None else target[key]
            if not isinstance(target[key], dict):
                break  # the file has something else there: validation reports that
            target = target[key]
        else:
            target[keys[-1]] = value
            option_of[keys] = option
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            document.problems.append(_explain(dict(item), document, option_of))
        config = None
    if document.problems or config is None:
        ordered = sorted(document.problems, key=lambda problem: problem[0])
        raise ConfigError([f"{document.name}:{line}: {text}" if line else text for line, text in ordered])
    origins = {}
    for keys, _ in _leaves(config):
        line = document.lines.get(keys)
        origins[".".join(keys)] = option_of.get(keys) or (f"{document.name}:{line}" if line else DEFAULT)
    return LoadedConfig(config, origins, path)


def effective(loaded: LoadedConfig) -> list[tuple[str, object, str]]:
    """Every key (dotted), its value and its origin, in the order of the schema."""
    return [(".".join(keys), value, loaded.origins[".".join(keys)]) for keys, value in _leaves(loaded.config)]


def _leaves(model: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _sections() -> list[tuple[str, type[BaseModel] | None]]:
    found: list[tuple[str, type[BaseModel] | None]] = []
    for name, info in Config.model_fields.items():
        annotation = info.annotation
        is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        found.append((name, annotation if is_model else None))  # type: ignore[arg-type]
    return found


def _read(path: Path, document: _Document) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read ({error.strerror}); check the name and the permissions"]) from error
    if len(raw) > MAX_BYTES:
        raise ConfigError([f"{path}: {len(raw):,} bytes; a configuration has at most {MAX_BYTES:,}"])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(
            [f"{path}:{line}: byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8"]
        ) from error
    if not text.strip():
        raise ConfigError([f"{path}: the file is empty; {EXPECTED_SECTIONS}"])
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        raise ConfigError([_syntax_problem(document.name, text, error)]) from error
    except (YAMLError, RecursionError, ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        # The parser's own failures on malformed input are not all YAMLError (directives, tags, deep nesting).
        reason = " ".join(str(error).split())[:100]
        raise ConfigError([f"{path}: not valid YAML ({type(error).__name__}: {reason})"]) from error
    if node is None:
        raise ConfigError([f"{path}: only comments; {EXPECTED_SECTIONS}"])
    if not isinstance(node, MappingNode):
        kind = "a list" if isinstance(node, SequenceNode) else "a single value"
        raise ConfigError([f"{path}:{node.start_mark.line + 1}: the file is {kind}; expected `section:` lines "
                           "with `key: value` below them"])  # fmt: skip
    values = document.value(node, ())
    return values if isinstance(values, dict) else {}


def _syntax_problem(name: str, text: str, error: MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark is not None else 1
    lines = text.splitlines()
    near = lines[line - 1] if line <= len(lines) else ""
    if "\t" in near[: len(near) - len(near.lstrip())] or "'\\t'" in str(error.problem):
        return f"{name}:{line}: a tab in the indentation; YAML is indented with spaces"
    problem = error.problem or error.context or "cannot be parsed"
    return f"{name}:{line}: not valid YAML: {problem}; near `{near.strip()[:60]}`"


_INTEGER = re.compile(r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+")


def _scalar(node: Node) -> object:
    """A scalar by its YAML 1.2 type; what does not convert stays text, and validation says what was expected."""
    text, tag = str(node.value), str(node.tag)
    if tag.endswith(":null"):
        return None
    if tag.endswith(":bool"):
        return text.lower() == "true"
    if tag.endswith(":int") and _INTEGER.fullmatch(text) and len(text) < 400:
        return int(text, 10 if text.lstrip("+-").isdigit() else 0)
    if tag.endswith(":float"):
        try:
            return float(text.replace(".inf", "inf").replace(".nan", "nan").replace(".NaN", "nan"))
        except ValueError:
            return text
    return text


def _anchor_paths(values: dict[str, Any], directory: Path) -> None:
    """Make relative paths in the file relative to the file, so that the same file works from any working directory."""

    def anchored(text: str) -> str:
        return str(directory / Path(text).expanduser())

    storage, capture, bundle = values.get("storage"), values.get("capture"), values.get("bundle")
    if isinstance(storage, dict) and isinstance(storage.get("directory"), str):
        storage["directory"] = anchored(storage["directory"])
    if isinstance(capture, dict) and isinstance(scene := capture.get("scene"), str) and (directory / scene).exists():
        capture["scene"] = anchored(scene)
    if isinstance(capture, dict) and isinstance(kernel := capture.get("kernel"), str):
        capture["kernel"] = anchored(kernel)
    if isinstance(capture, dict) and isinstance(sensor := capture.get("sensor"), str):
        capture["sensor"] = anchored(sensor)
    if isinstance(bundle, str) and ("/" in bundle or bundle.endswith(".canopic")):
        # Made absolute: a path forgets the "./" with which a file of a shipped bundle's name is meant.
        values["bundle"] = str(Path(anchored(bundle)).absolute())


_PLAIN_WORDS = (
    ("expected a valid ", "expected a "),
    ("a integer", "a whole number"),
    ("a string", "text"),
    ("a boolean", "true or false"),
    ("a dictionary or instance of ", "keys below it, of section "),
    ("expected greater", "expected a value greater"),
    ("expected less", "expected a value less"),
)


def _explain(item: dict[str, Any], document: _Document, option_of: Mapping[tuple[str, ...], str]) -> tuple[int, str]:
    """(line, text) of one pydantic error; line 0 when the value came from the command line."""
    path = tuple(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return document.lines.get(path, 0), _unknown_key(path)
    while path and path not in document.lines and path not in option_of:
        path = path[:-1]  # a union adds parts that are not keys
    expected = str(item["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    expected = expected if expected.startswith("expected") else f"expected {expected}"
    if item["type"] == "path_type":
        expected = "expected a path"
    for theirs, plain in _PLAIN_WORDS:
        expected = expected.replace(theirs, plain)
    if item["type"] == "string_type" and isinstance(item["input"], int | float):
        # YAML takes 12345678 and 1234e567 for numbers, and the second for an infinite one.
        expected += "; put it in quotes"
    described = _description(path)
    about = f" ({described})" if described else ""
    given = "" if isinstance(item["input"], dict) else f": {_shown(item['input'])} is not valid"
    text = f"{_dotted(path) or 'this configuration'}{given}: {expected}{about}"
    if path in option_of:
        return 0, f"{option_of[path]}: {text}"
    return document.lines.get(path, 0), text


def _unknown_key(path: tuple[str, ...]) -> str:
    *parents, key = path
    fields = {name: tuple(model.model_fields) if model else () for name, model in _sections()}
    here = fields[parents[0]] if parents and parents[0] in fields else tuple(fields)
    text = f"unknown key '{key}' {'in ' + repr(_dotted(tuple(parents))) if parents else 'at the top level'}"
    if near := difflib.get_close_matches(key, here, n=1, cutoff=0.6):
        return f"{text}; did you mean '{near[0]}'?"
    everywhere = {name: section for section, names in fields.items() for name in names}
    if near := difflib.get_close_matches(key, everywhere, n=1, cutoff=0.8):
        return f"{text}; did you mean '{near[0]}' in '{everywhere[near[0]]}'?"
    return f"{text}; known here: {', '.join(here)}"


def _description(path: tuple[str, ...]) -> str:
    if len(path) == 1 and path[0] in Config.model_fields:
        return Config.model_fields[path[0]].description or ""
    for name, model in _sections():
        if len(path) == 2 and path[0] == name and model is not None and path[1] in model.model_fields:
            return model.model_fields[path[1]].description or ""
    return ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(path)


def _section(path: tuple[str, ...]) -> str:
    return f"'{_dotted(path)}'" if path else "the file"
