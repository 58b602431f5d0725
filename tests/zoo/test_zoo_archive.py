import hashlib
import io
import json
import os
import stat
import warnings
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import pytest
import torch

from model_folders import CARD, WEIGHTS, card, network, one_sentence, save
from napari_cead import zoo
from napari_cead.errors import CeadError, ModelError, OutputError, ParameterError
from napari_cead.zoo.archive import LONGEST_CARD


@pytest.fixture
def source(tmp_path):
    return save(tmp_path / "mine")


def pack(file, *entries, compression=ZIP_DEFLATED):
    """Write a zip with the standard library; an entry is a name or a ZipInfo, and its content."""
    with ZipFile(file, "w", compression) as packed, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # duplicates are meant
        for name, content in entries:
            packed.writestr(name, content)
    return file


def whole(source, folder="mine/"):
    return [(f"{folder}{name}", (source / name).read_bytes()) for name in (CARD, WEIGHTS)]


def refused(file, home):
    with pytest.raises(ModelError) as caught:
        zoo.install_model(file)
    text = one_sentence(caught)
    assert str(file) in text
    assert not home.exists() or list(home.iterdir()) == []  # not even a temporary folder
    return text


def test_what_is_in_a_zip(source, tmp_path):
    file = zoo.export_model(source, tmp_path / "new" / "out.zip")
    assert file == tmp_path / "new" / "out.zip"
    with ZipFile(file) as packed:
        assert packed.namelist() == ["mine/config.json", "mine/README.md", f"mine/{WEIGHTS}"]
        assert packed.read("mine/config.json") == (source / CARD).read_bytes()
        assert packed.read(f"mine/{WEIGHTS}") == (source / WEIGHTS).read_bytes()
        assert packed.testzip() is None
        for entry in packed.infolist():
            assert (entry.compress_type, entry.date_time) == (ZIP_STORED, (1980, 1, 1, 0, 0, 0))
            assert stat.S_ISREG(entry.external_attr >> 16)
    first = file.read_bytes()
    os.utime(source / WEIGHTS, (1e9, 1e9))
    assert zoo.export_model(source, tmp_path / "other.zip").read_bytes() == first


def test_everything_on_a_card_survives_the_way_through_a_zip(tmp_path, home):
    maps = {"residual-mean": torch.rand(20, 20), "residual-std": torch.rand(20, 20)}
    original = card(
        "mine",
        description="Grün",
        training={"seed": 3, "losses": [1.5, 0.5]},
        score_scales={"kl-gradient": 3.5, "combined": 0.25},
        suggestions=(zoo.Suggestion(score="residual", rule="validation", params={"threshold": 0.25}),),
        parents=(zoo.Parent(name="old", sha256="a" * 64), zoo.Parent(name="older", sha256="b" * 64)),
        notes="of the new scanner,\nwithout the first week",
    )
    folder = zoo.save_model(network(), original, tmp_path / "mine", half=True, statistics=maps)
    installed = zoo.install_model(zoo.export_model(folder, tmp_path / "out.zip", private=False))
    assert installed == home / "mine"
    detector = zoo.load_model("mine", "cpu")
    assert detector.card == zoo.load_card(folder)
    filled = {"sha256", "dtype", "parameters", "statistics"}
    assert detector.card.model_dump(exclude=filled) == original.model_dump(exclude=filled)
    for name, values in maps.items():
        assert detector.statistics[name].dtype == torch.float32
        assert torch.equal(detector.statistics[name], values.half().float())  # stored like the weights
    x = torch.rand(2, 1, 20, 20)
    assert torch.equal(detector.reconstruct(x), zoo.load_model(folder, "cpu").reconstruct(x))


@pytest.mark.parametrize("folder", ["", "mine/", "renamed by hand/"])
@pytest.mark.parametrize("compression", [ZIP_STORED, ZIP_DEFLATED])
def test_zips_of_other_programs_are_read(source, tmp_path, home, folder, compression):
    extra = [("__MACOSX/", b""), ("__MACOSX/mine/._model.json", b"\0" * 99), (".DS_Store", b"x")]
    extra += [(folder, b""), (f"{folder}.DS_Store", b"y")] if folder else []
    file = pack(tmp_path / "m.zip", *extra, *whole(source, folder), compression=compression)
    assert zoo.install_model(file) == home / "mine"
    assert sorted(path.name for path in home.rglob("*")) == ["mine", CARD, WEIGHTS]
    assert (home / "mine" / WEIGHTS).read_bytes() == (source / WEIGHTS).read_bytes()
    assert zoo.load_model("mine", "cpu").name == "mine"


def test_another_name_and_replacing(source, tmp_path, home):
    file = zoo.export_model(source, tmp_path / "m.zip")
    assert zoo.install_model(str(file), "yours") == home / "yours"
    assert zoo.load_model("yours", "cpu").card.name == "yours"
    second = zoo.export_model(save(tmp_path / "other", seed=1), tmp_path / "o.zip")
    before = zoo.load_card(home / "yours").sha256
    with pytest.raises(OutputError, match="is installed"):
        zoo.install_model(second, "yours")
    assert zoo.load_card(home / "yours").sha256 == before
    zoo.install_model(second, "yours", replace=True)
    assert zoo.load_card(home / "yours").sha256 != before
    for name in ("", "a/b", "..", ".hidden", "x" * 65, "CON", "com1.old", "ends.", "a b", "ü"):
        with pytest.raises(ParameterError, match="name"):
            zoo.install_model(file, name)
    assert [path.name for path in home.iterdir()] == ["yours"]


def test_a_damaged_zip_leaves_the_installed_model_whole(source, tmp_path, home):
    zoo.install_model(source)
    before = {path.name: path.read_bytes() for path in (home / "mine").iterdir()}
    entries = whole(save(tmp_path / "new" / "mine", seed=1))
    entries[1] = (entries[1][0], entries[1][1][:-1] + b"\7")
    file = pack(tmp_path / "m.zip", *entries)
    with pytest.raises(ModelError, match="sha256"):
        zoo.install_model(file, replace=True)
    assert {path.name: path.read_bytes() for path in (home / "mine").iterdir()} == before
    assert [path.name for path in home.iterdir()] == ["mine"]


UNSAFE = [
    "../model.json",
    "mine/../../model.json",
    "/etc/model.json",
    "//server/model.json",
    "C:/model.json",
    "C:model.json",
    "mine\\model.json",
    "..\\model.json",
    "./model.json",
    "mine//model.json",
    "mine/\x1b[2Jmodel.json",
    "__MACOSX/../../model.json",
    "../.DS_Store",
]


@pytest.mark.parametrize("name", UNSAFE)
def test_names_that_lead_elsewhere_are_refused(source, tmp_path, home, name):
    file = pack(tmp_path / "m.zip", *whole(source), (name, b"{}"))
    text = refused(file, home)
    assert "outside" in text
    assert "\x1b" not in text


def test_a_second_name_behind_a_nul_is_refused(source, tmp_path, home):
    file = pack(tmp_path / "m.zip", *whole(source), ("mine/model.jsonX../../up", b"{}"))
    file.write_bytes(file.read_bytes().replace(b"model.jsonX../../up", b"model.json\0../../up"))
    assert "outside" in refused(file, home)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
@pytest.mark.parametrize("name", [f"mine/{WEIGHTS}", "__MACOSX/link"])
def test_links_and_devices_are_refused(source, tmp_path, home, kind, name):
    entry = ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = (kind | 0o777) << 16
    others = [(n, content) for n, content in whole(source) if n != name]
    assert "link" in refused(pack(tmp_path / "m.zip", *others, (entry, b"/etc/passwd")), home)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["mine/readme.txt"], "readme.txt' is not part of a model"),
        (["mine/sub/"], "sub/' is not part"),
        (["empty/"], "empty/' is not part"),
        (["LICENSE"], "LICENSE' is not part"),
        (["mine/deep/model.json"], "deep/model.json' is not part"),
        (["model.onnx"], "model.onnx' is not part"),
        (["yours/model.json", "yours/model.safetensors"], "more than one model"),
        (["model.json"], "more than one model"),
        (["mine/model.json"], "occurs twice"),
        (["mine/config.json"], "config.json' is not part"),
        (["mine/deep/README.md"], "README.md' is not part"),
        (["mine/model.safetensors"], "occurs twice"),
        (["mine/Model.json"], "upper and lower case"),
        (["MINE/model.json"], "upper and lower case"),
        (["mine/model.pkl"], "safetensors are read"),
        (["deep/down/weights.PT"], "safetensors are read"),
    ],
)
def test_anything_else_in_a_zip_is_refused(source, tmp_path, home, more, words):
    file = pack(tmp_path / "m.zip", *whole(source), *((name, b"{}" * (name[-1] != "/")) for name in more))
    assert words in refused(file, home)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda entries: [], f"no {CARD}"),
        (lambda entries: [entries[0]], f"no {WEIGHTS}"),
        (lambda entries: [entries[1]], f"no {CARD}"),
        (lambda entries: [entries[0], (f"other/{WEIGHTS}", entries[1][1])], "not together"),
        (lambda entries: [entries[0], (WEIGHTS, entries[1][1])], "not together"),
        (lambda entries: [(entries[0][0], b"{"), entries[1]], "JSON"),
        (lambda entries: [(entries[0][0], b"\xff"), entries[1]], "not valid JSON"),
        (lambda entries: [(entries[0][0], b'{"schema_version": 2}'), entries[1]], "update"),
        (lambda entries: [(entries[0][0], entries[0][1].replace(b'"mine"', b'"../up"')), entries[1]], "name"),
        (lambda entries: [entries[0], (entries[1][0], b"")], "not a valid safetensors"),
        (lambda entries: [entries[0], (entries[1][0], b"\xff" * 99)], "not a valid safetensors"),
        (lambda entries: [entries[0], (entries[1][0], entries[1][1] + b"\0")], "the card's spec needs"),
        (lambda entries: [entries[0], (entries[1][0], entries[1][1][:-1])], "the card's spec needs"),
        (lambda entries: [entries[0], (entries[1][0], entries[1][1][:-1] + b"\7")], "sha256"),
    ],
)
def test_what_is_no_whole_model_is_refused(source, tmp_path, home, change, words):
    assert words in refused(pack(tmp_path / "m.zip", *change(whole(source))), home)


def test_pickles_are_told_what_they_are(tmp_path, home):
    torch.save({"weights": torch.zeros(3)}, tmp_path / "m.zip")  # PyTorch's own files are zips
    assert "could run code" in refused(tmp_path / "m.zip", home)


def test_encrypted_and_unusual_entries_are_refused(source, tmp_path, home):
    file = pack(tmp_path / "m.zip", *whole(source))
    content = bytearray(file.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    file.write_bytes(content)
    assert "encrypted" in refused(file, home)
    file = pack(tmp_path / "b.zip", *whole(source), compression=ZIP_BZIP2)
    assert "compressed in a way" in refused(file, home)


def test_a_large_card_is_refused_before_it_is_read(source, tmp_path, home, monkeypatch):
    entries = whole(source)
    entries[0] = (entries[0][0], entries[0][1] + b" " * LONGEST_CARD)
    file = pack(tmp_path / "m.zip", *entries)
    monkeypatch.setattr(ZipFile, "open", lambda *a, **k: pytest.fail("it was read"))
    assert str(LONGEST_CARD) in refused(file, home)


def test_a_bomb_is_refused_before_it_is_unpacked(source, tmp_path, home, monkeypatch):
    entries = whole(source)
    head = entries[1][1][:2000]
    file = tmp_path / "m.zip"
    with ZipFile(file, "w", ZIP_DEFLATED) as packed:
        packed.writestr(*entries[0])
        with packed.open(entries[1][0], "w") as stream:
            stream.write(head)
            for _ in range(64):
                stream.write(b"\0" * (1 << 20))
    assert file.stat().st_size < 1 << 20
    written = counted_writes(monkeypatch)
    assert "the card's spec needs" in refused(file, home)
    assert sum(written) <= 8


def test_a_bomb_that_lies_about_its_size_is_cut_short(source, tmp_path, home, monkeypatch):
    """It declares the bytes that the model needs and holds 32 MB."""
    entries = whole(source)
    size = len(entries[1][1])
    file = tmp_path / "m.zip"
    with ZipFile(file, "w", ZIP_DEFLATED) as packed:
        packed.writestr(*entries[0])
        with packed.open(entries[1][0], "w") as stream:
            stream.write(entries[1][1])
            for _ in range(32):
                stream.write(b"\0" * (1 << 20))
    content, real = bytearray(file.read_bytes()), size + (32 << 20)
    for place in range(len(content) - 4):
        if content[place : place + 4] == real.to_bytes(4, "little"):
            content[place : place + 4] = size.to_bytes(4, "little")
    file.write_bytes(content)
    with ZipFile(file) as packed:
        assert packed.getinfo(entries[1][0]).file_size == size
    written = counted_writes(monkeypatch)
    assert "CRC" in refused(file, home)
    assert sum(written) <= size


def counted_writes(monkeypatch):
    """Count the bytes that go to files opened by path."""
    written = []
    plain = Path.open

    class Counting(io.FileIO):
        def write(self, content):
            written.append(len(content))
            return super().write(content)

    def counting(self, mode="r", *arguments, **more):
        return Counting(self, "w") if mode == "wb" else plain(self, mode, *arguments, **more)

    monkeypatch.setattr(Path, "open", counting)
    return written


def test_a_truncated_or_changed_zip_is_refused_or_gives_the_same_model(tmp_path, home):
    """Each byte of the structure in turn: nothing but a sentence, or what was packed."""
    source = save(tmp_path / "mine")
    file = zoo.export_model(source, tmp_path / "good.zip")
    content, digest = file.read_bytes(), zoo.load_card(source).sha256
    bad, outcomes = tmp_path / "bad.zip", set()
    with ZipFile(file) as packed:
        second = packed.getinfo(f"mine/{WEIGHTS}").header_offset
    places = [*range(50), *range(second, second + 55), *range(len(content) - 210, len(content))]
    variants = [content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :] for place in places]
    variants += [content[:kept] for kept in (0, 1, 30, second, len(content) - 100, len(content) - 1)]
    for variant in variants:
        bad.write_bytes(variant)
        try:
            folder = zoo.install_model(bad, replace=True)
        except CeadError as error:
            outcomes.add("refused")
            assert isinstance(error, ModelError)
            assert str(bad) in str(error)
            assert "\n" not in str(error)
        else:
            outcomes.add("same")  # a byte that nobody reads: a date, a permission
            assert hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest() == digest
            assert json.loads((folder / CARD).read_text()) == json.loads((source / CARD).read_text())
    assert outcomes == {"refused", "same"}
    assert [path.name for path in home.iterdir()] == ["mine"]


def test_only_a_models_zip_is_replaced(source, tmp_path):
    target = tmp_path / "out.zip"
    pack(target, ("thesis.txt", b"years of work"))
    with pytest.raises(OutputError, match="not a model"):
        zoo.export_model(source, target)
    with ZipFile(target) as packed:
        assert packed.read("thesis.txt") == b"years of work"
    zoo.export_model(save(tmp_path / "other", seed=1), tmp_path / "o.zip")
    zoo.export_model(source, tmp_path / "o.zip")
    with ZipFile(tmp_path / "o.zip") as packed:
        assert packed.read(f"mine/{WEIGHTS}") == (source / WEIGHTS).read_bytes()


def test_a_full_disk_leaves_nothing(source, tmp_path, home, monkeypatch):
    file = zoo.export_model(source, tmp_path / "m.zip")

    def full(*arguments, **more):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ZipFile, "writestr", full)
        with pytest.raises(OutputError, match="No space left"):
            zoo.export_model(source, tmp_path / "n.zip")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(OutputError, match="No space left"):
            zoo.install_model(file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "home", "m.zip", "mine"]
    assert list(home.iterdir()) == []


def test_damaged_models_are_not_packed(source, tmp_path):
    with (source / WEIGHTS).open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(ModelError):
        zoo.export_model(source, tmp_path / "m.zip")
    assert not (tmp_path / "m.zip").exists()


def test_a_zip_is_not_a_model_until_it_is_installed(source, tmp_path):
    file = zoo.export_model(source, tmp_path / "m.zip")
    with pytest.raises(ModelError, match="models install"):
        zoo.load_model(file, "cpu")
    with pytest.raises(ModelError, match="no such folder"):
        zoo.install_model(tmp_path / "nowhere.zip")
