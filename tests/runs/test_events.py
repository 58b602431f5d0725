"""Events in a file, followed while it is written."""

import json

import pytest

from napari_cead.runs.events import EventFile, EventTail


def line(number, kind="step"):
    return json.dumps({"time": number, "event": kind, "step": number}) + "\n"


def steps(events):
    return [event["step"] for event in events]


def test_a_line_counts_when_it_is_whole(tmp_path):
    file = tmp_path / "events.jsonl"
    tail = EventTail(file)
    assert tail.poll() == []  # not there yet
    text = line(1) + line(2)
    found = []
    with file.open("w") as stream:
        for character in text:
            stream.write(character)
            stream.flush()
            found.append(steps(tail.poll()))
    assert found[len(line(1)) - 1] == [1] and found[-1] == [2]
    assert sum(map(len, found)) == 2


def test_characters_of_several_bytes_may_be_cut(tmp_path):
    file = tmp_path / "events.jsonl"
    text = '{"event": "note", "message": "x̂ – schön"}\n'.encode()
    tail = EventTail(file)
    for end in range(len(text)):
        file.write_bytes(text[:end])
        assert tail.poll() == []
    with file.open("ab") as stream:
        stream.write(text[-1:])
    assert tail.poll()[0]["message"] == "x̂ – schön"


@pytest.mark.parametrize("how", ["cut", "emptied", "replaced", "removed"])
def test_a_file_that_begins_again_is_read_from_its_beginning(tmp_path, how):
    file = tmp_path / "events.jsonl"
    file.write_text(line(1) + line(2) + line(3))
    tail = EventTail(file)
    assert steps(tail.poll()) == [1, 2, 3]
    if how == "cut":
        file.write_text(line(7))
    elif how == "emptied":
        file.write_text("")
        assert tail.poll() == []
        file.write_text(line(7))
    elif how == "replaced":  # by one that is longer
        other = tmp_path / "other"
        other.write_text("".join(map(line, range(7, 17))))
        other.replace(file)
    else:
        file.unlink()
        assert tail.poll() == []
        file.write_text(line(7))
    assert steps(tail.poll())[0] == 7
    assert tail.poll() == []


def test_only_the_last_ones_to_begin_with(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_text("".join(map(line, range(50))))
    tail = EventTail(file, last=3)
    assert steps(tail.poll()) == [47, 48, 49]
    with file.open("a") as stream:
        stream.write("".join(map(line, range(50, 60))))
    assert steps(tail.poll()) == list(range(50, 60))
    assert EventTail(file, last=0).poll() == []


def test_rubbish_is_passed_over(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_bytes(b'\n[1]\n"event"\n\xff\xfe\n{"event": 5}\n{"a": 1}\n' + line(4).encode())
    tail = EventTail(file)
    assert steps(tail.poll()) == [4] and tail.poll() == []


def test_blocks_do_not_cut_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(EventTail, "BLOCK", 7)
    file = tmp_path / "events.jsonl"
    file.write_text("".join(map(line, range(20))) + '{"time"')
    assert steps(EventTail(file).poll()) == list(range(20))


def test_a_process_killed_within_a_line_hides_no_event_of_the_next(tmp_path):
    file = tmp_path / "events.jsonl"
    EventFile(file)({"event": "start", "epochs": 3})
    with file.open("a") as stream:
        stream.write('{"time": 5, "event": "st')
    second = EventFile(file)
    second({"event": "start", "epochs": 4})
    second({"event": "finish"})
    kinds = [(event["event"], event.get("epochs")) for event in EventTail(file).poll()]
    assert kinds == [("start", 3), ("start", 4), ("finish", None)]
