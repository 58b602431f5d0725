"""How slices are prepared for a training: the base model's way, or the design's; and what does not fit is refused."""

import pytest

from napari_cead import zoo
from napari_cead.errors import ParameterError, StoreError
from napari_cead.models import build
from napari_cead.models.specs import DESIGN_NAMES
from napari_cead.store.index import StoreSettings
from napari_cead.store.preprocessing import (
    check_prepared,
    preprocessing_for,
    preprocessing_in,
    store_options,
)
from napari_cead.training import prepare, train
from napari_cead.zoo import ModelCard, Preprocessing, load_card, save_model
from small_stores import AE, SIZE, settings, write_patients


def test_fine_tuning_takes_the_slices_that_the_base_model_knows():
    for name, folder in zoo.find_models().items():
        card = load_card(folder)
        assert preprocessing_for(card.spec.name, card) == card.preprocessing, name
    mine = Preprocessing(sequence="t1_gd", intensity="slice-max", spacing=(1.0, 2.0), image_size=SIZE)
    card = ModelCard(name="mine", spec=AE, preprocessing=mine)
    assert preprocessing_for("ce-unet", card) == mine  # not what the design would have


def test_from_scratch_the_design_decides():
    unet = preprocessing_for("ce-unet")
    assert (unet.intensity, unet.spacing, unet.image_size) == ("volume-tissue", (1.0, 1.0), 192)
    for name in set(DESIGN_NAMES) - {"ce-unet"}:
        found = preprocessing_for(name)
        assert (found.intensity, found.spacing, found.image_size) == ("volume-percentile", (0.94, 0.94), 196)
    assert preprocessing_for(["ae", "dae"]) == preprocessing_for("ae")


def test_the_bundled_ce_unet_and_its_design_agree():
    card = load_card(zoo.find_model("ce-unet"))
    assert store_options(preprocessing_for("ce-unet")) == store_options(card.preprocessing)


def test_designs_that_want_different_slices_share_no_store():
    with pytest.raises(
        ParameterError, match=r"^ae needs slices of .*, ce-unet of 192 pixels of 1 mm .*; train them"
    ):
        preprocessing_for(["ae", "ce-unet"])


def test_what_a_store_holds_is_said_as_on_a_card():
    stored = StoreSettings(sequence="t1_gd", intensity="slice-max", spacing=(1.0, 1.2), image_size=64)
    assert preprocessing_in(stored) == Preprocessing(
        sequence="t1_gd", intensity="slice-max", spacing=(1.0, 1.2), image_size=64
    )


@pytest.mark.parametrize(
    "changes",
    [{"spacing": (0.8, 0.8)}, {"spacing": (1.5, 1.0)}, {"image_size": 196}, {"intensity": "slice-max"}],
)
def test_slices_prepared_otherwise_are_refused_with_the_command_that_helps(changes, tmp_path):
    wanted = preprocessing_for("ce-unet")
    right = StoreSettings(**store_options(wanted))
    check_prepared(right, wanted, "ce-unet", tmp_path)
    check_prepared(right.model_copy(update={"spacing": (0.94, 1.05)}), wanted, "ce-unet", tmp_path)
    with pytest.raises(StoreError) as error:
        check_prepared(right.model_copy(update=changes), wanted, "ce-unet", tmp_path)
    assert error.value.file == str(tmp_path) and "ce-unet was trained on 192 pixels" in str(error.value)
    command = "napari-cead prepare COHORT --out STORE --spacing 1 --image-size 192 --intensity volume-tissue"
    assert error.value.hint.endswith(command)
    healthy = right.model_copy(update={**changes, "assume_healthy": True})
    with pytest.raises(StoreError) as error:
        check_prepared(healthy, wanted, "ce-unet", tmp_path)
    assert error.value.hint.endswith(f"{command} --assume-healthy")


def test_the_engine_refuses_them_before_it_writes(tmp_path):
    folder = save_model(
        build(AE),
        ModelCard(name="mother", spec=AE, preprocessing=Preprocessing(image_size=SIZE, spacing=(2.0, 2.0))),
        tmp_path / "mother",
    )
    store = prepare(
        write_patients(tmp_path / "cohort"), tmp_path / "store", image_size=SIZE, validation=0.3, test=0
    )
    with pytest.raises(StoreError, match="mother was trained on 40 pixels of 2 mm"):
        train(settings(), store, tmp_path / "run", init_from=folder)
    assert not (tmp_path / "run").exists()
