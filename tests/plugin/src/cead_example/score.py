"""An anomaly score with an ingredient of its own: how much a repair changes if the slice is mirrored first."""

from napari_cead.detection.scores import RECONSTRUCTION, Evidence, Ingredient, Score


def wobble(detector, batch):
    """Return how much the repair of each slice (N, 1, S, S) differs from the mirrored repair of its mirror image."""
    return (detector.reconstruct(batch) - detector.reconstruct(batch.flip(-1)).flip(-1)).abs()


WOBBLE = Ingredient(
    name="example-wobble",
    what="the change of a mirrored repair",
    models="models",
    lacking="a network, which {model} is not",
    had_by=lambda card: True,
    compute=wobble,
)


def unsteady(of: Evidence):
    """Return the residual, and more of it where the network is not sure."""
    return abs(of.image - of.reconstruction) + of.ingredients[WOBBLE.name]


UNSTEADY = Score(
    name="example-unsteady",
    description="residual, and how much the repair changes if the slice is mirrored first",
    compute=unsteady,
    ingredients=(RECONSTRUCTION, WOBBLE),
)
