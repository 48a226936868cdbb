"""Names and signatures of the camera twin against picamera2's own source, which is read, not imported."""

import ast
import importlib.util
import inspect
from pathlib import Path

import pytest

from host.twin import picamera_parts
from host.twin.picamera import TwinPicamera2

# What the twin has of Picamera2, and what it has for itself.
METHODS = (
    "align_configuration", "align_stream", "cancel_all_and_flush", "capture_array", "capture_buffer",
    "capture_metadata", "capture_request", "captured_request", "camera_configuration", "close", "configure",
    "create_preview_configuration", "create_still_configuration", "create_video_configuration", "dispatch_functions",
    "drop_frames", "set_controls", "start", "stop", "stop_", "stream_configuration", "wait",
)  # fmt: skip
PROPERTIES = ("camera_controls", "camera_properties", "sensor_modes")
ATTRIBUTES = ("camera_idx", "is_open", "started", "sensor_resolution", "sensor_format", "stop_count", "frames")
OWN = {"fault", "requeue", "global_camera_info"}
PARTS = {
    "CompletedRequest": ("request.py", ("acquire", "release", "get_metadata", "make_buffer", "make_array")),
    "MappedArray": ("request.py", ("__init__", "__enter__")),
    "SensorFormat": ("sensor_format.py", ("__init__", "transform")),
    "Job": ("job.py", ("execute", "signal", "get_result", "cancel")),
}
# Values of defaults that are objects of libcamera, and the twin's own for them.
LIBCAMERA_DEFAULTS = {"transform", "colour_space"}

Signature = list[tuple[str, str | None]]


def _source(name: str) -> ast.Module:
    spec = importlib.util.find_spec("picamera2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(
            "picamera2 is not installed: `pip install --no-deps picamera2` (its source is enough), or on a Pi"
            " `sudo apt install python3-picamera2`"
        )
    return ast.parse((Path(next(iter(spec.submodule_search_locations))) / name).read_text(encoding="utf-8"))


def _class(module: ast.Module, name: str) -> ast.ClassDef:
    return next(node for node in module.body if isinstance(node, ast.ClassDef) and node.name == name)


def _signature(node: ast.FunctionDef) -> Signature:
    names = [argument.arg for argument in node.args.args]
    defaults = [None] * (len(names) - len(node.args.defaults)) + [ast.unparse(value) for value in node.args.defaults]
    return list(zip(names, defaults, strict=True))


def _theirs(class_node: ast.ClassDef, name: str) -> Signature:
    """The last definition: those before it are overloads."""
    found = [node for node in class_node.body if isinstance(node, ast.FunctionDef) and node.name == name]
    assert found, f"picamera2's {class_node.name} has no {name}"
    return _signature(found[-1])


def _ours(class_: type, name: str) -> Signature:
    function = inspect.unwrap(inspect.getattr_static(class_, name))
    function = function.__func__ if isinstance(function, staticmethod) else function
    parameters = [one for one in inspect.signature(function).parameters.values() if one.kind is not one.KEYWORD_ONLY]
    return [(one.name, None if one.default is one.empty else repr(one.default)) for one in parameters]


def _same(theirs: Signature, ours: Signature) -> None:
    assert [name for name, _ in ours] == [name for name, _ in theirs]
    for (name, default), (_, own) in zip(theirs, ours, strict=True):
        if name not in LIBCAMERA_DEFAULTS:
            assert (default is None) == (own is None), f"{name}: whether there is a default"
            if default not in (None, own):
                assert ast.literal_eval(str(default)) == ast.literal_eval(str(own)), name


@pytest.mark.parametrize("name", METHODS)
def test_methods_have_picamera2s_signatures(name: str) -> None:
    theirs = _theirs(_class(_source("picamera2.py"), "Picamera2"), name)
    _same(theirs, _ours(TwinPicamera2, name))


def test_the_constructor_has_picamera2s_arguments() -> None:
    _same(_theirs(_class(_source("picamera2.py"), "Picamera2"), "__init__"), _ours(TwinPicamera2, "__init__"))


@pytest.mark.parametrize("name", PROPERTIES)
def test_properties_are_properties(name: str) -> None:
    node = next(
        node
        for node in _class(_source("picamera2.py"), "Picamera2").body
        if isinstance(node, ast.FunctionDef) and node.name == name
    )
    assert [ast.unparse(decorator) for decorator in node.decorator_list] == ["property"]
    assert isinstance(inspect.getattr_static(TwinPicamera2, name), property)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_exist_there_too(name: str) -> None:
    names = {node.attr for node in ast.walk(_source("picamera2.py")) if isinstance(node, ast.Attribute)}
    assert name in names


@pytest.mark.parametrize("part", sorted(PARTS))
def test_the_parts_have_picamera2s_signatures(part: str) -> None:
    file, methods = PARTS[part]
    class_node = _class(_source(file), part)
    for name in methods:
        _same(_theirs(class_node, name), _ours(getattr(picamera_parts, part), name))


def test_the_request_stands_beside_its_mapped_array() -> None:
    # The driver finds the one by the module of the other.
    source = _source("request.py")
    assert {_class(source, name).name for name in ("CompletedRequest", "MappedArray")} <= set(dir(picamera_parts))


def test_all_that_is_public_is_either_mirrored_or_named_as_the_twins_own() -> None:
    public = {name for name in dir(TwinPicamera2) if not name.startswith("_")}
    assert public <= set(METHODS) | set(PROPERTIES) | set(ATTRIBUTES) | OWN
