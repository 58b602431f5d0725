"""What others ask of a training: it ends soon, and nothing of the result changes."""

import time

import numpy as np
import pytest
from PIL import Image

from napari_cead.errors import Cancelled
from napari_cead.runs import requests as requests_module
from napari_cead.runs.requests import Discarded, Paused, Requests, ask, asked, clear
from napari_cead.training import RunFolder, train
from napari_cead.training import preview as preview_module
from napari_cead.training.loop import Loop
from small_stores import AE, CE_VAE, CE_VQ, same, settings, weights

FAMILIES = [
    settings(AE, epochs=5, schedule="one-cycle"),
    settings(CE_VAE, epochs=5),
    settings(CE_VQ, epochs=5, codebook_decay=0.9, reset_dead_codes=True),
]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(requests_module, "INTERVAL", 0.0)


def asking(run, what, epoch):
    """Return a listener that asks for something at the end of an epoch."""

    def on_event(event):
        if event["event"] == "epoch" and event["epoch"] == epoch:
            ask(run, what)

    return on_event


def timeless(history):
    return [{key: value for key, value in entry.items() if "second" not in key} for entry in history]


@pytest.mark.parametrize("wanted", FAMILIES, ids=["ae", "ce-vae", "ce-vq-vae"])
def test_paused_twice_and_resumed_is_the_unbroken_run_bit_for_bit(small_store, tmp_path, wanted):
    whole = train(wanted, small_store, tmp_path / "whole")
    run = tmp_path / "run"
    for epoch in (2, 4):
        heard = []
        listener = asking(run, "pause", epoch)
        with pytest.raises(Paused):
            train(
                wanted,
                small_store,
                run,
                resume=epoch > 2,
                on_event=lambda event, tell=listener, heard=heard: (heard.append(event), tell(event)),
            )
        assert heard[-1]["event"] == "paused" and heard[-1]["epoch"] == epoch
        assert asked(run) is None  # honoured
        assert RunFolder(run).load_checkpoint()["epoch"] == epoch
    parts = train(wanted, small_store, run, resume=True)
    assert same(weights(whole.run), weights(parts.run))
    assert same(whole.run.load_best(), parts.run.load_best())
    assert timeless(whole.history) == timeless(parts.history)


def test_a_pause_while_it_validates_loses_nothing(small_store, tmp_path, monkeypatch):
    wanted = settings(CE_VQ, schedule="one-cycle", reset_dead_codes=True)
    whole = train(wanted, small_store, tmp_path / "whole")
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_asked", lambda self: None)  # then only validation looks
        patch.setattr(Requests, "pending", lambda self: "pause")
        with pytest.raises(Paused):
            train(wanted, small_store, run)
    state = RunFolder(run).load_checkpoint()
    assert (state["epoch"], state["step_in_epoch"]) == (0, state["step"]) and state["step"] > 0
    parts = train(wanted, small_store, run, resume=True)
    assert same(weights(whole.run), weights(parts.run))
    assert timeless(whole.history) == timeless(parts.history)


def test_finish_keeps_the_best_epoch_so_far(small_store, tmp_path):
    run, heard = tmp_path / "run", []
    listener = asking(run, "finish", 3)
    result = train(
        settings(epochs=500), small_store, run, on_event=lambda event: (heard.append(event), listener(event))
    )
    assert result.asked and len(result.history) == 3
    assert result.best_epoch == 1 + int(np.argmin([entry["validation_loss"] for entry in result.history]))
    assert heard[-1]["event"] == "finish" and heard[-1]["asked"] and heard[-1]["best_epoch"]
    assert result.run.load_best() and asked(run) is None
    goes_on = train(settings(epochs=5), small_store, run, resume=True)
    assert len(goes_on.history) == 5 and not goes_on.asked


def test_finish_before_the_first_epoch_is_a_pause(small_store, tmp_path):
    run, heard = tmp_path / "run", []
    run.mkdir()
    with pytest.raises(Paused):
        train(
            settings(),
            small_store,
            run,
            on_event=lambda event: (heard.append(event), event["event"] == "start" and ask(run, "finish")),
        )
    assert [event["event"] for event in heard] == ["start", "checkpoint", "note", "paused"]
    assert len(train(settings(), small_store, run, resume=True).history) == 3


def test_discard_ends_without_a_checkpoint_and_leaves_the_request(small_store, tmp_path):
    run, heard = tmp_path / "run", []
    with pytest.raises(Discarded):
        train(
            settings(),
            small_store,
            run,
            on_event=lambda event: (heard.append(event), event["event"] == "start" and ask(run, "discard")),
        )
    assert [event["event"] for event in heard] == ["start", "discarded"]
    assert asked(run)[0] == "discard" and not (run / "checkpoint.json").exists()


@pytest.mark.parametrize("what", ["pause", "finish", "discard"])
def test_what_was_asked_of_an_earlier_process_is_forgotten(small_store, tmp_path, what):
    run = tmp_path / "run"
    train(settings(epochs=1), small_store, run)
    ask(run, what)
    result = train(settings(epochs=2), small_store, run, resume=True, requests_since=time.time() + 1)
    assert len(result.history) == 2 and asked(run) is None


def test_a_pause_after_the_last_epoch_is_harmless(small_store, tmp_path):
    run = tmp_path / "run"
    result = train(settings(), small_store, run, on_event=asking(run, "pause", 3))
    assert len(result.history) == 3 and asked(run) is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"request": "explode", "time": 1e12}', '{"request": "pause"}']
)
def test_an_odd_request_is_none(tmp_path, content):
    (tmp_path / "request.json").write_text(content)
    assert Requests(tmp_path, since=time.time()).pending() is None
    clear(tmp_path)
    clear(tmp_path)
    assert issubclass(Paused, Cancelled) and issubclass(Discarded, Cancelled)


@pytest.mark.parametrize("wanted", FAMILIES, ids=["ae", "ce-vae", "ce-vq-vae"])
def test_previews_leave_no_trace(small_store, tmp_path, monkeypatch, wanted):
    with monkeypatch.context() as without:
        without.setattr(preview_module.Previews, "draw", lambda *arguments, **options: None)
        plain = train(wanted, small_store, tmp_path / "plain")
    monkeypatch.setattr(preview_module.Previews, "due", lambda self: True)
    heard = []
    drawn = train(wanted, small_store, tmp_path / "drawn", on_event=heard.append)
    assert same(weights(plain.run), weights(drawn.run))
    assert timeless(plain.history) == timeless(drawn.history)
    names = [event["preview"] for event in heard if event["event"] == "epoch"]
    assert names == [f"previews/epoch-{epoch:04d}.png" for epoch in range(1, 6)]
    pictures = [np.asarray(Image.open(tmp_path / "drawn" / name)) for name in names]
    tile = preview_module.TILE
    assert {picture.shape for picture in pictures} == {
        (3 * tile, min(6, len(small_store.healthy_rows("validation"))) * tile)
    }
    assert {picture.dtype for picture in pictures} == {np.dtype(np.uint8)}
    np.testing.assert_array_equal(pictures[0][:tile], pictures[-1][:tile])  # the same slices
    assert (pictures[0][tile:] != pictures[-1][tile:]).any()  # of a network that learns
    assert not (tmp_path / "plain" / "previews").exists()


def test_the_last_epoch_has_a_preview_however_quick_it_was(small_store, tmp_path, monkeypatch):
    monkeypatch.setattr(preview_module.Previews, "due", lambda self: False)
    train(FAMILIES[0], small_store, tmp_path)
    assert [file.name for file in (tmp_path / "previews").iterdir()] == ["epoch-0005.png"]


def test_the_residual_has_one_scale():
    images = np.full((2, 196, 196), 0.5, np.float32)
    made = np.stack([images[0], images[1] + 0.5 * preview_module.RESIDUAL_SCALE])
    picture = preview_module.strip(images, made)
    tile = preview_module.TILE
    assert (picture[:tile] == 128).all()
    assert (picture[2 * tile :, :tile] == 0).all() and (abs(picture[2 * tile :, tile:] - 127.5) < 1).all()
    assert list(preview_module.spread(3)) == [0, 1, 2]
    assert list(preview_module.spread(60)) == [5, 15, 25, 35, 45, 55]


def test_previews_keep_their_share_of_the_time(small_store, tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(preview_module.time, "monotonic", lambda: now[0])
    previews = preview_module.Previews(tmp_path, small_store)
    assert previews.due()
    previews.drawn, previews.cost = 101.0, 1.0
    now[0] = 103.0
    assert not previews.due()  # too soon
    now[0] = 140.0
    assert not previews.due()  # one second of forty is too much
    now[0] = 151.0
    assert previews.due()


def test_a_vaes_log_has_its_divergence(small_store, tmp_path):
    result = train(settings(CE_VAE, epochs=2, beta=0.5), small_store, tmp_path / "run")
    for entry in result.history:
        assert entry["validation_kl"] == pytest.approx(2 * entry["validation_latent"])
        assert entry["kl_per_dimension"] == pytest.approx(entry["validation_kl"] / CE_VAE.latent)
