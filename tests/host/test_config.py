"""Configuration: every problem at once, each with its line and what was expected; garbage never crashes."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host.config import Config, default_state_directory, json_schema
from host.config_file import ConfigError, effective, load_config


@pytest.fixture
def write(tmp_path: Path):
    def written(content: str | bytes) -> Path:
        path = tmp_path / "canopic.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return written


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return [problem.replace(str(path), path.name) for problem in caught.value.problems]


def test_unknown_key_names_line_section_and_the_nearest_valid_key(write):
    path = write("# a comment\n\ncapture:\n  path: twin\n\nexposure:\n  # how long\n  exposre_us: 500\n")
    assert problems(path) == ["canopic.yaml:8: unknown key 'exposre_us' in 'exposure'; did you mean 'exposure_us'?"]


def test_unknown_key_that_belongs_to_another_section(write):
    assert problems(write("capture:\n  retention_days: 3\n")) == [
        "canopic.yaml:2: unknown key 'retention_days' in 'capture'; did you mean 'retention_days' in 'storage'?"
    ]


def test_unknown_section_without_a_near_one_lists_the_known(write):
    (problem,) = problems(write("zzz: 1\n"))
    assert problem.startswith(
        "canopic.yaml:1: unknown key 'zzz' at the top level; known here: capture, camera, mask, mounting, gpio, bundle,"
    )


@pytest.mark.parametrize("digits", ["12345678", "1234e567", "00001234", "1e10"])
def test_digits_of_a_mask_that_yaml_takes_for_a_number_belong_in_quotes(write, digits):
    (problem,) = problems(write(f"mask:\n  kind: printed\n  id: {digits}\n"))
    assert problem.startswith("canopic.yaml:3: mask.id: ")
    assert "expected text; put it in quotes" in problem
    assert load_config(write(f'mask:\n  id: "{digits}"\n')).config.mask.id == digits


def test_all_problems_at_once_in_the_order_of_the_file(write):
    found = problems(
        write(
            "captur: {}\ncapture:\n  pace: quick\n  seed: '5'\nexposure:\n  gain: 99\n  mode: auto\n  mode: manual\n"
            "storage:\n  retention_days: 1.5\n  directory: 7\n"
        )
    )
    assert [problem.split(":")[1] for problem in found] == ["1", "3", "4", "6", "8", "10", "11"]
    assert "capture.pace: 'quick' is not valid: expected 'realtime' or 'fast'" in found[1]
    assert "capture.seed: '5' is not valid: expected a whole number" in found[2]
    assert "exposure.gain: 99 is not valid: expected a value less than or equal to 16" in found[3]
    assert "duplicate key 'mode' in 'exposure': line 7 has it already" in found[4]
    assert "storage.directory: 7 is not valid: expected a path" in found[6]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "the file is empty"),
        ("  \n\n", "the file is empty"),
        ("# nothing yet\n", "only comments"),
        ("- one\n- two\n", "canopic.yaml:1: the file is a list"),
        ("hello\n", "canopic.yaml:1: the file is a single value"),
        ("capture:\n\tpath: twin\n", "canopic.yaml:2: a tab in the indentation"),
        ("capture:\n  path: [twin\n", "not valid YAML"),
        (b"capture:\n  scene: \xff\xfe\n", "canopic.yaml:2: byte 0xff is not UTF-8"),
        ("capture: &a {}\nexposure: *a\n", "canopic.yaml:1: aliases (*name) are not allowed in 'exposure'"),
        ("? [a, b]\n: 1\n", "canopic.yaml:1: a key in the file is not a word"),
        ("capture: 5\n", "canopic.yaml:1: capture: 5 is not valid: expected keys below it"),
        ("capture:\n  path: loop\n", "expected 'port' in 'capture' beside 'path: loop'"),
        (
            "capture:\n  path: camera\n  port: /dev/ttyACM0\n",
            "expected no 'port' (--board) beside 'path: camera', whose thresholds are digital",
        ),
        (
            "capture:\n  path: camera\n  kernel: mask.npz\n",
            "expected no 'kernel' (--kernel) beside 'path: camera' with a real camera",
        ),
        ("capture:\n  path: board\n", "expected 'port' beside 'path: board'"),
        (
            "capture:\n  path: board\n  port: x\n  kernel: m.npz\n",
            "expected no 'kernel' (--kernel) beside 'path: board'",
        ),
        (
            "capture:\n  path: board\n  port: x\n  sensor: s.json\n",
            "expected no 'sensor' (--sensor) beside 'path: board'",
        ),
        (
            "capture:\n  path: camera\n  sensor: s.json\n",
            "expected no 'sensor' (--sensor) beside 'path: camera' with a real camera",
        ),
        ("exposure:\n  gain: .nan\n", "expected a finite number"),
        ("[" * 3000, "not valid YAML"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
    ],
)
def test_what_is_not_a_configuration(write, content, expected):
    assert any(expected in problem for problem in problems(write(content)))


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "absent.yaml")


def test_an_empty_section_has_its_defaults(write):
    assert load_config(write("capture:\n  # path: board\n")).config == Config()


def test_origin_of_each_value(write):
    path = write("capture:\n  seed: 5\n  pace: fast\n")
    loaded = load_config(path, {"capture.pace": ("realtime", "--pace")})
    origins = {key: (value, origin) for key, value, origin in effective(loaded)}
    assert origins["capture.seed"] == (5, f"{path}:2")
    assert origins["capture.pace"] == ("realtime", "--pace")
    assert origins["exposure.gain"] == (1.0, "default")


def test_a_wrong_option_is_named_as_an_option():
    with pytest.raises(ConfigError, match=r"^--pace: capture\.pace: 'x' is not valid"):
        load_config(None, {"capture.pace": ("x", "--pace")})


def test_relative_paths_are_relative_to_the_file(write):
    path = write("storage:\n  directory: state\nbundle: bundles/mine.canopic\ncapture:\n  scene: room.mp4\n")
    (path.parent / "room.mp4").touch()
    config = load_config(path).config
    assert config.storage.directory == path.parent / "state"
    assert config.bundle == str(path.parent / "bundles/mine.canopic")
    assert config.capture.scene == str(path.parent / "room.mp4")


def test_names_of_shipped_things_are_no_paths(write):
    config = load_config(write("bundle: default\ncapture:\n  scene: demo\n")).config
    assert (config.bundle, config.capture.scene) == ("default", "demo")


def test_default_directory_follows_systemd_and_xdg(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert default_state_directory() == Path("/x/canopic")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/canopic:/other")
    assert default_state_directory() == Path("/var/lib/canopic")


def test_schema_is_json_and_closed():
    schema = json.loads(json.dumps(json_schema()))
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Exposure"]["properties"]["exposure_us"]["maximum"] == 33_000


SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PUNCTUATION = [
    "capture:",
    "exposure",
    ":",
    " ",
    "\n",
    "\n  ",
    "\t",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "'",
    '"',
    "?",
    "#",
    "\\",
]
ODDITIES = [
    "&a",
    "*a",
    "!!",
    "!",
    "|",
    ">",
    "%",
    "---",
    "...",
    "null",
    "~",
    "<<",
    "@",
    "`",
    "é",
    "\x07",
    "path",
    "seed",
]
NUMBERS = ["1e9999", "0x", "0o9", ".inf", "2001-99-99", "9" * 30]
YAML_PIECES = st.sampled_from(PUNCTUATION + ODDITIES + NUMBERS)


def loads_or_explains(path: Path) -> None:
    explained: list[str] = []
    try:
        load_config(path)
    except ConfigError as error:
        explained = error.problems or [""]
    assert all(problem.strip() for problem in explained)


@SETTINGS
@given(content=st.binary(max_size=200))
def test_any_bytes_load_or_explain(write, content):
    loads_or_explains(write(content))


@SETTINGS
@given(content=st.lists(YAML_PIECES, max_size=25).map("".join))
def test_any_yaml_like_text_loads_or_explains(write, content):
    loads_or_explains(write(content))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@SETTINGS
@given(
    section=st.sampled_from(list(Config.model_fields)),
    values=st.dictionaries(st.sampled_from(["path", "port", "gain", "mode", "threads", "directory"]), VALUES) | VALUES,
)
def test_any_value_under_any_key_loads_or_explains(write, section, values):
    loads_or_explains(write(json.dumps({section: values})))
