"""What a card keeps of the scans that its model was trained on."""

import json

import numpy as np
import pytest

from napari_cead.models import build
from napari_cead.slices import slice_marks
from napari_cead.zoo import ModelCard, Parent, Preprocessing, load_card, private_card, recognising, save_model
from napari_cead.zoo.recognising import recognised, was_trained_on
from scans import make_brain
from small_stores import AE, SIZE


@pytest.fixture(scope="module")
def scans():
    return [slice_marks(make_brain((8, 60, 56), seed=seed)[0]) for seed in range(5)]


def card_of(*trainings, parents=()):
    return ModelCard(
        name="x",
        spec=AE,
        preprocessing=Preprocessing(image_size=SIZE),
        trained_on=trainings,
        parents=tuple(Parent(name=name, sha256="0" * 64) for name in parents),
    )


def test_a_scan_and_each_of_its_slices_are_recognised_and_no_other_is(scans):
    card = card_of(recognised(scans[:3]))
    assert [was_trained_on(card, scan) for scan in scans] == [True] * 3 + [False] * 2
    assert all(was_trained_on(card, (mark,)) for mark in scans[0] if mark)


def test_nothing_is_claimed_where_the_card_does_not_tell(scans):
    assert was_trained_on(card_of(), scans[0]) is None
    assert (
        was_trained_on(card_of(recognised(scans[:1])), ("", "")) is None
    )  # shows too little to be known again
    # The parent's scans are not known: what is recognised is certain, what is not may still have been one of them.
    tuned = card_of(recognised(scans[:1]), parents=["base"])
    assert (was_trained_on(tuned, scans[0]), was_trained_on(tuned, scans[4])) == (True, None)
    whole = card_of(recognised(scans[:1]), recognised(scans[1:2]), parents=["base"])
    assert [was_trained_on(whole, scan) for scan in scans[:3]] == [True, True, False]


def test_two_models_of_the_same_scans_do_not_show_that_they_are(scans):
    first, second = recognised(scans), recognised(scans)
    pieces = [
        {patient[start : start + 8] for patient in each.patients for start in range(0, len(patient), 8)}
        for each in (first, second)
    ]
    assert first.key != second.key and not pieces[0] & pieces[1]
    assert len(pieces[0]) == len({mark for scan in scans for mark in scan if mark})


def test_the_order_of_patients_and_slices_is_not_told(scans, monkeypatch):
    monkeypatch.setattr(recognising.secrets, "token_bytes", lambda count: b"k" * count)
    turned = [tuple(reversed(scan)) for scan in reversed(scans)]
    assert recognised(scans) == recognised(turned)


def test_a_card_of_very_many_scans_stays_small_and_still_knows_each(scans, monkeypatch):
    monkeypatch.setattr(recognising, "LARGEST", 10)
    kept = recognised(scans)
    assert sum(map(len, kept.patients)) <= 8 * (10 + len(scans))
    assert all(was_trained_on(card_of(kept), scan) for scan in scans)


def test_a_card_keeps_the_marks_on_disk_and_in_an_export_and_is_as_before_without(scans, tmp_path):
    card = card_of(recognised(scans))
    saved = load_card(save_model(build(AE), card, tmp_path / "model"))
    assert saved.trained_on == card.trained_on == private_card(saved).trained_on
    plain = save_model(build(AE), card_of(), tmp_path / "plain")
    assert "trained_on" not in json.loads((plain / "model.json").read_text())


def test_no_number_of_a_scan_can_be_read_from_a_card(scans):
    """The marks are hashes: evenly spread bits, whatever the scans look like."""
    many = recognised([slice_marks(make_brain((8, 60, 56), seed=seed)[0]) for seed in range(40)])
    from base64 import urlsafe_b64decode

    data = np.frombuffer(urlsafe_b64decode("".join(many.patients)), np.uint8)
    assert abs(np.unpackbits(data).mean() - 0.5) < 0.03
