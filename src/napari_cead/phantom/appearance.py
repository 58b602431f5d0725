"""From tissue to scanner: what each MR sequence makes of a brain, its vessels and its lesions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .anatomy import Anatomy
from .fields import Array, smooth_field, stream
from .lesions import Lesion

Range = tuple[float, float]


@dataclass(frozen=True)
class Contrast:
    """How bright things are in a sequence, as a range to draw from, relative to white matter.

    Args:
        grey: Grey matter.
        fluid: Cerebrospinal fluid.
        vessel: Added where a vessel runs.
        core: Viable tumour.
        necrosis: Dead tissue within a tumour.
        oedema: Swollen white matter.
        noise: Standard deviation of the noise.
        level: White matter in scanner units.
        enhanced: Whether contrast agent was given.
        ventricle_caps: Brightening of the white matter beside the ventricles.
    """

    grey: Range
    fluid: Range
    vessel: Range
    core: Range
    necrosis: Range
    oedema: Range
    noise: Range
    level: Range
    enhanced: bool
    ventricle_caps: Range = (0.0, 0.0)


CONTRASTS = {
    "bravo": Contrast(
        grey=(0.66, 0.76),
        fluid=(0.22, 0.32),
        vessel=(0.8, 1.4),
        core=(1.35, 1.9),
        necrosis=(0.4, 0.62),
        oedema=(0.74, 0.88),
        noise=(0.02, 0.035),
        level=(330, 480),
        enhanced=True,
    ),
    "t1_pre": Contrast(
        grey=(0.76, 0.86),
        fluid=(0.34, 0.46),
        vessel=(0.0, 0.05),
        core=(0.72, 0.95),
        necrosis=(0.5, 0.7),
        oedema=(0.78, 0.9),
        noise=(0.022, 0.04),
        level=(330, 520),
        enhanced=False,
    ),
    "t1_gd": Contrast(
        grey=(0.76, 0.88),
        fluid=(0.34, 0.46),
        vessel=(0.9, 1.6),
        core=(1.4, 2.0),
        necrosis=(0.5, 0.75),
        oedema=(0.8, 0.92),
        noise=(0.022, 0.04),
        level=(330, 480),
        enhanced=True,
    ),
    "flair": Contrast(
        grey=(1.1, 1.28),
        fluid=(0.06, 0.16),
        vessel=(0.0, 0.08),
        core=(1.0, 1.9),
        necrosis=(0.85, 1.9),
        oedema=(1.3, 1.75),
        noise=(0.035, 0.07),
        level=(260, 400),
        enhanced=False,
        ventricle_caps=(0.08, 0.4),
    ),
}
"""The sequences of BrainMetShare: T1 gradient echo post, T1 spin echo pre and post, T2-FLAIR."""


VARIED = {name: replace(contrast, noise=(0.008, 0.05)) for name, contrast in CONTRASTS.items()} | {
    "flair": replace(
        CONTRASTS["flair"],
        grey=(1.0, 1.38),
        fluid=(0.05, 0.45),
        vessel=(0.0, 0.12),
        noise=(0.008, 0.05),
        ventricle_caps=(0.0, 0.45),
    )
}
"""The same over more scanners than one study has: for training, so that nothing but lesions is unusual."""


@dataclass(frozen=True)
class _Traits:
    """A lesion's own character, each in [0, 1]: where in a sequence's range its parts lie."""

    uptake: float
    cells: float
    fluid: float
    swelling: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Traits:
        uptake, cells, fluid, swelling = (float(value) for value in rng.uniform(0, 1, 4))
        return cls(uptake, cells, fluid, swelling)


def render(
    seed: int, number: int, anatomy: Anatomy, lesions: list[Lesion], *, varied: bool = False
) -> dict[str, Array]:
    """Return the four sequences within the anatomy's box, in scanner units; 0 outside the brain only."""
    vessels = _vessels(seed, number, anatomy)
    body = stream(seed, number, "body")
    shared = 0.06 * smooth_field(body, anatomy.axes, 70.0)
    traits = [_Traits.draw(stream(seed, number, f"traits {n}")) for n in range(len(lesions))]
    return {
        name: _render(stream(seed, number, name), contrast, anatomy, lesions, traits, vessels, shared)
        for name, contrast in (VARIED if varied else CONTRASTS).items()
    }


def _render(
    rng: np.random.Generator,
    contrast: Contrast,
    anatomy: Anatomy,
    lesions: list[Lesion],
    traits: list[_Traits],
    vessels: Array,
    shared_bias: Array,
) -> Array:
    """Return one sequence."""
    brain, axes = anatomy.brain, anatomy.axes
    grey, fluid, vessel = (rng.uniform(*part) for part in (contrast.grey, contrast.fluid, contrast.vessel))
    caps = rng.uniform(*contrast.ventricle_caps)
    # Tissue is never uniform: myelin and iron vary over millimetres and over centimetres.
    texture = 1 + np.float32(0.022) * smooth_field(rng, axes, 6.0)[brain]
    texture += np.float32(0.022) * smooth_field(rng, axes, 2.6)[brain]
    texture += np.float32(0.03) * smooth_field(rng, axes, 22.0)[brain]
    cap_pattern = np.clip(0.6 + 0.5 * smooth_field(rng, axes, 9.0)[brain], 0, 1.6)
    signal = anatomy.white * (1 + np.float32(caps) * cap_pattern * np.clip(anatomy.ventricles * 3.5, 0, 1))
    # Iron and myelin pull the deep nuclei towards white matter, above all on FLAIR.
    signal += (np.float32(grey) + np.float32(0.6 * (1 - grey)) * anatomy.deep) * anatomy.grey
    signal *= texture
    signal += np.float32(fluid) * anatomy.fluid
    signal += np.float32(vessel) * vessels
    image = anatomy.fill(signal)
    for lesion, character in zip(lesions, traits, strict=True):
        _paint(image, lesion, contrast, character)

    image = _point_spread(image, rng.uniform(0.3, 0.55))
    image *= np.exp(shared_bias + np.float32(0.035) * smooth_field(rng, axes, 60.0))
    sigma = rng.uniform(*contrast.noise)
    real, imaginary = (
        np.float32(sigma) * rng.standard_normal(brain.shape, dtype=np.float32) for _ in range(2)
    )
    # Magnitude images: the noise of fluid is Rician and lifts it off zero. Scanners interpolate a little.
    real, imaginary = (_in_plane(part, 0.42) * np.float32(1.2) for part in (real, imaginary))
    image = np.hypot(image + real, imaginary)
    image *= np.float32(rng.uniform(*contrast.level))
    np.clip(np.rint(image, out=image), 1, 2**15 - 1, out=image)
    image[~brain] = 0
    return np.asarray(image, dtype=np.float32)


def _paint(image: Array, lesion: Lesion, contrast: Contrast, traits: _Traits) -> None:
    """Draw one lesion into ``image`` in place."""

    def between(limits: Range, share: float) -> np.float32:
        return np.float32(limits[0] + share * (limits[1] - limits[0]))

    view = image[lesion.box]
    view += lesion.oedema * (between(contrast.oedema, traits.swelling) - view)
    viable = between(contrast.core, traits.uptake if contrast.enhanced else traits.cells)
    dead = between(contrast.necrosis, traits.fluid)
    view += lesion.core * (viable + lesion.necrosis * (dead - viable) - view)


def _in_plane(volume: Array, sigma: float) -> Array:
    """Blur every slice; sigma in voxels."""
    return np.stack([cv2.GaussianBlur(plane, (5, 5), sigma) for plane in volume])


def _point_spread(volume: Array, sigma: float) -> Array:
    """Blur by about a voxel in all directions: partial volume."""
    side = np.float32(0.07)
    blurred = _in_plane(volume, sigma)
    result: Array = (1 - 2 * side) * blurred
    result[1:] += side * blurred[:-1]
    result[:-1] += side * blurred[1:]
    return result


def _vessels(seed: int, number: int, anatomy: Anatomy) -> Array:
    """Return where contrast agent fills vessels, sinuses and choroid plexus, flat, in [0, 1]."""
    rng = stream(seed, number, "vessels")
    axes, brain = anatomy.axes, anatomy.brain
    z, y, x = anatomy.place
    # Where two smooth fields are both zero runs a curve: a vessel tree for the price of two fields.
    first, second = (smooth_field(rng, axes, 11.0)[brain] for _ in range(2))
    curves = np.exp(-(first**2 + second**2) * np.float32(45.0))
    curves *= np.clip(anatomy.fluid * 2.5, 0, 1) + np.float32(0.06) * anatomy.grey
    # Superior sagittal sinus on the midline at the surface, straight sinus below it, choroid plexus.
    midline = np.exp(-((x / np.float32(1.6)) ** 2))
    sagittal = midline * np.clip(2 * (np.float32(0.85) - anatomy.rim), 0, 1) * (z > -10)
    straight = np.exp(-((x / 1.5) ** 2 + ((z - (2 - 0.35 * (y - 40))) / 1.8) ** 2)) * ((y > 38) & (y < 78))
    plexus = np.exp(-(((np.abs(x) - 20) / 5) ** 2 + ((y - 36) / 6) ** 2 + ((z - 8) / 5) ** 2))
    plexus = plexus * np.clip(anatomy.fluid * 1.5, 0, 1) * np.clip(0.4 + 0.5 * first, 0, 1)
    result: Array = np.clip(curves + sagittal + straight + plexus, 0, 1).astype(np.float32)
    return result
