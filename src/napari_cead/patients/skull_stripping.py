"""Running an installed skull-stripping tool (HD-BET) as a command of its own.

HD-BET is neither imported nor installed by this package: its dependencies are many, and belong into an environment of
their own (``pipx install hd-bet``) or beside this package (``pip install hd-bet``). It runs on this machine; on its
first run it downloads its weights.

Source: Isensee et al., *Automated brain extraction of multisequence MRI using artificial neural networks*, Human Brain
Mapping (2019), doi:10.1002/hbm.24750.
"""

from __future__ import annotations

import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

from ..errors import Cancelled, MaskError, MissingExtraError, OutputError, PatientError, PatientNotFoundError
from ..progress import Stop
from .saving import write_volume
from .volumes import read_volume

HOW_TO_INSTALL = "run: pip install hd-bet (or pipx install hd-bet, which keeps it apart)"

_NAMES = ("scan_bet.nii.gz", "scan_mask.nii.gz")  # of the mask, by version 2 and version 1
_LOOK = 0.1  # seconds between two calls of should_stop
_PATIENCE = 10.0  # seconds that a command asked to end has


def hd_bet_command() -> list[str] | None:
    """Return how to call HD-BET, or None if it is not installed."""
    found = shutil.which("hd-bet")
    return None if found is None else [found]


def strip_with_hd_bet(
    scan: str | Path,
    out_mask: str | Path,
    *,
    device: str = "cpu",
    on_output: Callable[[str], None] | None = None,
    should_stop: Stop | None = None,
) -> Path:
    """Let HD-BET find the brain, and keep its mask. The scan stays as it is.

    Args:
        scan: NIfTI file with the skull.
        out_mask: Where the mask goes, a name that ends in ``.nii.gz``; it appears when it is complete.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``. On the CPU, test-time augmentation is left out.
        on_output: Called with every line that the command prints, from this thread.
        should_stop: Called ten times a second; the command ends within seconds.

    Returns:
        ``out_mask``.

    Raises:
        MissingExtraError: If HD-BET is not installed.
        PatientError: If the scan cannot be read, or HD-BET fails; the sentence ends with its last line.
        MaskError: If the mask that it wrote is empty or cannot be read.
        OutputError: If the mask cannot be written.
        Cancelled: If ``should_stop`` returned true.
    """
    command, source, target = hd_bet_command(), Path(scan).expanduser(), Path(out_mask).expanduser()
    if command is None:
        raise MissingExtraError("Skull-stripping needs HD-BET, which is not installed", mend=HOW_TO_INSTALL)
    if not target.name.lower().endswith(".nii.gz"):
        raise OutputError("the name does not say NIfTI", file=target, mend="let it end in .nii.gz")
    if not source.is_file():
        raise PatientNotFoundError("there is no such file", file=source, mend="check the path")
    with tempfile.TemporaryDirectory(prefix="napari-cead-") as place:
        folder = Path(place)
        given = folder / "input.nii.gz"  # HD-BET reads .nii.gz alone, and copies the header that it gets
        volume = read_volume(source)
        write_volume(volume.data, volume.grid, given)
        arguments = ["-i", str(given), "-o", str(folder / "scan.nii.gz"), "-device", device]
        arguments += ["--save_bet_mask", "--no_bet_image"] + (["--disable_tta"] if device == "cpu" else [])
        run_tool(
            [*command, *arguments],
            "HD-BET",
            source,
            on_output=on_output,
            should_stop=should_stop,
            mend="try --device cpu, or give a brain mask file"
            if "cuda" in arguments
            else "give a brain mask file",
            how_to_install=HOW_TO_INSTALL,
        )
        mask = next((folder / name for name in _NAMES if (folder / name).is_file()), None)
        if mask is None:
            raise PatientError(
                "HD-BET ended without a brain mask", file=source, mend="update it: pip install -U hd-bet"
            )
        try:
            brain = read_volume(mask)
        except PatientError as error:
            raise MaskError(
                f"HD-BET's mask cannot be used ({error.reason})", file=source, mend="give a brain mask file"
            ) from error
        if not brain.data.any():
            raise MaskError("HD-BET found no brain in this scan", file=source, mend="give a brain mask file")
        return write_volume(brain.data, brain.grid, target)


def run_tool(
    command: list[str],
    what: str,
    source: str | Path,
    *,
    on_output: Callable[[str], None] | None = None,
    should_stop: Stop | None = None,
    mend: str = "give a brain mask file",
    how_to_install: str = "",
) -> None:
    """Run a program until it ends, or somebody asks to stop.

    Args:
        command: The program and its arguments; no shell is involved.
        what: What the program is called in an error.
        source: The scan it works on, for the message of an error.
        on_output: Called with every line that it prints, from this thread.
        should_stop: Called ten times a second; the program ends within seconds.
        mend: What to do if it fails.
        how_to_install: What to do if it cannot be started.

    Raises:
        PatientError: If it cannot be started, or fails; the sentence ends with its last line.
        Cancelled: If ``should_stop`` returned true.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise PatientError(
            f"{what} cannot be started ({error.strerror or error})", file=source, mend=how_to_install or mend
        ) from error
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
    reader.start()
    last = ""
    try:
        while True:
            if should_stop is not None and should_stop():
                raise Cancelled
            try:
                line = lines.get(timeout=_LOOK)
            except queue.Empty:
                if process.poll() is None:
                    continue
                line = None if not reader.is_alive() and lines.empty() else ""
            if line is None:
                break
            if line.strip():
                last = line.strip()
                if on_output is not None:
                    on_output(line)
        status = process.wait()
    finally:
        _end(process)
        reader.join(timeout=_PATIENCE)
    if status != 0:
        raise PatientError(
            f"{what} failed with status {status} ({last[-200:] or 'it said nothing'})",
            file=source,
            mend=mend,
        )


def _read(stream: IO[str] | None, lines: queue.Queue[str | None]) -> None:
    if stream is not None:
        with stream:
            for line in stream:
                lines.put(line.rstrip("\n"))
    lines.put(None)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
