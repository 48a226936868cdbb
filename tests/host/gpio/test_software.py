"""Exactly one module for the pins, and one command where it is not so."""

import os
import sys
import types
from pathlib import Path

import pytest

from host.gpio import software
from host.gpio.errors import GpioConflict, GpioDenied, GpioError, GpioMissing
from host.gpio.software import Installed, board_model, has_rp1, installation, installed, load_module, superfluous

PI4 = "Raspberry Pi 4 Model B Rev 1.5"
PI5 = "Raspberry Pi 5 Model B Rev 1.0"


def pi(tmp_path: Path, model: str) -> Path:
    place = tmp_path / "proc/device-tree/model"
    place.parent.mkdir(parents=True)
    place.write_bytes(model.encode() + b"\0")
    return tmp_path


def package(folder: Path, name: str, version: str) -> None:
    made = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_models(tmp_path):
    assert board_model(tmp_path) is None
    assert board_model(pi(tmp_path, PI5)) == PI5
    assert has_rp1(PI5)
    assert has_rp1("Raspberry Pi 500 Rev 1.0")
    assert not has_rp1(PI4)
    assert not has_rp1(None)
    (tmp_path / "proc/device-tree/model").write_text("Orange Pi 5")
    assert board_model(tmp_path) is None


def test_packages_are_found_without_importing_them(tmp_path):
    by_apt, by_pip = tmp_path / "usr/lib/python3/dist-packages", tmp_path / "venv/site-packages"
    package(by_apt, "RPi.GPIO", "0.7.1")
    package(by_pip, "rpi-lgpio", "0.6")
    found = installed([str(by_apt), str(by_pip)])
    assert found == [Installed("RPi.GPIO", "0.7.1", True), Installed("rpi-lgpio", "0.6", False)]
    assert superfluous(found) == found[0]
    assert superfluous(found[1:]) is None
    assert found[0].removal == "sudo apt-get remove python3-rpi.gpio"
    assert found[1].removal == "pip uninstall rpi-lgpio"


def test_what_to_install():
    assert installation("aarch64", True) == "sudo apt-get install python3-rpi-lgpio"
    assert installation("aarch64", False) == "pip install rpi-lgpio"
    assert installation("armv7l", True) == "sudo apt-get install python3-rpi.gpio"


@pytest.mark.parametrize(
    ("model", "there", "error", "told"),
    [
        (None, [], GpioMissing, "no Raspberry Pi"),
        (PI4, [], GpioMissing, "install"),
        (PI5, ["RPi.GPIO"], GpioMissing, "cannot drive the pins"),
        (PI5, ["RPi.GPIO", "rpi-lgpio"], GpioConflict, "only one may be"),
        (PI4, ["RPi.GPIO", "rpi-lgpio"], GpioConflict, "only one may be"),
    ],
)
def test_refused(tmp_path, monkeypatch, model, there, error, told):
    root = pi(tmp_path, model) if model else tmp_path
    monkeypatch.setattr(software, "installed", lambda: [Installed(name, "1", False) for name in there])
    with pytest.raises(error, match=told):
        load_module(root)


def test_the_one_module_is_imported_where_it_may_write(tmp_path, monkeypatch):
    root = pi(tmp_path, PI5)
    monkeypatch.setattr(software, "installed", lambda: [Installed("rpi-lgpio", "0.6", False)])
    monkeypatch.delenv("LG_WD", raising=False)
    here = Path.cwd()
    found = {}
    module = types.ModuleType("RPi.GPIO")

    def give(name: str) -> types.ModuleType:
        assert name == "RPi.GPIO"
        found["cwd"], found["writable"] = Path.cwd(), os.access(".", os.W_OK)
        return module

    monkeypatch.setattr(software.importlib, "import_module", give)
    assert load_module(root) is module
    assert found["writable"]
    assert found["cwd"] != here
    assert Path.cwd() == here
    assert not found["cwd"].exists()
    monkeypatch.setenv("LG_WD", str(tmp_path))
    load_module(root)
    assert found["cwd"] == tmp_path


def test_the_folder_for_its_pipes_comes_before_every_wish(tmp_path, monkeypatch):
    root = pi(tmp_path / "root", PI5)
    monkeypatch.setattr(software, "installed", lambda: [Installed("rpi-lgpio", "0.6", False)])
    found = []
    monkeypatch.setattr(
        software.importlib, "import_module", lambda _name: found.append((Path.cwd(), os.environ["LG_WD"]))
    )
    for wished in ("/nowhere", None):
        if wished is None:
            monkeypatch.delenv("LG_WD")
        else:
            monkeypatch.setenv("LG_WD", wished)
        load_module(root, tmp_path)
        assert os.environ.get("LG_WD") == wished
    assert found == [(tmp_path, str(tmp_path))] * 2


@pytest.mark.parametrize(
    ("raised", "error", "told"),
    [
        (ImportError("lgpio"), GpioMissing, "install"),
        (RuntimeError("No access to /dev/mem. Try running as root!"), GpioDenied, "usermod -aG gpio"),
        (RuntimeError("no"), GpioError, "canopic doctor"),
        (FileNotFoundError(2, "No such file or directory", ".lgd-nfy-3"), GpioError, "TMPDIR to a folder"),
        (type("error", (Exception,), {})("bad handle"), GpioError, "bad handle"),
    ],
)
def test_a_module_that_does_not_start(tmp_path, monkeypatch, raised, error, told):
    root = pi(tmp_path, PI4)
    monkeypatch.delenv("LG_WD", raising=False)
    monkeypatch.setattr(software, "installed", lambda: [Installed("rpi-lgpio", "0.6", False)])

    def fail(_name: str) -> None:
        raise raised

    monkeypatch.setattr(software.importlib, "import_module", fail)
    with pytest.raises(error, match=told) as came:
        load_module(root)
    assert type(came.value) is error
    assert ("usermod" in str(came.value)) == (error is GpioDenied)


def test_what_this_python_has():
    assert isinstance(installed(), list)
    assert software.sees_system_packages() in (True, False)
    assert sys.prefix
