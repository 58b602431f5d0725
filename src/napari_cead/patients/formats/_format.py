"""The interface of a file format."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ..places import Place
from ..volume import Volume

Side = Literal["left", "right"]

PNG_SPACING = (1.0, 0.94, 0.94)
"""(z, y, x) in mm assumed for PNG slices: that of BrainMetShare."""


class Format:
    """A file format of scans. It needs the first three attributes and `read`; the rest has defaults.

    Attributes:
        name: Its name, unique among formats.
        title: Its name in sentences.
        endings: The endings of its file names, in lower case and with the dot. No other format has these.
        behind: Those of ``endings`` whose files belong to another file, such as the voxels beside a header.
        whole: Whether one file is a whole scan, so that its name may tell which one.
        bare: Whether its files lack side and voxel size.
        rank: Its position in lists.
    """

    name: str
    title: str
    endings: tuple[str, ...]
    behind: tuple[str, ...] = ()
    whole: bool = True
    bare: bool = False
    rank: int = 100

    def read(self, path: Path) -> Volume:
        """Read a file.

        Raises:
            PatientError: If it is unusable. Any exception of another package becomes one.
        """
        raise NotImplementedError

    def load(self, place: Place, side: Side, spacing: tuple[float, float, float]) -> Volume:
        """Read a place; side and (z, y, x) in mm are assumed where its files do not tell."""
        return self.read(place.file)

    def matches(self, place: Place) -> bool:
        """Whether a place is of this format."""
        return not place.inside and self.names(place.file) and not place.file.is_dir()

    def names(self, path: str | Path) -> bool:
        """Whether a file's name is one of this format. Hidden files are ignored."""
        name = Path(path).name
        return name.lower().endswith(self.endings) and not name.startswith(".")

    def files(self, place: Place) -> list[Path]:
        """Return the files on disk that are read for a place, in a fixed order."""
        return [place.file]

    def shape(self, path: Path) -> tuple[int, ...] | None:
        """Return the shape in a file's header; None if that takes reading the whole file."""
        return None
