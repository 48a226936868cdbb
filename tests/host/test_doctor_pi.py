"""The doctor on Pis that are put together here: each part found or not, and the one command that mends it."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from host.doctor import abilities, examine
from host.doctor_machine import Cameras, Check, Machine, ask_picamera2, clock_is_set
from host.doctor_pi import examine_pi

PI4 = "Raspberry Pi 4 Model B Rev 1.5"
PI5 = "Raspberry Pi 5 Model B Rev 1.0"


class Pi:
    """A root file system and what its programs answer; healthy until something is taken away."""

    def __init__(self, root: Path, model: str | None = PI4) -> None:
        self.root = root
        self.answers = {
            "cameras": Cameras("0.3.27", ("imx219",)),
            "clock": True,
            "held": [],
            "landlock": 4,
            "libseccomp": True,
        }
        self.closed: set[str] = set()
        self.groups = {"video", "gpio", "dialout", "pi"}
        self.sees_system = True
        self.architecture = "aarch64"
        if model:
            self.write("proc/device-tree/model", model + "\0")
        self.write("etc/os-release", 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n')
        self.write("proc/sys/kernel/osrelease", "6.6.51+rpt-rpi-v8\n")
        self.write("proc/sys/kernel/seccomp/actions_avail", "kill_process kill_thread trap errno trace log allow\n")
        self.write("proc/swaps", "Filename Type Size Used Priority\n")
        for device in ("gpiochip0", "gpiomem", "media0"):
            self.write(f"dev/{device}", "")
        self.package("rpi-lgpio", "0.6")

    def write(self, path: str, text: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def package(self, name: str, version: str) -> None:
        place = f"usr/lib/python3/dist-packages/{name.replace('-', '_')}-{version}.dist-info/METADATA"
        self.write(place, f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    def without_package(self, name: str) -> None:
        for found in (self.root / "usr/lib/python3/dist-packages").glob(f"{name.replace('-', '_')}-*"):
            (found / "METADATA").unlink()
            found.rmdir()

    def machine(self) -> Machine:
        return Machine(
            self.root, self.architecture, "pi", frozenset(self.groups), False,
            [str(self.root / "usr/lib/python3/dist-packages")], self.sees_system,
            lambda path: path.name not in self.closed, lambda: self.answers["cameras"], lambda: self.answers["clock"],
            lambda: self.answers["held"], lambda: self.answers["libseccomp"], lambda: self.answers["landlock"],
        )  # fmt: skip

    def checks(self) -> dict[str, Check]:
        return {check.part: check for check in examine_pi(self.machine())}

    def can(self) -> dict[str, bool]:
        return {each.what.split(",")[0]: each.possible for each in abilities(examine(self.machine()))}


@pytest.fixture
def pi(tmp_path):
    return Pi(tmp_path)


def test_a_pi_4_that_has_all(pi):
    checks = pi.checks()
    assert {check.part: check for check in checks.values() if check.verdict not in ("ok", "optional")} == {}
    assert checks["Raspberry Pi"].found == PI4
    assert checks["system"].found == "Debian GNU/Linux 12 (bookworm), kernel 6.6.51+rpt-rpi-v8"
    assert checks["camera"].found == "imx219"
    assert checks["GPIO"].found == "rpi-lgpio 0.6"
    assert checks["GPIO device"].found == "/dev/gpiochip0"
    can = pi.can()
    assert can["a camera of this Pi"]
    assert can["rehearsals: every calibration on a twin"]
    assert can["calibrations with a camera: psf"]
    assert not can["calibration of a modulator: slm"]


def broken(pi: Pi, part: str) -> Check:
    check = pi.checks()[part]
    assert check.verdict in ("missing", "wrong"), check
    assert check.fix
    assert "\n" not in check.fix
    return check


class TestGpio:
    def test_both_packages_on_a_pi_5(self, tmp_path):
        pi = Pi(tmp_path, PI5)
        pi.package("RPi.GPIO", "0.7.1")
        check = broken(pi, "GPIO")
        assert "both installed" in check.found
        assert check.fix == "sudo apt-get remove python3-rpi.gpio"
        pi.without_package("RPi.GPIO")
        assert pi.checks()["GPIO"].verdict == "ok"

    def test_the_wrong_one_on_a_pi_5(self, tmp_path):
        pi = Pi(tmp_path, PI5)
        pi.without_package("rpi-lgpio")
        pi.package("RPi.GPIO", "0.7.1")
        check = broken(pi, "GPIO")
        assert "cannot drive the pins of a Raspberry Pi 5" in check.found
        assert check.fix == "sudo apt-get remove python3-rpi.gpio && sudo apt-get install python3-rpi-lgpio"

    def test_the_old_one_is_right_on_a_pi_4(self, pi):
        pi.without_package("rpi-lgpio")
        pi.package("RPi.GPIO", "0.7.1")
        assert pi.checks()["GPIO"].verdict == "ok"
        assert pi.checks()["GPIO device"].found == "/dev/gpiomem"

    @pytest.mark.parametrize(
        ("sees", "fix"), [(True, "sudo apt-get install python3-rpi-lgpio"), (False, "pip install rpi-lgpio")]
    )
    def test_none(self, pi, sees, fix):
        pi.without_package("rpi-lgpio")
        pi.sees_system = sees
        assert broken(pi, "GPIO").fix == fix

    def test_no_permission(self, pi):
        pi.closed = {"gpiochip0"}
        pi.groups -= {"gpio", "dialout"}
        assert broken(pi, "GPIO device").fix == "sudo usermod -aG gpio pi && sudo reboot"
        check = broken(pi, "groups")
        assert check.found == "pi is not in gpio (pins), dialout (board)"
        assert check.fix == "sudo usermod -aG gpio,dialout pi && sudo reboot"

    def test_no_device(self, pi):
        (pi.root / "dev/gpiochip0").unlink()
        assert "no device" in broken(pi, "GPIO device").found


class TestCamera:
    def test_none_connected(self, pi):
        pi.answers["cameras"] = Cameras("0.3.27")
        check = broken(pi, "camera")
        assert "ribbon cable" in check.found
        assert check.fix == "rpicam-hello --list-cameras"
        assert not pi.can()["a camera of this Pi"]
        pi.answers["cameras"] = Cameras("0.3.27", ("imx477",))
        assert pi.can()["a camera of this Pi"]

    def test_busy(self, pi):
        pi.answers["held"] = ["rpicam-vid (process 812)", "motion (process 9)"]
        check = broken(pi, "camera")
        assert "held by rpicam-vid (process 812), motion (process 9)" in check.found
        assert check.fix == "sudo kill 812"

    def test_no_permission(self, pi):
        pi.closed = {"media0"}
        assert broken(pi, "camera").fix == "sudo usermod -aG video pi && sudo reboot"

    def test_no_picamera2(self, pi):
        pi.answers["cameras"] = Cameras(problem="ModuleNotFoundError: No module named 'picamera2'")
        check = broken(pi, "picamera2")
        assert check.verdict == "missing"
        assert check.fix == "sudo apt-get install --no-install-recommends python3-picamera2"
        assert not pi.can()["camera and board"]

    def test_a_virtual_environment_that_hides_it(self, pi):
        pi.answers["cameras"] = Cameras(problem="ModuleNotFoundError: No module named 'picamera2'")
        pi.write("usr/lib/python3/dist-packages/picamera2/__init__.py", "")
        pi.sees_system = False
        check = broken(pi, "picamera2")
        assert "does not see" in check.found
        assert check.fix.startswith("python3 -m venv --system-site-packages")
        pi.sees_system = True
        assert "--reinstall" in broken(pi, "picamera2").fix
        old = "ValueError: numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header"
        pi.answers["cameras"] = Cameras(problem=old)
        assert broken(pi, "picamera2").fix == f"{sys.executable} -m pip install 'simplejpeg>=1.9'"


class TestSystem:
    def test_32_bit(self, pi):
        pi.architecture = "armv7l"
        assert "64-bit" in broken(pi, "Raspberry Pi").fix

    def test_clock(self, pi):
        pi.answers["clock"] = False
        assert broken(pi, "clock").fix == "sudo timedatectl set-ntp true"
        pi.answers["clock"] = None
        assert pi.checks()["clock"].verdict == "optional"

    def test_swap_on_the_card(self, pi, monkeypatch):
        monkeypatch.setattr("host.doctor_pi.resource.getrlimit", lambda _which: (8 << 20, 8 << 20))
        pi.write("proc/swaps", "Filename Type Size Used Priority\n/var/swap file 102396 0 -2\n")
        check = broken(pi, "swap")
        assert check.fix == "sudo systemctl disable --now dphys-swapfile"
        pi.write("proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 102396 0 100\n")
        assert pi.checks()["swap"].verdict == "optional"
        monkeypatch.setattr("host.doctor_pi.resource.getrlimit", lambda _which: (-1, -1))
        assert pi.checks()["swap"].verdict == "ok"

    def test_a_kernel_without_filters_runs_no_camera(self, pi):
        pi.write("proc/sys/kernel/seccomp/actions_avail", "")
        assert "no seccomp" in broken(pi, "seccomp").found
        can = pi.can()
        assert not can["a camera of this Pi"]
        assert not can["rehearsals: every calibration on a twin"]

    def test_no_library_for_filters(self, pi):
        pi.answers["libseccomp"] = False
        assert broken(pi, "libseccomp").fix == "sudo apt-get install libseccomp2"
        assert not pi.can()["a camera of this Pi"]

    def test_no_landlock(self, pi):
        pi.answers["landlock"] = 0
        assert pi.checks()["Landlock"].verdict == "optional"

    def test_display(self, pi):
        pi.write("sys/class/drm/card1-HDMI-A-1/status", "connected\n")
        pi.write("sys/class/drm/card1-HDMI-A-1/enabled", "enabled\n")
        pi.write("sys/class/drm/card1-HDMI-A-2/status", "disconnected\n")
        check = pi.checks()["modulator's display"]
        assert (check.verdict, check.found) == ("ok", "HDMI-A-1 on, HDMI-A-2 off")
        assert pi.can()["calibration of a modulator: slm"]


def test_no_pi_at_all(tmp_path):
    pi = Pi(tmp_path, None)
    (tmp_path / "dev/media0").unlink()
    pi.answers["cameras"] = None
    checks = pi.checks()
    assert {checks[part].verdict for part in ("Raspberry Pi", "camera", "GPIO")} == {"optional"}
    can = pi.can()
    assert not can["a camera of this Pi"]
    assert can["rehearsals: every calibration on a twin"]


def test_an_empty_container(tmp_path):
    """Nothing at all below the root: still no exception, and a command for whatever is wrong."""
    machine = Machine(tmp_path, "x86_64", "nobody", frozenset(), False, [], False, lambda _path: False,
                      lambda: Cameras(problem="none"), lambda: None, list, lambda: False, lambda: 0)  # fmt: skip
    for check in examine(machine):
        assert check.fix or check.verdict == "ok", check


def test_here():
    for check in examine():
        assert (check.verdict == "ok") == (check.fix == ""), check


class TestAskingPicamera2:
    def python(self, tmp_path: Path, code: str) -> str:
        place = tmp_path / "python"
        place.write_text(f"#!{sys.executable}\n{code}\n")
        place.chmod(place.stat().st_mode | stat.S_IXUSR)
        return str(place)

    def test_answer_among_noise(self, tmp_path):
        code = 'print("[0:01] INFO Camera"); print(\'ANSWER {"version": "0.3.27", "cameras": ["imx219", "ov5647"]}\')'
        assert ask_picamera2(self.python(tmp_path, code)) == Cameras("0.3.27", ("imx219", "ov5647"))

    def test_crash(self, tmp_path):
        code = 'import os, sys; print("libcamera: broken", file=sys.stderr, flush=True); os.abort()'
        assert ask_picamera2(self.python(tmp_path, code)).problem == "libcamera: broken"
        assert ask_picamera2(self.python(tmp_path, "")).problem == "exit status 0"
        assert ask_picamera2(str(tmp_path / "none")).problem

    def test_hang(self, tmp_path, monkeypatch):
        monkeypatch.setattr("host.doctor_machine.ASK_S", 0.5)
        assert "does not answer" in ask_picamera2(self.python(tmp_path, "import time; time.sleep(60)")).problem

    def test_not_installed(self, tmp_path):
        """As on this machine, in an environment that holds nothing."""
        done = subprocess.run([sys.executable, "-I", "-S", "-c", "import picamera2"], capture_output=True, check=False)
        if done.returncode == 0:
            pytest.skip("picamera2 is part of this Python: on a PC it is not there")
        code = f"import os, sys; os.execv({sys.executable!r}, [{sys.executable!r}, '-I', '-S', *sys.argv[1:]])"
        assert "No module named" in ask_picamera2(self.python(tmp_path, code)).problem


def test_clock_of_a_root(tmp_path):
    assert clock_is_set(tmp_path) is None
    (tmp_path / "run/systemd/timesync").mkdir(parents=True)
    assert clock_is_set(tmp_path) is False
    (tmp_path / "run/systemd/timesync/synchronized").touch()
    assert clock_is_set(tmp_path) is True
