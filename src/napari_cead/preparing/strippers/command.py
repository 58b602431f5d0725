"""Any program that finds a brain: a command with placeholders for the scan and the mask."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import MaskError, ParameterError, PatientError
from ...patients.brain import largest_piece
from ...patients.volumes import onto, read_volume
from ...progress import Progress, Stop
from .extractor import COMMAND, HeadScan
from .running import run_tool, scan_file

INPUT, OUTPUT = "{input}", "{output}"


def words_of(text: str, *, windows: bool) -> list[str]:
    """Return the words of a command. On Windows a backslash is part of a path, and quotes hold a word together."""
    words = shlex.split(text, posix=not windows)
    return [word.strip('"') for word in words] if windows else words


class CommandStripper:
    """Runs a program of the user's; no shell is involved.

    Args:
        name: ``command:`` and the command, in which ``{input}`` stands for a NIfTI file of the scan, and ``{output}``
            for the NIfTI file to be written: a mask of the brain, or the scan with 0 outside of it.

    Raises:
        ParameterError: If the command cannot be split into words, or lacks one of the two.
    """

    title = "a command of yours"

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            text = name.removeprefix(COMMAND)
            self._words = words_of(text, windows=os.name == "nt")
        except ValueError as error:
            raise ParameterError(
                f"the command cannot be split into words ({error})", file=name, hint="check its quotes"
            ) from None
        if not self._words or not (INPUT in text and OUTPUT in text):
            raise ParameterError(
                "the command has no place for the scan and the mask",
                file=name,
                hint=f"write {INPUT} and {OUTPUT} where their file names go",
            )

    def missing(self) -> str | None:
        """Return what has to be installed or done before it can run here; None if nothing."""
        program = self._words[0]
        return None if shutil.which(program) is not None else f"install {program}, or give its whole path"

    def version(self) -> str:
        """Return the identity of the program: size and time of its file."""
        found = shutil.which(self._words[0])
        if found is None:
            return "unknown"
        state = Path(found).stat()
        return hashlib.sha256(f"{found} {state.st_size} {state.st_mtime_ns}".encode()).hexdigest()[:12]

    def extract(
        self,
        scan: HeadScan,
        *,
        device: str = "auto",
        on_progress: Progress | None = None,
        should_stop: Stop | None = None,
    ) -> NDArray[np.bool_]:
        """Find the brain: see `BrainExtractor`. The program chooses the device."""
        what = Path(self._words[0]).name
        with scan_file(scan) as given:
            made = given.with_name("brain.nii.gz")
            words = [word.replace(INPUT, str(given)).replace(OUTPUT, str(made)) for word in self._words]
            run_tool(words, what, scan.place, should_stop=should_stop, how_to_install="check the command")
            if not made.is_file():
                raise PatientError(
                    f"{what} ended without writing {OUTPUT}", file=scan.place, hint="check the command"
                )
            try:
                volume = onto(read_volume(made), scan.grid, 0, made.name)
            except PatientError as error:
                raise MaskError(
                    f"what {what} wrote cannot be used ({error.reason})",
                    file=scan.place,
                    hint="check the command",
                ) from error
        if volume.data.shape != scan.volume.shape:
            raise MaskError(
                f"what {what} wrote has shape {volume.data.shape}, the scan {scan.volume.shape}",
                file=scan.place,
                hint="check the command",
            )
        return largest_piece(np.asarray(volume.data != 0))
