"""From trained models to their ensemble, a model like any other."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from ..errors import ModelError, ParameterError
from ..json_files import first_wrong
from ..models import build
from ..models.networks import NETWORKS
from ..models.specs import ModelSpec
from ..progress import Progress, Stop
from ..store.preprocessing import check_prepared
from ..store.store import SliceStore
from ..zoo import CARD_FILE, ModelCard, Parent, check_name, find_model, load_card, load_model
from ..zoo.card import Recognised
from .finishing import calibrated
from .rules import quantile_of

FEWEST = 2
"""Fewest members of an ensemble."""


def make_ensemble(
    models: Sequence[str | Path],
    store: SliceStore | str | Path,
    folder: str | Path,
    name: str,
    *,
    device: str = "auto",
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> Path:
    """Write the model folder of an ensemble: the median of its members' anomaly maps, with settings chosen for it.

    It holds the members' weights, so that it does not depend on them. Their statistics, scales and tables do not
    count: it has its own (:func:`~napari_cead.calibration.calibration.calibrate`), under which each member gives a map.

    Args:
        models: Names or folders of the members.
        store: Store whose validation slices choose the suggested settings.
        folder: Where to write it; an existing model folder is replaced.
        name: Name of the ensemble.
        device: See :func:`~napari_cead.devices.pick_device`.
        on_progress: Called with (steps done, total steps) of the calibration.
        should_stop: Called between the steps.

    Returns:
        The model folder.

    Raises:
        ParameterError: If there are fewer than two members, or the name cannot be a model's.
        ModelError: If a member cannot be used, or the members do not belong together.
        StoreError: If the store is damaged, or was prepared differently from the members' slices.
        OutputError: If the model cannot be written.
        Cancelled: If ``should_stop`` returned true.
    """
    check_name(name)
    if len(models) < FEWEST:
        raise ParameterError("an ensemble has at least two members", hint="name two or more models")
    slices = store if isinstance(store, SliceStore) else SliceStore.open(store)
    cards = [load_card(find_model(model)) for model in models]
    for model, card in zip(models, cards, strict=True):
        for what in ("preprocessing", "mirror_average"):
            if getattr(card, what) != getattr(cards[0], what):
                raise ModelError(
                    f"its {what.replace('_', ' ')} is not that of {cards[0].name}",
                    file=model,
                    hint="choose members that were trained on the same kind of slices",
                )
    first = cards[0]
    check_prepared(slices.settings, first.preprocessing, first.name, slices.path)
    network = build(_spec(cards))
    for member, model in zip(network.members, models, strict=True):  # type: ignore[arg-type]
        member.load_state_dict(load_model(model, "cpu").module.state_dict())
    # The ensemble itself was trained on nothing; what its members were trained on is theirs.
    own = Recognised(key=secrets.token_hex(16), patients=())
    parents = tuple(
        parent for card in cards for parent in (Parent(name=card.name, sha256=card.sha256), *card.parents)
    )
    whole = ModelCard(
        name=name,
        spec=network.spec,
        description=f"Ensemble of {len(cards)} models, the median of their anomaly maps: {first.description}",
        preprocessing=first.preprocessing,
        training={
            "patients": len(slices.patients_of("train")),
            "slices": len(slices.healthy_rows("train")),
            "validation_patients": len(slices.patients_of("validation")),
            "validation_slices": len(slices.healthy_rows("validation")),
            "data_fingerprint": slices.fingerprint,
        },
        parents=parents,
        trained_on=(own, *(scans for card in cards for scans in card.trained_on)),
        mirror_average=first.mirror_average,
    )
    return calibrated(
        network,
        whole,
        Path(folder),
        slices,
        slices,
        half=all(card.dtype == "float16" for card in cards),
        start=first.suggestions if first.parents else (),
        quantile=quantile_of(first),
        device=device,
        on_progress=on_progress,
        should_stop=should_stop,
    )


def is_ensemble_of(folder: Path, models: Sequence[Path], store: SliceStore) -> bool:
    """Whether a folder holds the finished ensemble of these models for this store."""
    if not (folder / CARD_FILE).is_file():
        return False
    try:
        card, members = load_card(folder), [load_card(model) for model in models]
    except ModelError:
        return False
    parents = {parent.sha256 for parent in card.parents}
    return (
        "calibration" in card.training
        and card.training.get("data_fingerprint") == store.fingerprint
        and card.spec.voices == len(members)
        and all(member.sha256 in parents for member in members)
    )


def _spec(cards: Sequence[ModelCard]) -> ModelSpec:
    """Return the spec of an ensemble.

    Raises:
        ModelError: If the members do not belong together.
    """
    family = NETWORKS.find("denoiser-ensemble" if cards[0].spec.denoising else "ensemble")
    try:
        return ModelSpec(**family.spec_of(tuple(card.spec for card in cards)))  # type: ignore[attr-defined]
    except ValidationError as error:
        raise ModelError(
            f"these models cannot form an ensemble ({first_wrong(error, 'spec')})",
            hint="choose other members",
        ) from None
