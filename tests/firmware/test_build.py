"""The firmware's own tests: unit tests under sanitizers, coverage, both fuzzers, format and static analysis."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
# What to install where a tool or library is missing.
PACKAGES = {"make": "make", "cc": "gcc", "clang": "clang", "cppcheck": "cppcheck"}


def tool(name: str) -> str:
    """Path of a tool, also one of this Python's environment; skips the test where it is missing."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        fix = f"apt install {PACKAGES[name]}" if name in PACKAGES else f"pip install {name}"
        pytest.skip(f"{name} is missing: {fix}")
    return found


def need_library(compiler: str, option: str, source: str, package: str) -> None:
    """Skips the test when a program that needs the library does not compile and link."""
    with tempfile.TemporaryDirectory() as folder:
        command = [tool(compiler), "-x", "c", "-", option, "-o", str(Path(folder) / "program")]
        result = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        pytest.skip(f"{compiler} {option} does not work: apt install {package}")


def need_cmocka() -> None:
    source = "#include <stdarg.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <setjmp.h>\n#include <cmocka.h>\n"
    need_library("cc", "-lcmocka", source + "int main(void) { return 0; }\n", "libcmocka-dev")


def make(*arguments: str) -> str:
    """Runs make in the firmware folder; the output, also in the message of a failure."""
    command = [tool("make"), "--no-print-directory", "-C", str(FIRMWARE), f"PYTHON={sys.executable}", *arguments]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(result.stdout)  # noqa: T201 (pytest shows it when the test fails, or with -rP)
    assert result.returncode == 0, result.stdout[-4000:]
    return result.stdout


def test_unit_tests_under_sanitizers() -> None:
    tool("cc")
    need_cmocka()
    output = make("test")
    assert len(re.findall(r"\[       OK \]", output)) >= 50
    assert "FAILED" not in output


def test_the_core_is_covered() -> None:
    tool("cc")
    need_cmocka()
    output = make("coverage", f"GCOVR={tool('gcovr')}")
    total = re.search(r"^TOTAL\s+\d+\s+\d+\s+(\d+)%", output, re.MULTILINE)
    assert total is not None
    assert int(total[1]) >= 90


@pytest.mark.timeout(900)
def test_fuzzing_finds_nothing() -> None:
    """CANOPIC_FUZZ_SECONDS (30) for each of the two fuzzers, which run side by side."""
    need_cmocka()
    source = "#include <stddef.h>\nint LLVMFuzzerTestOneInput(const char *d, size_t n) { return d == 0 && n > 0; }\n"
    need_library("clang", "-fsanitize=fuzzer,address", source, "clang libclang-rt-dev")
    output = make("fuzz", f"CLANG={tool('clang')}", f"FUZZ_SECONDS={os.environ.get('CANOPIC_FUZZ_SECONDS', '30')}")
    executed = [int(number) for number in re.findall(r"number_of_executed_units: (\d+)", output)]
    assert len(executed) == 2
    assert min(executed) > 100


def test_the_host_build_has_no_warnings_in_either_compiler(tmp_path: Path) -> None:
    for compiler in ("cc", "clang"):
        output = make("host", f"CC={tool(compiler)}", f"BUILD={tmp_path / compiler}")
        assert "warning" not in output
        assert (tmp_path / compiler / "host" / "canopic-board").exists()


def test_format() -> None:
    make("format-check", f"CLANG_FORMAT={tool('clang-format')}")


def test_static_analysis() -> None:
    tool("cppcheck")
    make("cppcheck")
