"""Several analyses side by side in napari's grid, each over the scan; one view, one slice, one camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari.layers import Image, Labels, Layer

from ..contributions.layers import KEY, Role, Tag
from ..exploring import Analysis, Key
from ..patients import Patient
from .analysis_layers import AnalysisLayers

MakeLayers = Callable[[Patient, Callable[[Layer, Role], None], str], AnalysisLayers]


class Tiles:
    """Tiles of the grid: the scan, the anomaly map, the detected mask, and the outline of the lesions in each.

    napari fills its grid by the order of the layers, so many to a tile: those of a tile stand together, all tiles
    have as many, and they come before all other layers, which are hidden meanwhile.

    Args:
        viewer: The napari viewer.
        make: Makes the layers of one analysis, given patient, how to insert, and what to append to names.
    """

    def __init__(self, viewer: Any, make: MakeLayers) -> None:
        self.viewer = viewer
        self._make = make
        self._tiles: dict[Key, AnalysisLayers] = {}
        self._copies: list[Layer] = []
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
        was_there = bool(self._tiles)
        self._clear()
        for layer in self.viewer.layers:
            if layer.visible and layer not in self._hidden:
                self._hidden.append(layer)
                layer.visible = False
        models = {analysis.key[0] for analysis in analyses}
        outline = reference if isinstance(reference, Labels) else None
        position = 0
        for analysis in analyses:
            name = " · ".join(analysis.key) if len(models) < len(analyses) else analysis.key[0]
            position = self._add(analysis, name, position, scan, outline)
        grid = self.viewer.canvas.grid
        grid.stride = position // len(analyses)
        grid.spacing = 4
        grid.shape = (-1, -1)
        grid.enabled = True
        self._choose(current)
        if not was_there:
            self._fit()

    def show_current(self, analysis: Analysis) -> None:
        """Take over what has changed in an analysis, and make it the one that the sliders belong to."""
        if analysis.key in self._tiles:
            self._tiles[analysis.key].show(analysis, reconstruction=False)
            self._choose(analysis.key)

    def remove(self) -> None:
        """Take the tiles away and show what was there before."""
        self._clear()
        grid = self.viewer.canvas.grid
        grid.enabled, grid.stride, grid.shape, grid.spacing = self._before
        for layer in self._hidden:
            layer.visible = True
        camera = self.viewer.scene.camera
        camera.center, camera.zoom = self._view

    def _fit(self) -> None:
        """Show in every tile what the whole canvas showed."""
        rows, columns = self.viewer.canvas.grid.actual_shape(self.viewer.layers)
        camera = self.viewer.scene.camera
        camera.center, camera.zoom = self._view[0], self._view[1] / max(rows, columns)

    def _add(self, analysis: Analysis, name: str, position: int, scan: Image, outline: Labels | None) -> int:
        def insert(layer: Layer, role: Role | None = None) -> None:
            nonlocal position
            self.viewer.layers.insert(position, layer)
            position += 1

        patient = analysis.reconstruction.patient
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
        copy.name_overlay.visible = True
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

    def _clear(self) -> None:
        for tile in self._tiles.values():
            tile.remove()
        for layer in self._copies:
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)
        self._hidden = [layer for layer in self._hidden if layer in self.viewer.layers]
        self._tiles, self._copies, self._current = {}, [], None


def _placement(layer: Layer) -> dict[str, Any]:
    names = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
    return {name: getattr(layer, name) for name in names}
