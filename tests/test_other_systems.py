"""What other systems do, where this one can stand in for them: Windows' encodings, its locked files, its commands."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import napari_cead
from napari_cead import atomic
from napari_cead.atomic import write_text
from napari_cead.errors import OutputError
from napari_cead.models.specs import spec
from napari_cead.preparing.strippers.command import words_of
from napari_cead.runs.training_settings import Hardware, TrainingSettings
from napari_cead.training import engine

SOURCE = Path(napari_cead.__file__).parent


def windows_replace(monkeypatch, refusals):
    """Let the replacing of files fail so often, as on Windows while somebody reads the old one."""
    real, left = Path.replace, [refusals]

    def replace(self, target):
        left[0] -= 1
        if left[0] >= 0:
            raise PermissionError(13, "Access is denied", str(target))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(atomic, "PATIENCE_S", (0, 0))


def test_a_file_that_is_being_read_is_replaced_a_moment_later(tmp_path, monkeypatch):
    (tmp_path / "status.json").write_text("old")
    windows_replace(monkeypatch, 2)
    write_text(tmp_path / "status.json", "new\n")
    assert (tmp_path / "status.json").read_bytes() == b"new\n"


def test_a_file_that_stays_locked_is_an_error_and_leaves_nothing_behind(tmp_path, monkeypatch):
    (tmp_path / "status.json").write_text("old")
    windows_replace(monkeypatch, 3)
    with pytest.raises(OutputError, match="Access is denied"):
        write_text(tmp_path / "status.json", "new")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_output_in_an_old_encoding_is_neither_an_error_nor_broken_json(tmp_path):
    folder = tmp_path / "Πέτρος ≥ 3"
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "napari_cead", "check", str(folder), "--json"],
        env=environment,
        capture_output=True,
    )
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["file"] == str(folder)
    assert "Πέτρος ≥ 3" in done.stderr.decode("utf-8") and b"Traceback" not in done.stderr


def test_paths_with_spaces_in_a_command_of_the_users():
    wanted = ["C:\\Program Files\\bet.exe", "{input}", "{output}", "-f"]
    assert words_of('"C:\\Program Files\\bet.exe" {input} {output} -f', windows=True) == wanted
    assert words_of("'/opt/my tools/bet' {input}", windows=False) == ["/opt/my tools/bet", "{input}"]


@pytest.mark.parametrize(("system", "asked"), [("win32", "0"), ("linux", None)])
def test_several_processes_on_windows_do_without_libuv(monkeypatch, system, asked):
    monkeypatch.setattr(engine, "sys", SimpleNamespace(platform=system))
    monkeypatch.setenv("USE_LIBUV", "")
    monkeypatch.delenv("USE_LIBUV")
    engine._fabric(TrainingSettings(spec=spec("vq-vae", "small")), Hardware(device="cpu", devices=2))
    assert os.environ.get("USE_LIBUV") == asked


FORBIDDEN = {
    *(
        "os.fork",
        "os.getuid",
        "os.geteuid",
        "os.killpg",
        "os.setsid",
        "os.getpgid",
        "os.mkfifo",
        "os.statvfs",
    ),
    *(
        "signal.SIGKILL",
        "signal.SIGSTOP",
        "signal.SIGCONT",
        "signal.SIGALRM",
        "signal.SIGHUP",
        "signal.SIGUSR1",
    ),
}
"""What Windows does not have."""

POSIX_ONLY = {"fcntl", "resource", "pwd", "grp", "termios", "pty"}


def foreign(node):
    """Say whether a piece of code works on one kind of system alone."""
    if isinstance(node, ast.Attribute):
        return ast.unparse(node) in FORBIDDEN
    if isinstance(node, ast.Import):
        return bool({name.name for name in node.names} & POSIX_ONLY)
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and node.value.startswith(("/tmp", "/dev/", "/proc/", "/home/"))
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".read_text", ".write_text")):
        return "encoding" not in {word.arg for word in node.keywords}  # Windows' own is not UTF-8
    return False


def test_nothing_relies_on_what_other_systems_lack():
    found = [
        f"{file.relative_to(SOURCE).as_posix()}: {ast.unparse(node)}"
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if foreign(node)
    ]
    assert found == ["training/cost.py: import resource"]  # after a look at sys.platform
