"""What a Raspberry Pi needs besides Python: camera, pins, groups, display, kernel, clock; each with what mends it."""

import resource
from collections.abc import Iterator

from host.camera.device import numpy_mend
from host.doctor_machine import Cameras, Check, Machine
from host.gpio.software import GPIOCHIP, REGISTERS, has_rp1, installation, installed, superfluous
from host.mask.display import connectors

VENV_FIX = "python3 -m venv --system-site-packages .venv && .venv/bin/pip install 'canopic[pi]'"
NEEDED_GROUPS = {"video": "camera", "gpio": "pins", "dialout": "board"}


def examine_pi(machine: Machine) -> list[Check]:
    """All of it. On a machine that is no Raspberry Pi its parts are optional."""
    asked = machine.cameras() if machine.model or machine.devices("media*") else None
    return [
        _computer(machine),
        _system(machine),
        *_kernel(machine),
        _clock(machine),
        *_camera(machine, asked),
        *_gpio(machine),
        *_groups(machine),
        _display(machine),
    ]


def _computer(machine: Machine) -> Check:
    model = machine.model
    if model is None:
        return Check("Raspberry Pi", "optional", f"none, {machine.architecture}: twins and rehearsals run here",
                     "run this on the Pi that gets the camera")  # fmt: skip
    if machine.architecture not in ("aarch64", "arm64"):
        return Check("Raspberry Pi", "wrong", f"{model} with a 32-bit system ({machine.architecture})",
                     "install Raspberry Pi OS (64-bit) with Raspberry Pi Imager")  # fmt: skip
    return Check("Raspberry Pi", "ok", model)


def _system(machine: Machine) -> Check:
    told = dict(
        line.split("=", 1) for line in machine.read("etc/os-release").splitlines() if "=" in line
    )  # fmt: skip
    name = told.get("PRETTY_NAME", "").strip('"') or "unknown system"
    kernel = machine.read("proc/sys/kernel/osrelease") or "unknown"
    return Check("system", "ok", f"{name}, kernel {kernel}")


def _kernel(machine: Machine) -> Iterator[Check]:
    """What keeps frames inside the boundary process."""
    if "errno" in machine.read("proc/sys/kernel/seccomp/actions_avail").split():
        yield Check("seccomp", "ok", "filters of system calls")
    else:
        yield Check("seccomp", "wrong", "this kernel has no seccomp filters: frames of a camera are refused",
                    "sudo apt-get full-upgrade")  # fmt: skip
    if not machine.has_libseccomp():
        yield Check("libseccomp", "missing", "no libseccomp.so.2: the boundary process cannot make its filter",
                    "sudo apt-get install libseccomp2")  # fmt: skip
    version = machine.landlock_version()
    if version:
        yield Check("Landlock", "ok", f"version {version}")
    else:
        yield Check("Landlock", "optional", "not in this kernel: files are guarded by seccomp alone",
                    "sudo apt-get full-upgrade")  # fmt: skip
    swaps = [line.split()[0] for line in machine.read("proc/swaps").splitlines()[1:]]
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    locked = limit == resource.RLIM_INFINITY
    on_disk = [each for each in swaps if "zram" not in each]
    if not swaps or locked:
        yield Check("swap", "ok", "none" if not swaps else f"{', '.join(swaps)}, and memory can be locked")
    else:
        kind = "which outlives a power cut" if on_disk else "in memory"
        fix = "sudo systemctl disable --now dphys-swapfile" if swaps == ["/var/swap"] else "sudo swapoff -a"
        yield Check("swap", "wrong" if on_disk else "optional",
                    f"{', '.join(swaps)}, {kind}: frames may get there, memory cannot be locked", fix)  # fmt: skip


def _clock(machine: Machine) -> Check:
    state = machine.clock_is_set()
    if state is None:
        return Check("clock", "optional", "nothing tells whether it is set", "sudo apt-get install systemd-timesyncd")
    if state:
        return Check("clock", "ok", "synchronised")
    return Check("clock", "wrong", "not synchronised: events would carry a wrong time", "sudo timedatectl set-ntp true")


def _camera(machine: Machine, asked: Cameras | None) -> Iterator[Check]:
    if asked is None:
        yield Check("camera", "optional", "no camera of a Raspberry Pi", "connect one to a Raspberry Pi")
        return
    if asked.problem:
        hidden = any((machine.root / "usr/lib/python3/dist-packages").glob("picamera2*"))
        if hidden and not machine.sees_system:
            yield Check("picamera2", "wrong", "installed, but this virtual environment does not see Debian's packages",
                        VENV_FIX)  # fmt: skip
        elif hidden:
            yield Check("picamera2", "wrong", f"installed, but cannot be used: {asked.problem}",
                        numpy_mend(asked.problem)
                        or "sudo apt-get install --reinstall python3-picamera2 python3-libcamera")  # fmt: skip
        else:
            yield Check("picamera2", "missing", asked.problem,
                        "sudo apt-get install --no-install-recommends python3-picamera2")  # fmt: skip
        return
    yield Check("picamera2", "ok", asked.version)
    closed = [each for each in machine.devices("media*") if not machine.may_open(each)]
    if closed:
        yield Check("camera", "wrong", f"{machine.named(closed[0])}: no permission", _join(machine, "video"))
    elif not asked.models:
        yield Check("camera", "missing", "none found: switch off, seat the ribbon cable at both ends, switch on",
                    "rpicam-hello --list-cameras")  # fmt: skip
    else:
        busy = machine.held_by()
        if busy:
            number = busy[0].rpartition("process ")[2].rstrip(")")
            yield Check("camera", "wrong", f"{', '.join(asked.models)}, held by {', '.join(busy)}",
                        f"sudo kill {number}")  # fmt: skip
        else:
            yield Check("camera", "ok", ", ".join(asked.models))


def _gpio(machine: Machine) -> Iterator[Check]:
    model, packages = machine.model, installed(machine.search)
    if model is None:
        yield Check("GPIO", "optional", "no pins here; rehearsals record them", "set gpio.device: twin")
        return
    command = installation(machine.architecture, machine.sees_system)
    unwanted = superfluous(packages)
    if unwanted is not None:
        yield Check("GPIO", "wrong", "RPi.GPIO and rpi-lgpio are both installed: one overwrites the other",
                    unwanted.removal)  # fmt: skip
    elif not packages:
        yield Check("GPIO", "missing", "neither rpi-lgpio nor RPi.GPIO", command)
    elif has_rp1(model) and packages[0].name == REGISTERS:
        yield Check("GPIO", "wrong", f"RPi.GPIO {packages[0].version} cannot drive the pins of a {model}",
                    f"{packages[0].removal} && {command}")  # fmt: skip
    else:
        yield Check("GPIO", "ok", f"{packages[0].name} {packages[0].version}")
    by_registers = bool(packages) and unwanted is None and packages[0].name == REGISTERS
    devices = machine.devices("gpiomem*" if by_registers else "gpiochip*")
    driver = "gpiomem" if by_registers else GPIOCHIP
    if not devices:
        yield Check("GPIO device", "missing", f"no device for {driver} in /dev", "sudo apt-get full-upgrade")
    elif any(machine.may_open(each) for each in devices):
        yield Check("GPIO device", "ok", machine.named(next(each for each in devices if machine.may_open(each))))
    else:
        yield Check("GPIO device", "wrong", f"{machine.named(devices[0])}: no permission", _join(machine, "gpio"))


def _groups(machine: Machine) -> Iterator[Check]:
    if machine.model is None:
        return
    lacking = [name for name in NEEDED_GROUPS if name not in machine.groups]
    if machine.is_root or not lacking:
        yield Check("groups", "ok", "root" if machine.is_root else ", ".join(NEEDED_GROUPS))
    else:
        why = ", ".join(f"{name} ({NEEDED_GROUPS[name]})" for name in lacking)
        yield Check("groups", "wrong", f"{machine.user} is not in {why}", _join(machine, *lacking))


def _display(machine: Machine) -> Check:
    listed = connectors(machine.root)
    told = ", ".join(
        f"{each.name} {'on' if each.connected and each.enabled else 'off'}" for each in listed
    ) or "no video output"  # fmt: skip
    if any(each.connected and each.enabled for each in listed):
        return Check("modulator's display", "ok", told)
    return Check("modulator's display", "optional", f"{told} (only for a mask on an SLM)",
                 "switch the modulator on, then restart the Pi")  # fmt: skip


def _join(machine: Machine, *groups: str) -> str:
    return f"sudo usermod -aG {','.join(groups)} {machine.user} && sudo reboot"
