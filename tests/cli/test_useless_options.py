"""An option that does nothing as things are is refused in a sentence, before anything is written."""

import json

import pytest

from small_stores import write_patients


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_patients(tmp_path_factory.mktemp("cohort"), 2, (4, 60, 56))


@pytest.mark.parametrize(
    ("verb", "options", "words"),
    [
        ("detect one", ["--workers", 2], "--workers does nothing for one patient"),
        ("detect one", ["--scheduler", "tcp://localhost:1"], "--scheduler does nothing for one patient"),
        ("detect one", ["--png-first-column", "right"], "--png-first-column does nothing for"),
        (
            "detect",
            ["--workers", 2, "--scheduler", "tcp://localhost:1"],
            "--workers does nothing with --scheduler",
        ),
        ("detect", ["--threads", 1, "--workers", 2], "--threads does nothing for workers"),
        (
            "detect",
            ["--threads", 1, "--scheduler", "tcp://localhost:1"],
            "--threads does nothing for workers",
        ),
        (
            "evaluate",
            ["--workers", 2, "--scheduler", "tcp://localhost:1"],
            "--workers does nothing with --scheduler",
        ),
        ("prepare", ["--split", "split.json", "--seed", 1], "--seed does nothing with a split file"),
        ("prepare", ["--split", "split.json", "--validation", 0.2], "--validation does nothing with a split"),
        ("prepare", ["--split", "split.json", "--test", 0], "--test does nothing with a split file"),
        (
            "train",
            ["--slices-on", "device", "--workers", 2],
            "--workers does nothing with --slices-on device",
        ),
        (
            "train",
            ["--devices", 2, "--checkpoint-minutes", 5],
            "--checkpoint-minutes does nothing on several",
        ),
    ],
)
def test_an_option_without_effect_is_refused(call, cohort, tmp_path, monkeypatch, verb, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "split.json").write_text(json.dumps({"train": ["Mets_001"], "validation": ["Mets_002"]}))
    given = {
        "detect one": ["detect", cohort / "Mets_001", "--model", "ce-vae1", "--device", "cpu"],
        "detect": ["detect", cohort, "--model", "ce-vae1", "--device", "cpu"],
        "evaluate": ["evaluate", cohort, "--models", "ce-vae1"],
        "prepare": ["prepare", cohort],
        "train": ["train", "ae", "--data", cohort],
    }[verb]
    status, out, err = call(*given, "--out", tmp_path / "out", *options)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {words}") and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_encoder_that_has_learned_nothing_is_not_kept(call, cohort, tmp_path):
    status, out, err = call(
        *("train", "ae", "--data", cohort, "--freeze-encoder", "--assume-healthy", "--out", tmp_path / "out")
    )
    assert (status, out) == (2, "")
    assert err == (
        "error: the encoder that would stay as it is (--freeze-encoder) has learned nothing yet; name the model to "
        "fine-tune (--init-from), or train the encoder too\n"
    )
    assert not (tmp_path / "out").exists()
