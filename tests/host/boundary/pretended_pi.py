"""A Raspberry Pi's modules as far as they matter to the sandbox: RPi.GPIO as rpi-lgpio makes it, and picamera2."""

from pathlib import Path

MODEL = "Raspberry Pi 4 Model B Rev 1.5"
# As lgpio 0.2 does when it is imported: a named pipe in $LG_WD, opened again in the working directory, and a thread
# that reads it. What is written to the pipe is called in that thread.
GPIO = '''
import os, threading
BCM, OUT, IN, LOW, HIGH, PUD_UP, PUD_DOWN = 11, 0, 1, 0, 1, 22, 21
os.mkfifo(os.path.join(os.environ.get("LG_WD") or ".", ".lgd-nfy0"), 0o664)
_end = os.open(os.path.join(os.environ.get("LG_WD") or ".", ".lgd-nfy0"), os.O_RDWR)
_file = open(".lgd-nfy0", "rb", buffering=0)
_calls, _said, _heard = [], [], threading.Event()
_pins = {}

def _run():
    while _file.read(16):
        _said.append(_calls.pop()())
        _heard.set()

def in_its_thread(call):
    """What a call gives in the thread that was started by the import."""
    _calls.append(call)
    _heard.clear()
    os.write(_end, bytes(16))
    if not _heard.wait(10):
        raise RuntimeError("the thread is gone")
    return _said.pop()

def setwarnings(on): pass
def setmode(mode): pass
def setup(pin, direction, initial=None, pull_up_down=None):
    if pin in _pins: raise RuntimeError(f"GPIO {pin} is set up a second time")
    _pins[pin] = direction
def output(pin, level):
    if _pins[pin] != OUT: raise RuntimeError("no output")
    in_its_thread(lambda: None)
def input(pin): return HIGH
def cleanup(pin): del _pins[pin]

threading.Thread(target=_run, daemon=True).start()
'''
PICAMERA2 = """
from host.twin.bench import make_bench
from host.twin.picamera import twin_camera
_bench = make_bench("sensor", 3)
Picamera2 = twin_camera(_bench.world, _bench.sensor, **_bench.camera_options)
"""


def pretend_modules(folder: Path) -> Path:
    """The modules, as packages that were installed into this folder."""
    (folder / "RPi").mkdir(parents=True)
    (folder / "RPi/__init__.py").touch()
    (folder / "RPi/GPIO.py").write_text(GPIO)
    (folder / "picamera2.py").write_text(PICAMERA2)
    info = folder / "rpi_lgpio-0.6.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rpi-lgpio\nVersion: 0.6\n")
    return folder
