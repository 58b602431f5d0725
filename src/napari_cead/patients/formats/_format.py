"""What a format is."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ..places import Place
from ..volume import Volume

Side = Literal["left", "right"]

PNG_SPACING = (1.0, 0.94, 0.94)
"""(z, y, x) in mm assumed for PNG slices: that of BrainMetShare."""


class Format:
    """One way in which scans lie on disk. A format needs the three attributes and `read`; the rest has defaults.

    Attributes:
        name: Its name, unique among formats.
        title: What it is called in sentences.
        endings: How the names of its files end, in lower case and with the dot. No other format has these.
        behind: Those of ``endings`` whose files belong to another file: the voxels beside a header.
        whole: Whether one file stands for a whole scan, so that its name may tell which one.
        bare: Whether its files tell neither side nor voxel size.
        rank: Where it comes in lists.
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
            PatientError: If it cannot be used. Of another package, any exception becomes one.
        """
        raise NotImplementedError

    def load(self, place: Place, side: Side, spacing: tuple[float, float, float]) -> Volume:
        """Read a place; side and (z, y, x) in mm are what to assume where its files do not tell."""
        return self.read(place.file)

    def matches(self, place: Place) -> bool:
        """Whether a place is of this format."""
        return not place.inside and self.names(place.file) and not place.file.is_dir()

    def names(self, path: str | Path) -> bool:
        """Whether a file's name is one of this format. Hidden files are nobody's."""
        name = Path(path).name
        return name.lower().endswith(self.endings) and not name.startswith(".")

    def files(self, place: Place) -> list[Path]:
        """Return the files on disk that are read for a place, in a fixed order."""
        return [place.file]

    def shape(self, path: Path) -> tuple[int, ...] | None:
        """Return the shape that a file's header states, None where that takes reading all of it."""
        return None
