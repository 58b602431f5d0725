"""What a card tells of people, places and machines, and what of it is exported."""

import getpass
import platform
import socket
import struct
from typing import Annotated
from zipfile import ZipFile

import pytest

from model_folders import CARD, WEIGHTS, card, network, save
from napari_cead import zoo
from napari_cead.calibration.finishing import finish, install
from napari_cead.corruption.mixtures import PAPER, SCANNERS, CoarseNoise
from napari_cead.detection.provenance import versions
from napari_cead.models.specs import ModelSpec, spec
from napari_cead.runs.training_settings import TrainingSettings
from napari_cead.training import prepare, train
from napari_cead.zoo.privacy import ANOTHER, mentions_text, models_in, summary_parts
from napari_cead.zoo.summary import PUBLIC, Versions, privacy_of
from small_stores import SIZE, settings, write_patients

PATIENTS = ("Mueller_Hans_1961", "Okafor_Ada_1970", "PID0815", "Garcia_Ines")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("home-of-dr-house")


@pytest.fixture(scope="module")
def run(place):
    """The model of a run, fine-tuned twice over on scans whose names and places must not get out."""
    cohort = write_patients(place / "Klinik-Nord" / "radiology-archive")
    for folder, name in zip(sorted(cohort.iterdir()), PATIENTS, strict=True):
        folder.rename(cohort / name)
    store = prepare(cohort, place / "Klinik-Nord" / "store", image_size=SIZE, validation=0.5, test=0)
    parent = None
    for name in ("dr-house-first-try", "result"):
        parent = finish(train(settings(epochs=1), store, place / "Klinik-Nord" / name, init_from=parent).run)
    return parent


@pytest.fixture
def fine_tuned(run, home):
    """The same, installed, with notes."""
    install(run)
    zoo.note_model("result", "without Mrs Okafor, scanner in room 12")
    return home / "result"


def secrets(place):
    found = {*PATIENTS, "Okafor", "Klinik-Nord", "radiology-archive", "dr-house", "room 12", place.name}
    machine = {socket.gethostname(), getpass.getuser(), platform.platform(), platform.release()}
    # A short name ("root") may be part of a word that is on every card.
    return found | {name for name in machine if len(name) >= 6}


def texts(folder):
    """Everything in a model folder that is not weights."""
    weights = (folder / WEIGHTS).read_bytes()
    (length,) = struct.unpack("<Q", weights[:8])
    others = sorted(path for path in folder.iterdir() if path.name != WEIGHTS)
    assert [path.name for path in others] in ([CARD], ["README.md", "config.json"])
    return "".join(path.read_text("utf-8") for path in others) + weights[8 : 8 + length].decode()


def test_nothing_of_a_real_run_gets_out_unasked(fine_tuned, place, tmp_path):
    whole = texts(fine_tuned)
    assert "Okafor" in whole and "dr-house" in whole and platform.platform() in whole  # there is what to hide
    folder = zoo.export_model("result", tmp_path / "out")
    packed = zoo.export_model("result", tmp_path / "out.zip")
    with ZipFile(packed) as opened:
        names = opened.namelist()
        content = [opened.read(f"result/{name}").decode() for name in ("config.json", "README.md")]
        assert opened.comment == b"" and all(not entry.extra for entry in opened.infolist())
    assert names == ["result/config.json", "result/README.md", f"result/{WEIGHTS}"]
    assert content == [(folder / name).read_text("utf-8") for name in ("config.json", "README.md")]
    found = texts(folder)
    for secret in (*secrets(place), "\\"):
        assert secret not in found, secret
    assert "/" not in content[0]
    # What is left is the whole model.
    exported, card = zoo.check_model(folder), zoo.load_card(fine_tuned)
    assert (exported.sha256, exported.suggestions, exported.spec) == (
        card.sha256,
        card.suggestions,
        card.spec,
    )
    assert [(parent.name, parent.sha256) for parent in exported.parents] == [
        (ANOTHER, card.parents[0].sha256)
    ]
    # Of the training, the platform alone is missing: a new setting or figure has to be judged before it goes out.
    assert set(zoo.withheld(card)) == {"notes", "the name dr-house-first-try", "versions.platform"}
    assert exported.training == {
        **card.training,
        "versions": {key: value for key, value in card.training["versions"].items() if key != "platform"},
    }
    assert zoo.withheld(exported) == ()


def test_all_of_it_gets_out_if_asked_for(fine_tuned, tmp_path):
    folder = zoo.export_model("result", tmp_path / "out", private=False)
    assert zoo.check_model(folder) == zoo.load_card(fine_tuned)


def test_what_others_wrote_into_the_summary_does_not_get_out(tmp_path):
    summary = {
        "seed": 3,
        "patients": ["Mueller_Hans", "/data/x"],
        "data": "/home/hans/scans",
        "host": "node7",
        "schedule": "as Hans said on Monday",
        "curve": {"train_loss": [1.0, 0.5], "Mueller_Hans": [0.1]},
        "precision": "bf16",
    }
    folder = zoo.save_model(network(), card("mine", training=summary), tmp_path / "mine")
    exported = zoo.load_card(zoo.export_model(folder, tmp_path / "out"))
    assert exported.training == {"seed": 3, "curve": {"train_loss": [1.0, 0.5]}, "precision": "bf16"}
    assert set(zoo.withheld(zoo.load_card(folder))) == {
        "patients",
        "data",
        "host",
        "schedule",
        "curve.Mueller_Hans",
    }


def test_the_names_of_bundled_parents_stay(tmp_path, bundled):
    save(bundled / "given")
    parents = (zoo.Parent(name="given", sha256="a" * 64), zoo.Parent(name="hans", sha256="b" * 64))
    private = zoo.private_card(card("mine", parents=parents))
    assert [parent.name for parent in private.parents] == ["given", ANOTHER]
    assert [parent.sha256 for parent in private.parents] == ["a" * 64, "b" * 64]


def test_bundled_models_are_exported_as_they_are(monkeypatch):
    from napari_cead.resources import bundled_models, sample_data

    monkeypatch.setattr("napari_cead.zoo.finding.bundled_models", bundled_models)  # one may name another
    for file in sample_data().glob(f"models/*/{CARD}"):
        assert zoo.withheld(zoo.load_card(file.parent)) == ()


def test_every_field_of_a_card_says_whether_it_is_private():
    unmarked = [name for name, field in zoo.ModelCard.model_fields.items() if privacy_of(field) is None]
    assert unmarked == [], "mark it PUBLIC or PRIVATE: an export leaves it out"


def test_every_text_in_the_summary_of_a_training_says_whether_it_is_private():
    seen, todo = set(), list(summary_parts())
    while todo:
        kind = todo.pop()
        if kind is ModelSpec or kind in seen:  # the spec stands on the card itself
            continue
        seen.add(kind)
        for name, field in kind.model_fields.items():
            todo += models_in(field.annotation)
            if mentions_text(field.annotation):
                assert privacy_of(field) is not None, f"{kind.__name__}.{name}: mark it PUBLIC or PRIVATE"
    assert {"Augmentation", "Mixture", "SimulatedLesions", "Versions"} <= {kind.__name__ for kind in seen}


def test_versions_name_every_package_that_is_written_down():
    assert {field.alias or name for name, field in Versions.model_fields.items()} == set(versions())


def test_a_field_without_a_mark_stays_at_home(monkeypatch):
    class Wider(zoo.ModelCard):
        scanner: str = ""
        room: Annotated[str, PUBLIC] = ""

    monkeypatch.setattr("napari_cead.zoo.privacy.ModelCard", Wider)
    plain = card("mine")
    wide = Wider(**{name: getattr(plain, name) for name in zoo.ModelCard.model_fields}, scanner="X", room="Y")
    private = zoo.private_card(wide)
    assert (private.scanner, private.room) == ("", "Y")
    assert zoo.withheld(wide) == ("scanner",)


def test_settings_of_every_corruption_get_out(tmp_path):
    for corruption in (SCANNERS, PAPER, CoarseNoise()):
        training = TrainingSettings(spec=spec("ce-unet"), corruption=corruption).model_dump(
            mode="json", exclude={"spec"}
        )
        assert zoo.private_card(card("mine", training=training)).training == training
