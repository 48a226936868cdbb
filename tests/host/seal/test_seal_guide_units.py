"""The systemd units of the deployment guide: systemd's own checks find nothing wrong in them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guide-deploy-on-a-pi.md"
UNIT = re.compile(r"/etc/systemd/system/(\S+) <<'EOF'\n(.*?)\nEOF", re.DOTALL)
ANALYZE = shutil.which("systemd-analyze")


@pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze: install systemd")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    units = dict(UNIT.findall(GUIDE.read_text()))
    assert set(units) == {"canopic.service", "canopic-verify.service", "canopic-verify.timer"}
    for name, text in units.items():
        # The command and its user are there on a Pi only.
        here = text.replace("/opt/canopic/.venv/bin/canopic", "/bin/true").replace("User=canopic\n", "")
        (tmp_path / name).write_text(here.replace("/usr/bin/systemctl", "/bin/true"))
    done = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", *(str(tmp_path / name) for name in units)],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if "canopic" in line]
    assert not said
    assert "LimitCORE=0" in units["canopic.service"]
    assert "LimitMEMLOCK=infinity" in units["canopic.service"]
    assert "NoNewPrivileges=yes" in units["canopic.service"]
