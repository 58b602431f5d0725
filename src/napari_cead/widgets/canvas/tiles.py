"""Several analyses side by side in napari's grid, each over the scan; one view, one slice, one camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari.layers import Image, Labels, Layer

from ...contributions.layers import KEY, Role, Tag
from ...exploring import Analysis, Key
from ...patients import Patient
from .analysis_layers import AnalysisLayers
from .batches import batched
from .canvas_notes import bar_width, in_lines

MakeLayers = Callable[[Patient, Callable[[Layer, Role], None], str], AnalysisLayers]


TITLE_PT = 8
"""Size of the titles: one stands beside the colour bar of its tile."""


class Tiles:
    """Tiles of the grid: the scan, the anomaly map, the detected mask, and the outline of the lesions in each.

    napari fills its grid by the order of the layers, so many to a tile: those of a tile stand together, all tiles
    have as many, and they come before all other layers, which are hidden meanwhile.

    Args:
        viewer: The napari viewer.
        make: Makes the layers of one analysis, given patient, how to insert, and what to append to names.
        on_broken: Called when somebody else takes a layer of a tile away: the tiles are in disorder.
    """

    def __init__(self, viewer: Any, make: MakeLayers, on_broken: Callable[[], None]) -> None:
        self.viewer = viewer
        self._make, self._on_broken = make, on_broken
        self._clearing = False
        viewer.layers.events.removed.connect(self._layer_removed)
        viewer.canvas.events.size.connect(self._write_titles)
        self._tiles: dict[Key, AnalysisLayers] = {}
        self._titles: dict[Key, tuple[tuple[str, ...], Layer]] = {}
        self._dice: dict[Key, str] = {}
        self._copies: list[Layer] = []
        self._members: list[Layer] = []
        self._source: tuple[Layer | None, ...] = ()
        self._hidden: list[Layer] = []
        self._current: Key | None = None
        grid = viewer.canvas.grid
        camera = viewer.scene.camera
        self._before = grid.enabled, grid.stride, grid.shape, grid.spacing
        self._view = camera.center, camera.zoom

    @property
    def current(self) -> AnalysisLayers | None:
        """The layers of the analysis that the sliders belong to."""
        return None if self._current is None else self._tiles.get(self._current)

    @property
    def keys(self) -> tuple[Key, ...]:
        """What is shown, in the order of the tiles."""
        return tuple(self._tiles)

    @property
    def whole(self) -> bool:
        """Whether the layers of the tiles are all there, in order, before all others."""
        return list(self.viewer.layers[: len(self._members)]) == self._members

    def of(self, analysis: Analysis) -> AnalysisLayers:
        """Return the layers of an analysis that is shown."""
        return self._tiles[analysis.key]

    def show(self, analyses: Sequence[Analysis], current: Key, scan: Image, reference: Layer | None) -> None:
        """Show these analyses.

        Args:
            analyses: One tile each, row by row.
            current: The one that the sliders belong to; painting counts there alone.
            scan: Layer of the scan.
            reference: Layer of the lesion mask, if there is one.
        """
        keys, source = tuple(analysis.key for analysis in analyses), (scan, reference)
        if keys == self.keys and source == self._source and self.whole:
            for analysis in analyses:
                self._tiles[analysis.key].show(analysis, reconstruction=False)
            self._choose(current)
            return
        before = self._side if self._tiles else None
        grid = self.viewer.canvas.grid
        grid.enabled = False  # or it is laid out anew for every layer that comes or goes
        with batched(self.viewer):
            self._clear()
            self._source = source
            for layer in self.viewer.layers:
                if layer.visible and layer not in self._hidden:
                    self._hidden.append(layer)
                    layer.visible = False
            models = {analysis.key[0] for analysis in analyses}
            outline = reference if isinstance(reference, Labels) else None
            position = 0
            for analysis in analyses:
                names = analysis.key if len(models) < len(analyses) else analysis.key[:1]
                position = self._add(analysis, names, position, scan, outline)
        self._members = list(self.viewer.layers[:position])
        grid.stride = position // len(analyses)
        grid.spacing = 4
        grid.shape = (-1, -1)
        grid.enabled = True
        self._choose(current)
        camera = self.viewer.scene.camera
        if before is None:  # every tile shows what the whole canvas showed
            camera.center, camera.zoom = self._view[0], self._view[1] / self._side
        elif before != self._side:
            camera.zoom *= before / self._side
        self._write_titles()

    def show_current(self, analysis: Analysis) -> None:
        """Take over what has changed in an analysis, and make it the one that the sliders belong to."""
        if analysis.key in self._tiles:
            self._tiles[analysis.key].show(analysis, reconstruction=False)
            self._choose(analysis.key)

    def write_dice(self, key: Key, dice: str) -> None:
        """Write the Dice of an analysis before the name of its tile; empty: there is nothing to compare with."""
        if self._dice.get(key) != dice:
            self._dice[key] = dice
            self._write_titles()

    def _write_titles(self, event: Any = None) -> None:
        """Write the titles as wide as their tiles are now, beside the colour bars; a figure for paper is a size too."""
        canvas = self.viewer.canvas
        padding = canvas.overlay_tiling.padding[0]
        for key, (names, scan) in self._titles.items():
            dice = f"Dice {self._dice[key]}" if self._dice.get(key) else ""
            bar = next((bar_width(layer) for layer in self._tiles[key].layers if isinstance(layer, Image)), 0)
            room = canvas.viewbox_size(self.viewer.layers)[1] - 3 * padding - bar
            title = in_lines([part for part in (dice, *names) if part], room, scan.name_overlay.font_size)
            if scan.name != title:
                scan.name = title

    def remove(self) -> None:
        """Take the tiles away and show what was there before."""
        self.viewer.layers.events.removed.disconnect(self._layer_removed)
        self.viewer.canvas.events.size.disconnect(self._write_titles)
        grid = self.viewer.canvas.grid
        grid.enabled = False
        self._clear()
        grid.enabled, grid.stride, grid.shape, grid.spacing = self._before
        for layer in self._hidden:
            layer.visible = True
        camera = self.viewer.scene.camera
        camera.center, camera.zoom = self._view

    @property
    def _side(self) -> int:
        """Rows or columns of the grid, whichever are more."""
        return max(self.viewer.canvas.grid.actual_shape(self.viewer.layers))

    def _add(
        self, analysis: Analysis, names: tuple[str, ...], position: int, scan: Image, outline: Labels | None
    ) -> int:
        def insert(layer: Layer, role: Role | None = None) -> None:
            nonlocal position
            self.viewer.layers.insert(position, layer)
            position += 1

        patient, name = analysis.reconstruction.patient, " · ".join(names)
        copy = Image(
            scan.data,
            name=name,
            colormap=scan.colormap,
            contrast_limits=scan.contrast_limits,
            metadata={KEY: Tag("tile", patient, analysis=analysis.key)},
            **_placement(scan),
        )
        self._copies.append(copy)
        insert(copy)
        copy.name_overlay.visible, copy.name_overlay.font_size = True, TITLE_PT
        copy.name_overlay.events.font_size.connect(self._write_titles)
        self._titles[analysis.key] = names, copy
        tile = self._make(patient, insert, f" · {name}")
        tile.show(analysis, reconstruction=False)
        self._tiles[analysis.key] = tile
        if outline is not None:
            lesions = Labels(
                outline.data,
                name=f"{outline.name} · {name}",
                colormap=outline.colormap,
                metadata={KEY: Tag("tile", patient, analysis=analysis.key)},
                **_placement(outline),
            )
            lesions.contour, lesions.opacity, lesions.editable = 1, outline.opacity, False
            self._copies.append(lesions)
            insert(lesions)
        return position

    def _choose(self, key: Key) -> None:
        self._current = key
        for other, tile in self._tiles.items():
            for layer in tile.layers:
                if isinstance(layer, Labels):
                    layer.editable = other == key
                    if other == key:
                        self.viewer.layers.selection.active = layer

    def _layer_removed(self, event: Any) -> None:
        if not self._clearing and any(event.value in own for own in self._own()):
            self._on_broken()

    def _own(self) -> list[Sequence[Layer]]:
        return [self._copies, *(tile.made for tile in self._tiles.values())]

    def _clear(self) -> None:
        self._clearing = True
        try:
            with batched(self.viewer):
                for tile in self._tiles.values():
                    tile.remove()
                for layer in self._copies:
                    if layer in self.viewer.layers:
                        self.viewer.layers.remove(layer)
        finally:
            self._clearing = False
        self._hidden = [layer for layer in self._hidden if layer in self.viewer.layers]
        self._tiles, self._titles, self._dice = {}, {}, {}
        self._copies, self._members, self._current = [], [], None


def _placement(layer: Layer) -> dict[str, Any]:
    names = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
    return {name: getattr(layer, name) for name in names}
