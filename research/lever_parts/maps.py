"""Anomaly maps under a setting of the levers. What a network made of an input is computed once and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_cead.detection.evidence import TISSUE
from napari_cead.detection.options import eroded
from napari_cead.detection.reconstruct import GROUP
from napari_cead.detection.scores import GRADIENT, SCORES, Evidence
from napari_cead.detection.smoothing import smoothed_in_brain
from napari_cead.slices import scale_intensity
from napari_cead.slices.geometry import SliceGeometry
from napari_cead.slices.intensity import LIQUID, IntensityScaling
from napari_cead.zoo import Detector

from .scans import CANVAS, Scan, Scans
from .standards import Standard, tissue_level

Maps = NDArray[np.float32]

RAW = "raw FLAIR"
"""The baseline: the image in place of a score."""

RECTIFIED = {
    "residual": np.abs,
    "positive-residual": lambda signed: np.maximum(signed, 0),
    "squared": np.square,
}
"""Scores of the signed residual alone, which can be smoothed or resampled before they are taken."""

COARSE_MM = 1.5
SPECK = 10
"""Liquid of fewer pixels is noise."""


@dataclass(frozen=True)
class Setting:
    """Where each lever stands; the defaults are the plain residual.

    Attributes:
        standard: Intensity standardisation of the input.
        mirror: Whether the reconstruction is averaged with that of the mirror image.
        of: ``"one"`` model; of all eight the ``"mean"`` or ``"median"`` of their maps, or the map of their
            ``"mean reconstruction"``.
        score: Name of the score, before its constant and before clipping.
        by_tissue: Whether image and reconstruction are scaled for the score so that the scan's tissue lies at 0.5.
        smoothing: Sigma in pixels of a Gaussian within the brain.
        coarse: Whether it is brought to 1.5 mm and back.
        signed: Whether the last two act on the signed residual, before it becomes a score.
        rim: The outermost pixels of the brain that are left out.
        liquid: Pixels around liquid, and liquid, that are left out.
    """

    standard: str = "none"
    mirror: bool = False
    of: str = "one"
    score: str = "residual"
    by_tissue: bool = False
    smoothing: float = 0
    coarse: bool = False
    signed: bool = False
    rim: int = 0
    liquid: int = 0

    @property
    def possible(self) -> bool:
        changed = self.smoothing > 0 or self.coarse
        return (changed and self.score in RECTIFIED) if self.signed else True


def without_rim(brain: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Return a brain (N, Y, X) without its outermost pixels."""
    return eroded(brain, pixels) if pixels else brain


PIXELS = (1.0, 1.0, 1.0)
"""Sizes of voxels, so that a sigma is in pixels."""


def liquid_of(image: Maps, brain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what is liquid in slices (N, Y, X): dark where the image is smoothed by a Gaussian of one pixel."""
    found = np.zeros_like(brain)
    for one, inside, where in zip(image, brain, found, strict=True):
        if not inside.any():
            continue
        soft = smoothed_in_brain(np.clip(one, 0, 1)[None], inside[None], PIXELS, 1, through=False)[0]
        labels, count = ndimage.label(inside & (soft < LIQUID * np.median(one[inside])))
        large = np.bincount(labels.ravel(), minlength=count + 1) >= SPECK
        large[0] = False
        where[...] = large[labels]
    return found


def beyond(region: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Return what is farther than some pixels from a region (N, Y, X), slice by slice."""
    result = np.ones_like(region)
    for one, where in zip(region, result, strict=True):
        if one.any():
            where[...] = (
                cv2.distanceTransform((~one).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > pixels
            )
    return result


def coarse(maps: Maps) -> Maps:
    """Bring maps (N, S, S) of 1 mm to 1.5 mm and back."""
    size = int(np.ceil(maps.shape[1] / COARSE_MM))
    zoom = (1 / COARSE_MM, 1 / COARSE_MM)
    geometry = SliceGeometry(maps.shape, size, zoom, (0.0, 0.0))
    return np.asarray(geometry.to_patient(geometry.to_model(maps)), dtype=np.float32)


def soft(maps: Maps, brain: NDArray[np.bool_], sigma: float) -> Maps:
    """Smooth maps of any range within the brain."""
    low, top = float(maps.min()), float(maps.max())
    span = max(top - low, 1e-12)
    smooth = smoothed_in_brain((maps - low) / span, brain, PIXELS, sigma, through=False)
    return np.where(brain, smooth * span + low, 0).astype(np.float32)


class Bench:
    """Scans, and what models make of them.

    Args:
        scans: The patients.
        models: By name; the first ``eight`` are those of the ensembles.
        standards: What lesion-free scans have in common, by intensity scaling.
        eight: Names of the models of the ensembles.
    """

    def __init__(
        self,
        scans: Scans,
        models: Mapping[str, Detector],
        standards: Mapping[str, Standard],
        eight: tuple[str, ...],
    ) -> None:
        self.scans, self.models, self.standards, self.eight = scans, models, standards, eight
        self._kept: dict[tuple[object, ...], NDArray[Any]] = {}
        self._geometries: dict[tuple[object, ...], list[SliceGeometry]] = {}

    def map(self, model: str, setting: Setting) -> Maps:
        """Return the map (N, 196, 196) of a model, or of raw FLAIR, under a setting."""
        if setting.of in ("mean", "median") and model != RAW:
            each = [self._scored(name, replace(setting, of="one")) for name in self.eight]
            maps = np.median(each, axis=0) if setting.of == "median" else np.mean(each, axis=0)
        else:
            maps = self._scored(model, setting)
        allowed = without_rim(self.scans.brain, setting.rim)
        if setting.liquid:
            allowed = allowed & beyond(self._liquid(), setting.liquid)
        return np.where(allowed, maps, np.float32(min(0, maps.min())))

    def _scored(self, model: str, setting: Setting) -> Maps:
        if model == RAW:
            return self._finished(self._on_canvas("volume-percentile", setting.standard), setting)
        image = self.input(model, setting.standard)
        if setting.of == "mean reconstruction":
            parts = [self.reconstruction(name, setting.standard, setting.mirror) for name in self.eight]
            made = np.mean(parts, axis=0, dtype=np.float32)
        else:
            made = self.reconstruction(model, setting.standard, setting.mirror)
        if setting.by_tissue:
            factor = self._tissue_factors(model, setting.standard)[:, None, None]
            image, made = image * factor, made * factor
        if setting.signed:
            signed = self._finished(self._to_canvas(model, image - made), setting)
            return np.asarray(RECTIFIED[setting.score](signed), dtype=np.float32)
        score, detector = SCORES.find(setting.score), self.models[model]
        gradient = {GRADIENT.name: self._gradient(model, setting.standard)} if score.computed else {}
        statistics = {name: values.cpu().numpy() for name, values in detector.statistics.items()}
        spacing = self._geometry(model)[0].pixel(self.scans.each[0].spacing)
        values = score.compute(Evidence(image, made, gradient, statistics, spacing))
        return self._finished(self._to_canvas(model, values), setting)

    def _finished(self, maps: Maps, setting: Setting) -> Maps:
        maps = coarse(maps) if setting.coarse else maps
        return soft(maps, self.scans.brain, setting.smoothing) if setting.smoothing else maps

    # What the networks see and make.

    def _keep(self, key: tuple[object, ...], make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def standardised(self, scaling: str, standard: str) -> list[Maps]:
        """Return the intensities (Z, Y, X) of each patient, not clipped, 0 outside the brain."""
        result = []
        for scan in self.scans.each:
            values = linear(scan, scaling)
            volume = np.zeros(scan.brain.shape, np.float32)
            volume[scan.brain] = self.standards[scaling].apply(standard, values)
            result.append(volume)
        return result

    def input(self, model: str, standard: str) -> Maps:
        """Return what a model sees (N, S, S), in [0, 1]."""
        wants = self.models[model].card.preprocessing

        def make() -> Maps:
            volumes = self.standardised(wants.intensity, standard)
            pairs = zip(self._geometry(model), volumes, strict=True)
            return np.concatenate([geometry.to_model(np.clip(volume, 0, 1)) for geometry, volume in pairs])

        return self._keep(("input", wants.intensity, wants.spacing, wants.image_size, standard), make)

    def reconstruction(self, model: str, standard: str = "none", mirror: bool = False) -> Maps:
        """Return what a model makes of its input (N, S, S)."""
        detector = self.models[model]
        if mirror:
            detector = replace(detector, card=detector.card.model_copy(update={"mirror_average": True}))
        return self._keep(
            ("made", model, standard, mirror),
            lambda: in_groups(detector.reconstruct, self.input(model, standard)),
        )

    def _gradient(self, model: str, standard: str) -> Maps:
        detector = self.models[model]
        return self._keep(
            ("gradient", model, standard),
            lambda: in_groups(detector.kl_gradient, self.input(model, standard)),
        )

    def _on_canvas(self, scaling: str, standard: str) -> Maps:
        def make() -> Maps:
            volumes = self.standardised(scaling, standard)
            pairs = zip(self.scans.each, volumes, strict=True)
            return np.concatenate([scan.canvas.to_model(volume) for scan, volume in pairs])

        return self._keep(("canvas", scaling, standard), make)

    def _liquid(self) -> NDArray[np.bool_]:
        image = self._on_canvas("volume-percentile", "none")
        return self._keep(("liquid",), lambda: liquid_of(image, self.scans.brain))

    def _tissue_factors(self, model: str, standard: str) -> Maps:
        """Return what brings each slice's tissue to 0.5, one number for all slices of a patient."""
        scaling = self.models[model].card.preprocessing.intensity
        volumes = zip(self.scans.each, self.standardised(scaling, standard), strict=True)
        factors = np.array(
            [TISSUE / tissue_level(volume[scan.brain]) for scan, volume in volumes], np.float32
        )
        return factors[self.scans.owner]

    def _geometry(self, model: str) -> list[SliceGeometry]:
        wants = self.models[model].card.preprocessing
        key = (wants.spacing, wants.image_size)
        if key not in self._geometries:
            self._geometries[key] = [
                SliceGeometry.fit(scan.brain, scan.spacing, wants.spacing, wants.image_size)
                for scan in self.scans.each
            ]
        return self._geometries[key]

    def _to_canvas(self, model: str, values: Maps) -> Maps:
        result = np.zeros((len(values), CANVAS, CANVAS), np.float32)
        for number, (scan, geometry) in enumerate(zip(self.scans.each, self._geometry(model), strict=True)):
            own = self.scans.owner == number
            result[own] = scan.canvas.to_model(geometry.to_patient(values[own]))
        return np.where(self.scans.brain, result, np.float32(0))


def linear(scan: Scan, scaling: IntensityScaling) -> Maps:
    """Return the brain's intensities (n,) as a model's scaling has them, without the clip at 1."""
    inside = np.maximum(scan.volume, 0) * scan.brain
    clipped = scale_intensity(scan.volume, scan.brain, scaling)[scan.brain]
    values = inside[scan.brain]
    middle = int(np.argmin(np.abs(clipped - np.float32(0.5))))
    return np.asarray(values * (clipped[middle] / values[middle]), dtype=np.float32)


def in_groups(compute: Callable[[torch.Tensor], torch.Tensor], images: Maps) -> Maps:
    """Run a network over slices (N, S, S)."""
    parts = [
        compute(torch.from_numpy(images[start : start + GROUP])[:, None])[:, 0].cpu().numpy()
        for start in range(0, len(images), GROUP)
    ]
    return np.concatenate(parts)
