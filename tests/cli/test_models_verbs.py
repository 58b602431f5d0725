import io
import json
import shutil
from zipfile import ZipFile

import pytest

from model_folders import network, save
from napari_cead import resources, zoo
from napari_cead.cli import run
from small_stores import AE, SIZE, write_patients


@pytest.fixture
def call(capsys):
    def call(*arguments):
        status = run([str(argument) for argument in ("models", *arguments)])
        return status, *capsys.readouterr()

    return call


def bundled(name):
    return resources.sample_data() / "models" / name


def test_models_are_listed_as_objects_with_names(call):
    status, out, _ = call("list", "--json")
    assert status == 0
    entries = {entry["name"]: entry for entry in json.loads(out)}
    assert entries["ce-vae1"]["where"] == "bundled"
    assert entries["ce-vae1"]["problem"] is None
    status, out, _ = call("show", "ce-vae1", "--json")
    assert json.loads(out)["spec"]["family"] == "vae"


def test_the_list_has_a_short_sentence_for_each_model_and_show_the_rest(call):
    whole = {one["name"]: one["description"] for one in json.loads(call("list", "--json")[1])}
    status, out, _ = call("list")
    assert status == 0
    listed = dict(line.split("  bundled    ") for line in out.splitlines() if "  bundled    " in line)
    assert [name.strip() for name in listed] == list(whole)
    for name, about in listed.items():
        assert 10 < len(about) <= 120, name
        assert whole[name.strip()].startswith(about), name
    assert whole["ce-unet"] in call("show", "ce-unet")[1]


def test_the_list_tells_where_a_model_is_from_and_what_is_wrong_with_one(call, model_folder):
    zoo.install_model(model_folder, "ce-vae1", replace=True)
    broken = zoo.install_model(model_folder, "a-broken-one-with-a-long-name")
    content = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(content[:-4])
    status, out, err = call("list")
    assert (status, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert "installed" in lines["ce-vae1"]
    assert "hides the bundled" in lines["ce-vae1"]
    assert "cannot be used" in lines["a-broken-one-with-a-long-name"]
    assert "not a valid safetensors file" in lines["a-broken-one-with-a-long-name"]
    assert len({line.index(" installed ") for line in out.splitlines() if " installed " in line}) == 1
    problems = {entry["name"]: entry["problem"] for entry in json.loads(call("list", "--json")[1])}
    assert problems["ce-vae1"] is None
    assert "model.safetensors" in problems["a-broken-one-with-a-long-name"]


def test_showing_a_damaged_model_is_an_error(call, model_folder, tmp_path):
    changed = shutil.copytree(model_folder, tmp_path / "changed")
    content = bytearray((changed / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (changed / "model.safetensors").write_bytes(content)
    status, out, err = call("show", changed)
    assert (status, out) == (2, "")
    assert "model.safetensors" in err


def test_a_card_is_shown_for_a_reader(call, model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "mine")
    values = json.loads((folder / "model.json").read_text("utf-8"))
    values["description"] = "Clear\x1b[2J the screen\nand forge a line"
    values["training"] = {"losses": [float(i) for i in range(200)], "on": {"healthy_slices": {"train": 7}}}
    values["parents"] = [{"name": "older", "sha256": digit * 64} for digit in "ab"]
    values["score_scales"] = {"squared": 1 / 3}
    (folder / "model.json").write_text(json.dumps(values), encoding="utf-8")
    status, out, err = call("show", folder)
    assert (status, err) == (0, "")
    assert not set("\x1b[]{}'") & set(out.replace("Clear [2J", ""))
    rows = [line.split("  ", 1) for line in map(str.strip, out.splitlines())]
    shown = {row[0]: row[-1].strip() for row in rows}
    assert "200 values, from 0 to 199" in shown["losses"]
    assert shown["marked"] == "not known"
    assert shown["train"] == "7"
    assert shown["squared"] == "0.333333"
    assert (shown["1. older"], shown["2. older"]) == ("a" * 64, "b" * 64)
    assert shown["positive-residual (validation)"] == "threshold 0.7"
    assert shown["sha256"] == values["sha256"]
    assert "and forge a line" not in out.splitlines()


def test_export_and_install_by_zip_and_folder(call, tmp_path):
    for target, name in ((tmp_path / "a.ZIP", "from-zip"), (tmp_path / "folder", "from-folder")):
        status, out, err = call("export", "ce-vae1", target)
        assert (status, err, out.count("\n")) == (0, "", 1)
        assert str(target) in out
        status, out, err = call("install", target, "--name", name)
        assert (status, err, out.count("\n")) == (0, "", 1)
        assert f"--model {name}" in out
        assert zoo.load_card(zoo.find_model(name)).sha256 == zoo.load_card(bundled("ce-vae1")).sha256
    with ZipFile(tmp_path / "a.ZIP") as packed:
        assert packed.testzip() is None
    status, out, err = call("install", tmp_path / "a.ZIP", "--name", "from-folder")
    assert (status, out) == (2, "")
    assert "--replace" in err
    assert call("install", tmp_path / "a.ZIP", "--name", "from-folder", "--replace")[0] == 0


def test_bad_calls_are_one_line(call, model_folder, tmp_path):
    (tmp_path / "thesis.zip").write_bytes(b"PK, but years of work")
    (tmp_path / "file").touch()
    for arguments in (
        ["install", tmp_path / "nowhere"],
        ["install", tmp_path / "nowhere.zip"],
        ["install", tmp_path / "thesis.zip"],
        ["install", tmp_path / "file"],
        ["install", model_folder, "--name", "../up"],
        ["install", model_folder, "--name", ""],
        ["install", model_folder, "--name", "nul.1"],
        ["export", "nonsense", tmp_path / "o"],
        ["export", model_folder, tmp_path / "thesis.zip"],
        ["export", model_folder, tmp_path / "file" / "o.zip"],
        ["export", model_folder, tmp_path / "file" / "o"],
        ["export", model_folder],
        ["show", tmp_path / "thesis.zip"],
    ):
        status, out, err = call(*arguments)
        assert (status, out) == (2, ""), arguments
        assert err.startswith("error: ")
        assert err.count("\n") == 1, arguments
    assert (tmp_path / "thesis.zip").read_bytes().endswith(b"years of work")
    assert not zoo.models_folder().exists()


@pytest.mark.parametrize("arguments", [["m.onnx"], ["out", "--onnx"], ["m.zip", "--onnx"]])
def test_onnx_is_refused_with_the_way_to_it(call, model_folder, tmp_path, arguments):
    status, out, err = call("export", model_folder, tmp_path / arguments[0], *arguments[1:])
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "docs/how-to/sharing.md" in err
    assert not list(tmp_path.iterdir())


def test_a_bundled_model_is_not_hidden_unasked(call, tmp_path):
    save(tmp_path / "mine")
    status, _, err = call("install", tmp_path / "mine", "--name", "ce-vae1")
    assert status == 2 and "would be hidden" in err and "--replace" in err
    packed = zoo.export_model("ce-vae1", tmp_path / "packed.zip")
    status, _, err = call("install", packed)  # the name on its card
    assert status == 2 and "would be hidden" in err
    assert zoo.find_model("ce-vae1") == bundled("ce-vae1")
    assert call("install", tmp_path / "mine", "--name", "ce-vae1", "--replace")[0] == 0


def test_installed_models_are_renamed_noted_and_removed(call, model_folder, tmp_path):
    zoo.install_model(model_folder, "mine")
    status, out, err = call("rename", "mine", "ward-7")
    assert (status, out, err) == (0, "mine: now called ward-7\n", "")
    assert call("note", "ward-7", "of the new scanner\nfrom May")[0] == 0
    lines = call("show", "ward-7")[1].splitlines()
    assert "of the new scanner" in lines and "from May" in lines
    for options, kept in (((), ""), (("--with-names",), "of the new scanner\nfrom May")):
        assert call("export", "ward-7", tmp_path / "out", *options)[0] == 0
        assert zoo.load_card(tmp_path / "out").notes == kept
    assert call("note", "ward-7", "")[1] == "ward-7: no notes\n"
    status, out, err = call("remove", "ward-7", "--yes")
    assert (status, out, err) == (0, "ward-7: removed\n", "")
    assert not list(zoo.models_folder().iterdir())


class Terminal(io.StringIO):
    """Somebody who answers."""

    def isatty(self):
        return True


def test_a_removal_that_nobody_confirms_removes_nothing(call, model_folder, monkeypatch):
    zoo.install_model(model_folder, "mine")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    status, out, err = call("remove", "mine")  # no terminal
    assert (status, out) == (2, "") and "--yes" in err and "mine" in zoo.find_models()
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert call("remove", "mine")[0] == 130
    assert "mine" in zoo.find_models()
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert call("remove", "mine")[0] == 0
    assert "mine" not in zoo.find_models()


def test_what_cannot_be_removed_is_refused_before_the_question(call, monkeypatch):
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    for name, words in (("ce-unet", "comes with the program"), ("nobody", "no model of this name")):
        status, out, err = call("remove", name)
        assert (status, out) == (2, "") and words in err


def test_a_bundled_model_comes_back(call, model_folder):
    zoo.install_model(model_folder, "ce-vae1", replace=True)
    assert "again the model that comes with the program" in call("remove", "ce-vae1", "--yes")[1]
    assert zoo.find_model("ce-vae1") == bundled("ce-vae1")
    for arguments in (
        ["remove", "ce-vae1", "--yes"],
        ["remove", "nobody", "--yes"],
        ["rename", "ce-vae1", "mine"],
        ["note", "ce-vae1", "text"],
    ):
        status, out, err = call(*arguments)
        assert (status, out) == (2, ""), arguments
        assert err.startswith("error: ") and err.count("\n") == 1


def test_models_are_compared_on_a_store(call, tmp_path):
    from napari_cead.training import prepare

    cohort = write_patients(tmp_path / "cohort")
    store = prepare(cohort, tmp_path / "store", image_size=SIZE, min_brain=0.05, validation=0.5, test=0)
    preprocessing = zoo.Preprocessing(image_size=SIZE)
    for seed, name in enumerate(("before", "after")):
        card = zoo.ModelCard(name=name, spec=AE, preprocessing=preprocessing)
        zoo.save_model(network(seed, AE), card, tmp_path / name)
    arguments = ("compare", tmp_path / "before", tmp_path / "after", "--data", store.path, "--device", "cpu")
    status, out, err = call(*arguments, "--patient", cohort / "Mets_001", "--json")
    assert (status, err) == (0, "")
    values = json.loads(out)
    assert (values["before"]["name"], values["after"]["name"], values["patients"]) == ("before", "after", 2)
    assert values["patient"] == "Mets_001" and values["rows"]
    status, out, err = call(*arguments)
    assert (status, err) == (0, "")
    assert values["verdict"].split(" Dice")[0].split(". ")[0] in out
    assert "residual in the brain" in out and "note: " in out
    status, out, err = call(*arguments[:3], "--data", tmp_path / "nowhere")
    assert (status, out, err.count("\n")) == (2, "", 1)
