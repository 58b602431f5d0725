"""Training through the public function, on a small store."""

import csv
import errno
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from napari_cead.corruption.mixtures import SCANNERS, CoarseNoise, Mixture, Share, SimulatedLesions
from napari_cead.errors import Cancelled, ModelError, OutputError, ParameterError, RunError, StoreError
from napari_cead.models import build
from napari_cead.store.prepare import prepare
from napari_cead.training import Hardware, RunFolder, train, updating
from napari_cead.training.network import initial_network
from napari_cead.zoo import ModelCard, Preprocessing, save_model
from small_stores import AE, CE_VAE, CE_VQ, SIZE, UNET, StopAfter, same, settings, weights, write_patients

TWO_HEADS = UNET.model_copy(update={"unet": UNET.unet.model_copy(update={"predicts_lesion": True})})
EITHER = Mixture(
    parts=(Share(share=0.6, corruption=SimulatedLesions()), Share(share=0.4, corruption=CoarseNoise()))
)
FAMILIES = [
    settings(AE),
    settings(CE_VAE),
    settings(CE_VQ),
    settings(CE_VQ, codebook_decay=0.9, reset_dead_codes=True),
    settings(UNET, corruption=EITHER, optimizer="adamw", loss="absolute"),
    settings(TWO_HEADS, corruption=SCANNERS, optimizer="adamw", loss="absolute", lesion_weight=0.3),
]
IDS = ["ae", "ce-vae", "ce-vq-vae", "ce-vq-vae by moving averages", "denoiser", "two heads"]


def text(error):
    found = str(error.value)
    assert "\n" not in found and ";" in found, found
    return found


def test_the_loss_falls_and_the_best_epoch_is_kept(small_store, tmp_path):
    result = train(settings(epochs=8), small_store, tmp_path / "run")
    losses = [entry["validation_loss"] for entry in result.history]
    assert losses[-1] < 0.7 * losses[0]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    network = build(AE)
    network.load_state_dict(result.run.load_best())
    images = torch.from_numpy(small_store.healthy_slices("validation")).float()[:, None] / 255
    with torch.no_grad():
        errors = (network.eval()(images).reconstruction - images).square().sum(dim=(1, 2, 3))
    assert float(errors.mean()) == pytest.approx(min(losses), rel=1e-4)


def test_a_denoiser_is_judged_by_how_it_restores_and_not_by_how_it_copies(small_store, tmp_path):
    wanted = settings(UNET, epochs=12, corruption=CoarseNoise(sigma=0.4), loss="absolute", learning_rate=3e-3)
    result = train(wanted, small_store, tmp_path / "run")
    losses = [entry["validation_loss"] for entry in result.history]
    assert min(losses) < 0.8 * losses[0] and result.best_epoch == 1 + int(np.argmin(losses))
    # Noise whose pixels are about two thirds of 0.4: what is left of it after learning is less than all of it.
    assert 0.01 < min(losses) < 0.4 * 2 / 3 * np.sqrt(2 / np.pi)
    assert [entry["train_context"] for entry in result.history] == [0] * 12
    again = train(wanted.model_copy(update={"epochs": 1}), small_store, tmp_path / "again")
    assert again.history[0]["validation_loss"] == losses[0]
    strips = [np.asarray(Image.open(file)) for file in sorted((tmp_path / "run" / "previews").iterdir())]
    assert all(np.array_equal(strips[0][:98], strip[:98]) for strip in strips)  # the same noise each time


def test_the_second_head_learns_where_the_simulated_lesions_are(small_store, tmp_path):
    lesions = SimulatedLesions(lesions=(1, 2), diameter_mm=(5.0, 9.0), shift=(0.4, 0.5), rim_mm=(0.5, 1.0))
    wanted = settings(TWO_HEADS, epochs=15, corruption=lesions, loss="absolute", learning_rate=1e-2)
    result = train(wanted, small_store, tmp_path / "run")
    found = [entry["validation_lesion"] for entry in result.history]
    assert found[-1] < 0.6 * found[0]
    totals = [entry["validation_loss"] - entry["validation_reconstruction"] for entry in result.history]
    assert found == pytest.approx(totals, abs=1e-5)
    assert "validation_lesion" in result.run.log.read_text().splitlines()[0]


def test_the_log_has_a_line_per_epoch(small_store, tmp_path):
    result = train(settings(CE_VQ), small_store, tmp_path / "run")
    with result.run.log.open() as stream:
        lines = list(csv.DictReader(stream))
    assert [int(line["epoch"]) for line in lines] == [1, 2, 3]
    assert float(lines[1]["train_loss"]) == result.history[1]["train_loss"]
    assert all(1 <= int(line["used_codes"]) <= CE_VQ.codes for line in lines)
    assert list((tmp_path / "run" / "tensorboard").iterdir())


@pytest.mark.parametrize("wanted", FAMILIES, ids=IDS)
def test_three_and_three_epochs_are_six_bit_for_bit(small_store, tmp_path, wanted):
    six = train(wanted.model_copy(update={"epochs": 6}), small_store, tmp_path / "six")
    train(wanted, small_store, tmp_path / "parts")
    parts = train(wanted.model_copy(update={"epochs": 6}), small_store, tmp_path / "parts", resume=True)
    assert same(weights(six.run), weights(parts.run))
    assert same(six.run.load_best(), parts.run.load_best())
    timeless = [
        [{key: value for key, value in entry.items() if "second" not in key} for entry in result.history]
        for result in (six, parts)
    ]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize("wanted", FAMILIES, ids=IDS)
@pytest.mark.parametrize("updates", [1, 4])
def test_a_run_stopped_within_an_epoch_goes_on_bit_for_bit(small_store, tmp_path, wanted, updates):
    whole = train(wanted, small_store, tmp_path / "whole")
    with pytest.raises(Cancelled):
        train(wanted, small_store, tmp_path / "parts", should_stop=StopAfter(updates))
    assert RunFolder(tmp_path / "parts").load_checkpoint()["step"] == updates
    parts = train(wanted, small_store, tmp_path / "parts", resume=True)
    assert same(weights(whole.run), weights(parts.run))
    assert whole.history[0]["train_loss"] == parts.history[0]["train_loss"]


def test_one_cycle_can_be_resumed_but_not_lengthened(small_store, tmp_path):
    wanted = settings(schedule="one-cycle")
    whole = train(wanted, small_store, tmp_path / "whole")
    with pytest.raises(Cancelled):
        train(wanted, small_store, tmp_path / "parts", should_stop=StopAfter(3))
    assert same(weights(whole.run), weights(train(wanted, small_store, tmp_path / "parts", resume=True).run))
    with pytest.raises(RunError) as error:
        train(settings(schedule="one-cycle", epochs=9), small_store, tmp_path / "parts", resume=True)
    assert "epochs 3, not 9: its learning rate falls along them (schedule one-cycle)" in text(error)
    assert RunFolder(tmp_path / "parts").plan().current.epochs == 3


def test_the_seed_decides(small_store, tmp_path):
    first = train(settings(), small_store, tmp_path / "a")
    assert same(weights(first.run), weights(train(settings(), small_store, tmp_path / "b").run))
    other = train(settings(seed=1), small_store, tmp_path / "c")
    assert not same(weights(first.run), weights(other.run))


def test_reading_from_the_store_gives_the_same_as_slices_on_the_device(small_store, tmp_path):
    device = train(settings(CE_VAE), small_store, tmp_path / "device", hardware=Hardware(data="device"))
    loader = Hardware(data="loader", workers=0)
    read = train(settings(CE_VAE), small_store, tmp_path / "loader", hardware=loader)
    assert same(weights(device.run), weights(read.run))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_out_of_memory_goes_on_in_smaller_pieces(small_store, tmp_path, monkeypatch, error):
    plain = settings(augmentation=None)
    whole = train(plain, small_store, tmp_path / "whole")
    forward = updating.Objective.forward

    def small_device(self, images, *rest, **more):
        if len(images) > 2:
            raise error
        return forward(self, images, *rest, **more)

    monkeypatch.setattr(updating.Objective, "forward", small_device)
    events = []
    pieces = train(plain, small_store, tmp_path / "pieces", on_event=events.append)
    notes = [event["message"] for event in events if event["event"] == "note"]
    assert len(notes) == 1 and "2 slices at a time" in notes[0]
    for name, tensor in weights(whole.run).items():
        torch.testing.assert_close(weights(pieces.run)[name], tensor, rtol=1e-3, atol=1e-5)


def test_out_of_memory_with_a_single_slice_is_one_sentence(small_store, tmp_path, monkeypatch):
    def no_memory(self, images, *rest, **more):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(updating.Objective, "forward", no_memory)
    with pytest.raises(RunError) as error:
        train(settings(), small_store, tmp_path / "run")
    assert "out of memory with 1 slices at a time" in text(error)


def test_a_loss_that_is_not_finite_leaves_the_last_checkpoint(small_store, tmp_path, monkeypatch):
    before = train(settings(), small_store, tmp_path / "run")
    expected = weights(before.run)
    forward = updating.Objective.forward

    def broken(self, *rest, **more):
        total, terms, *codes = forward(self, *rest, **more)
        return total * math.nan, terms * math.nan, *codes

    monkeypatch.setattr(updating.Objective, "forward", broken)
    with pytest.raises(RunError) as error:
        train(settings(epochs=5), small_store, tmp_path / "run", resume=True)
    assert "no longer a finite number (epoch 4" in text(error)
    assert same(weights(before.run), expected)
    monkeypatch.undo()
    assert len(train(settings(epochs=5), small_store, tmp_path / "run", resume=True).history) == 5


def test_a_full_disk_leaves_the_last_checkpoint(small_store, tmp_path, monkeypatch):
    before = train(settings(), small_store, tmp_path / "run")
    expected, save = weights(before.run), torch.save

    def full(state, stream):
        stream.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError) as error:
        train(settings(epochs=4), small_store, tmp_path / "run", resume=True)
    assert "No space left" in text(error)
    assert same(weights(before.run), expected)
    assert not list((tmp_path / "run").glob(".part-*"))
    monkeypatch.setattr(torch, "save", save)
    assert len(train(settings(epochs=4), small_store, tmp_path / "run", resume=True).history) == 4


def test_training_ends_when_the_validation_loss_no_longer_falls(small_store, tmp_path):
    rising = settings(epochs=50, patience=2, learning_rate=0.3)
    result = train(rising, small_store, tmp_path / "run")
    assert result.early and len(result.history) == result.best_epoch + 2 < 50


def test_a_run_that_ended_early_says_why_more_epochs_change_nothing_and_how_they_would(small_store, tmp_path):
    wanted = settings(epochs=30, patience=1, learning_rate=0.05)
    first = train(wanted, small_store, tmp_path / "run")
    assert first.early
    notes = []
    more = wanted.model_copy(update={"epochs": 40})
    again = train(
        more,
        small_store,
        tmp_path / "run",
        resume=True,
        on_event=lambda event: notes.append(event["message"]) if event["event"] == "note" else None,
    )
    assert len(again.history) == len(first.history)
    assert notes and "the patience is 1; a larger --patience continues it" in notes[0]
    patient = more.model_copy(update={"patience": None, "epochs": len(first.history) + 2})
    longer = train(patient, small_store, tmp_path / "run", resume=True)
    assert len(longer.history) == len(first.history) + 2
    plan = RunFolder(tmp_path / "run").plan()
    assert plan.settings == wanted and plan.current == patient  # how it began, and how it goes on


def test_a_setting_that_an_earlier_version_wrote_down_in_vain_is_passed_over(small_store, tmp_path):
    run = train(settings(epochs=1), small_store, tmp_path / "run").run
    file = run.path / "run.json"
    values = json.loads(file.read_text())
    values["settings"]["beta"] = 4.0  # of an autoencoder, which has no divergence
    file.write_text(json.dumps(values))
    assert run.plan().settings.beta == 1.0
    assert len(train(settings(epochs=2), small_store, run.path, resume=True).history) == 2


def test_events_tell_the_story(small_store, tmp_path):
    heard = []
    train(settings(), small_store, tmp_path / "run", events=tmp_path / "events.jsonl", on_event=heard.append)
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [{key: value for key, value in line.items() if key != "time"} for line in lines] == heard
    kinds = [line["event"] for line in lines if line["event"] != "checkpoint"]
    assert kinds == ["start", "epoch", "epoch", "epoch", "finish"]
    assert lines[0]["slices"] == len(small_store.healthy_rows("train"))


def test_fine_tuning_starts_from_a_model_and_says_so(small_store, tmp_path):
    parent = initial_network(settings(seed=7))
    card = ModelCard(name="mother", spec=AE, preprocessing=Preprocessing(image_size=SIZE))
    folder = save_model(parent, card, tmp_path / "mother")
    tuned = settings(freeze_encoder=True, epochs=1)
    result = train(tuned, small_store, tmp_path / "run", init_from=folder)
    learned = result.run.load_checkpoint()["network"]
    for name, tensor in parent.state_dict().items():
        assert torch.equal(learned[name], tensor) == name.startswith("encoder."), name
    assert result.run.plan().parents[0]["name"] == "mother"
    assert len(result.run.plan().parents[0]["sha256"]) == 64


def test_an_encoder_of_random_weights_is_not_kept_but_a_run_that_knows_its_parent_goes_on(
    small_store, tmp_path
):
    with pytest.raises(ParameterError, match="has learned nothing yet; name the model to fine-tune"):
        train(settings(freeze_encoder=True, epochs=1), small_store, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    card = ModelCard(name="mother", spec=AE, preprocessing=Preprocessing(image_size=SIZE))
    folder = save_model(initial_network(settings(seed=7)), card, tmp_path / "mother")
    tuned = settings(freeze_encoder=True, epochs=1)
    run = train(tuned, small_store, tmp_path / "run", init_from=folder).run
    assert train(tuned.model_copy(update={"epochs": 2}), small_store, run.path, resume=True).best_epoch


def test_a_parent_of_another_design_is_refused(small_store, tmp_path):
    card = ModelCard(name="other", spec=CE_VAE, preprocessing=Preprocessing(image_size=SIZE))
    folder = save_model(build(CE_VAE), card, tmp_path / "other")
    with pytest.raises(ModelError) as error:
        train(settings(), small_store, tmp_path / "run", init_from=folder)
    assert "other layers" in text(error) and not (tmp_path / "run").exists()


def test_resuming_another_model_or_other_data_is_refused(small_store, tmp_path):
    train(settings(epochs=1), small_store, tmp_path / "run")
    with pytest.raises(RunError) as error:
        train(settings(CE_VAE, epochs=1), small_store, tmp_path / "run", resume=True)
    assert "spec ae (custom), not ce-vae1 (custom)" in text(error)
    with pytest.raises(RunError) as error:
        train(settings(epochs=1, learning_rate=0.5), small_store, tmp_path / "run", resume=True)
    assert "learning rate 0.001, not 0.5" in text(error)
    cohort = write_patients(tmp_path / "cohort", 3)
    other = prepare(cohort, tmp_path / "store", image_size=SIZE, validation=0.3, test=0)
    with pytest.raises(RunError) as error:
        train(settings(epochs=2), other, tmp_path / "run", resume=True)
    assert "other data" in text(error)


def test_a_run_is_never_overwritten_and_never_invented(small_store, tmp_path):
    train(settings(epochs=1), small_store, tmp_path / "run")
    with pytest.raises(RunError) as error:
        train(settings(epochs=1), small_store, tmp_path / "run")
    assert "--resume" in text(error)
    with pytest.raises(RunError) as error:
        train(settings(epochs=1), small_store, tmp_path / "elsewhere", resume=True)
    assert "no training run here" in text(error)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("everything")
    with pytest.raises(OutputError) as error:
        train(settings(epochs=1), small_store, tmp_path / "mine")
    assert "thesis.txt" in text(error)


def test_slices_must_fit_the_network(small_store, tmp_path):
    with pytest.raises(ParameterError) as error:
        train(settings(AE.model_copy(update={"image_size": 64})), small_store, tmp_path / "run")
    assert "40 pixels" in text(error)


def test_a_store_without_healthy_validation_slices_is_refused(small_store, tmp_path, monkeypatch):
    rows = type(small_store).healthy_rows
    empty = np.zeros((0, 2), dtype=np.int64)
    monkeypatch.setattr(
        type(small_store), "healthy_rows", lambda self, part: rows(self, part) if part == "train" else empty
    )
    with pytest.raises(StoreError) as error:
        train(settings(), small_store, tmp_path / "run")
    assert "validation" in text(error)


@pytest.mark.slow
def test_a_compiled_network_learns_the_same(small_store, tmp_path):
    plain = settings(augmentation=None)
    eager = train(plain, small_store, tmp_path / "eager")
    compiled = train(plain, small_store, tmp_path / "compiled", hardware=Hardware(compile=True))
    for name, tensor in weights(eager.run).items():
        torch.testing.assert_close(weights(compiled.run)[name], tensor, rtol=1e-3, atol=1e-5)
