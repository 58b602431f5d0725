"""The measurements of `why_residuals` over patients: what is prepared once, and what is tallied for each model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import residual_causes as causes
from napari_cead.detection import Reconstruction
from napari_cead.patients import Patient
from residual_causes import Counts, Image, Mask

LEAST_BRAIN, LEAST_LESION = 500, 50
"""Pixels of brain of a slice that is measured, and of lesion for its contrast."""

MARGIN = 4
"""Pixels around the brain that are kept."""

SMOOTHING_MM = 2.0
"""Sigma of the smoothed residual, as of the program's score of that name."""

PLAIN = "as_it_is"
OWN_SCALE_TOP = 40.0
"""Residuals over their mean that are told apart."""

LEAST_DICE = 0.3
"""Best Dice of a patient whose best threshold is looked at."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A slice of a patient as a model sees it, on the patient's grid, and what is marked in it.

    Attributes:
        z: Its index.
        box: Where its brain lies.
        image: (Y, X) in [0, 1].
        brain: (Y, X).
        lesion: (Y, X).
        pixel: Side of a pixel in mm.
        rim: Near the brain's rim.
        liquid: Near an edge of liquid.
        bright: The brightest tenth of the patient's healthy brain.
        gradient: Of the image.
        detail: What a Gaussian of `causes.DETAIL_MM` takes away.
    """

    z: int
    box: tuple[slice, slice]
    image: Image
    brain: Mask
    lesion: Mask
    pixel: float
    rim: Mask | None = None
    liquid: Mask | None = None
    bright: Mask | None = None
    gradient: Image | None = None
    detail: Image | None = None

    def bare(self) -> Prepared:
        """The same without what can be made again."""
        return replace(self, rim=None, liquid=None, bright=None, gradient=None, detail=None)


def prepare(patient: Patient, made: Reconstruction, apart: int = 1) -> tuple[Prepared, ...]:
    """The slices of a patient that hold enough brain, or every so many of them.

    The image goes to the model's grid and back like the reconstruction, so that resampling is no residual.
    """
    brain, lesions = made.stack.brain, patient.lesion_mask
    assert lesions is not None
    images = made.stack.geometry.to_patient(made.stack.images)
    healthy = images[brain & ~lesions]
    median, brightest = float(np.median(healthy)), float(np.percentile(healthy, 90))
    pixel = float(np.sqrt(patient.spacing[1] * patient.spacing[2]))
    slices = []
    for z in np.flatnonzero(brain.sum(axis=(1, 2)) >= LEAST_BRAIN)[::apart]:
        box = tuple(
            slice(max(0, int(where[0]) - MARGIN), int(where[-1]) + 1 + MARGIN)
            for where in (np.flatnonzero(brain[z].any(axis=axis)) for axis in (1, 0))
        )
        image, inside = np.ascontiguousarray(images[z][box]), brain[z][box]
        rim, liquid = causes.edges(image, inside, median)
        slices.append(
            Prepared(
                z=int(z),
                box=box,
                image=image,
                brain=inside,
                lesion=lesions[z][box] & inside,
                pixel=pixel,
                rim=rim,
                liquid=liquid,
                bright=inside & ~lesions[z][box] & (image > brightest),
                gradient=causes.gradient(image),
                detail=causes.detail(image, inside, causes.DETAIL_MM / pixel),
            )
        )
    return tuple(slices)


@dataclass
class Tally:
    """What is summed up and collected for one model over all patients."""

    sums: dict[str, float] = field(default_factory=dict)
    shares: dict[str, list[float]] = field(default_factory=dict)
    counts: dict[str, list[tuple[Any, Any]]] = field(default_factory=dict)
    kept: list[float] = field(default_factory=list)
    lesion_sizes: list[int] = field(default_factory=list)

    def add(self, prepared: tuple[Prepared, ...], made: Reconstruction) -> None:
        """Measure a patient."""
        volume = made.stack.geometry.to_patient(made.slices)
        both = [(one, np.ascontiguousarray(volume[one.z][one.box])) for one in prepared]
        mean = self._mean_residual(both)
        self._collect("mean_residual", mean)
        histograms: dict[str, Counts] = {}

        def count(name: str, scores: Image, where: Mask, top: float = 1.0) -> None:
            histograms[name] = histograms.get(name, 0) + causes.histogram(scores, where, top)

        for one, reconstruction in both:
            signed = one.image - reconstruction
            residual = np.abs(signed)
            healthy = one.brain & ~one.lesion
            near = one.rim | one.liquid
            self._edges(one, residual, healthy)
            self._bright(one, signed, healthy)
            slope = self._blur(one, signed, healthy)
            registered = self._registration(one, reconstruction, healthy)
            if one.lesion.sum() >= LEAST_LESION and healthy.any():
                kept = causes.kept_contrast(one.image, reconstruction, one.lesion, healthy)
                if kept is not None:
                    self.kept.append(kept)
            count("lesion", residual, one.lesion)
            for name, marked in (("edge", near), ("bright", one.bright)):
                count(name, residual, healthy & marked)
                count(f"not {name}", residual, healthy & ~marked)
            sharp = np.abs(signed - slope * one.detail)
            count("sharp", sharp, healthy)
            count("sharp not edge", sharp, healthy & ~near)
            count("registered", np.abs(registered), healthy)
            filled = causes.without_lesion(
                reconstruction, one.lesion, healthy, causes.SURROUNDINGS_MM / one.pixel
            )
            count("lesion taken out", np.abs(one.image - filled), one.lesion)
            sigma = SMOOTHING_MM / one.pixel
            for name, scores, top in (
                ("positive_residual", np.maximum(signed, 0), 1.0),
                ("residual_smoothed", np.abs(causes.smoothed(signed, one.brain, sigma)), 1.0),
                ("own_scale", residual / np.float32(max(mean, 1e-6)), OWN_SCALE_TOP),
            ):
                count(f"{name} lesion", scores, one.lesion, top)
                count(f"{name} healthy", scores, healthy, top)
        self._keep(histograms)

    def lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The figures, by what is measured."""
        sums, area = self.sums, self.sums["area"]
        yield (
            "edges",
            {
                "rim_share_of_residual": sums["rim"] / sums["all"],
                "rim_share_of_area": sums["rim area"] / area,
                "liquid_edges_share_of_residual": sums["liquid"] / sums["all"],
                "liquid_edges_share_of_area": sums["liquid area"] / area,
                "correlation_with_gradient": self._mean("gradient"),
            },
        )
        yield (
            "misregistration",
            {
                "explained_by_translation": self._mean("translation"),
                "explained_by_smooth_displacement": self._mean("smooth"),
                "median_translation_px": float(np.median(self.shares["translation px"])),
                "control_residual_upside_down": self._mean("control"),
            },
        )
        yield "blur", {"share_of_variance_that_is_detail": self._mean("detail"), "slope": self._mean("slope")}
        yield (
            "bright normal tissue",
            {"share_of_positive_residual_in_brightest_tenth": sums["bright"] / sums["positive"]},
        )
        yield "scale", self._scale()
        quartiles = np.percentile(self.kept, [25, 50, 75]).tolist() if self.kept else [float("nan")] * 3
        yield "lesions reconstructed", {"quartiles_of_contrast_kept": quartiles, "slices": len(self.kept)}
        yield "costs", self._costs()

    def _mean_residual(self, both: list[tuple[Prepared, Image]]) -> float:
        """Mean over the brain, lesions and all: what a detector could know."""
        total = sum(float(np.abs(one.image - other)[one.brain].sum()) for one, other in both)
        return total / max(1, sum(int(one.brain.sum()) for one, _ in both))

    def _add(self, name: str, value: float) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value

    def _collect(self, name: str, value: float) -> None:
        if np.isfinite(value):
            self.shares.setdefault(name, []).append(value)

    def _mean(self, name: str) -> float:
        return float(np.mean(self.shares.get(name, [float("nan")])))

    def _edges(self, one: Prepared, residual: Image, healthy: Mask) -> None:
        self._add("all", float(residual[healthy].sum()))
        self._add("area", int(healthy.sum()))
        for name, marked in (("rim", one.rim), ("liquid", one.liquid)):
            self._add(name, float(residual[healthy & marked].sum()))
            self._add(f"{name} area", int((healthy & marked).sum()))
        self._collect("gradient", float(np.corrcoef(residual[healthy], one.gradient[healthy])[0, 1]))

    def _bright(self, one: Prepared, signed: Image, healthy: Mask) -> None:
        positive = np.maximum(signed, 0)
        self._add("positive", float(positive[healthy].sum()))
        self._add("bright", float(positive[one.bright].sum()))

    def _blur(self, one: Prepared, signed: Image, healthy: Mask) -> float:
        slope, share = causes.explained_by(signed, one.detail, healthy)
        self._collect("detail", share)
        self._collect("slope", slope)
        return slope

    def _registration(self, one: Prepared, reconstruction: Image, healthy: Mask) -> Image:
        """Return what is left of the signed residual after a smooth displacement."""
        signed = one.image - reconstruction
        whole = causes.displacement(one.image, reconstruction, healthy)
        smooth = causes.displacement(one.image, reconstruction, healthy, causes.WINDOW)
        left = one.image - causes.moved(reconstruction, smooth)
        self._collect("translation px", float(np.hypot(*whole[:, 0, 0])))
        self._collect(
            "translation",
            causes.share_explained(signed, one.image - causes.moved(reconstruction, whole), healthy),
        )
        self._collect("smooth", causes.share_explained(signed, left, healthy))
        # The same residual upside down is at no edge: what a displacement explains of it by being flexible.
        turned = np.where(one.brain & one.brain[::-1], signed[::-1], 0)
        control = reconstruction + turned
        field = causes.displacement(control, reconstruction, healthy, causes.WINDOW)
        self._collect(
            "control",
            causes.share_explained(turned, control - causes.moved(reconstruction, field), healthy),
        )
        return left

    def _keep(self, of: dict[str, Counts]) -> None:
        """Keep a patient's histograms (lesion, healthy) of each map."""
        healthy, lesion = of["edge"] + of["not edge"], of["lesion"]
        edges = of["not edge"] + causes.like_the_rest(of["edge"], of["not edge"])
        pairs = {
            PLAIN: (lesion, healthy),
            "edges_like_the_rest": (lesion, edges),
            "bright_like_the_rest": (
                lesion,
                of["not bright"] + causes.like_the_rest(of["bright"], of["not bright"]),
            ),
            "without_local_detail": (lesion, of["sharp"]),
            "registered": (lesion, of["registered"]),
            "lesions_taken_out": (of["lesion taken out"], healthy),
            "without_detail_edges_and_lesions": (
                of["lesion taken out"],
                of["sharp not edge"] + causes.like_the_rest(of["edge"], of["sharp not edge"]),
            ),
        }
        for name in ("positive_residual", "residual_smoothed", "own_scale"):
            pairs[name] = of[f"{name} lesion"], of[f"{name} healthy"]
        for name, pair in pairs.items():
            self.counts.setdefault(name, []).append(pair)
        self.lesion_sizes.append(int(lesion.sum()))

    def _scale(self) -> dict[str, Any]:
        common, own = self._pooled(PLAIN).threshold, self._own()
        at_common = [
            float(causes.dice_curve(*pair)[common])
            for pair, size in zip(self.counts[PLAIN], self.lesion_sizes, strict=True)
            if size >= LEAST_LESION
        ]
        # Where the residual finds nothing, the best threshold marks the brain, and says nothing about scale.
        found = [one.threshold / causes.BINS for one in own if one.dice >= LEAST_DICE] or [float("nan")]
        return {
            "coefficient_of_variation_of_mean_residual": causes.variation(self.shares["mean_residual"]),
            "common_threshold": common / causes.BINS,
            "own_threshold_percentiles_10_25_50_75_90": np.percentile(found, [10, 25, 50, 75, 90]).tolist(),
            "patients_with_own_dice_above_least": sum(one.dice >= LEAST_DICE for one in own),
            "dice_patient_common_threshold": float(np.mean(at_common)),
            "dice_patient_own_thresholds": float(np.mean([one.dice for one in own])),
            "patients_with_enough_lesion": len(own),
        }

    def _pooled(self, name: str) -> causes.Best:
        lesion, healthy = (np.sum(side, axis=0) for side in zip(*self.counts[name], strict=True))
        return causes.best_dice(lesion, healthy)

    def _own(self) -> list[causes.Best]:
        """The best of every patient that has enough lesion to say so."""
        return [
            causes.best_dice(*pair)
            for pair, size in zip(self.counts[PLAIN], self.lesion_sizes, strict=True)
            if size >= LEAST_LESION
        ]

    def _costs(self) -> dict[str, Any]:
        dice = {name: self._pooled(name).dice for name in self.counts}
        dice["own_thresholds"] = causes.dice_of_own_thresholds(self.counts[PLAIN])
        ranked = sorted(dice.items(), key=lambda item: -item[1])
        return {"dice_pooled_oracle": {PLAIN: dice[PLAIN], **dict(ranked)}}
