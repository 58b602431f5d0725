import json
import pickle

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from napari_cead.detection.params import MAX_RADIUS, PARAMETERS, PostprocessParams
from napari_cead.errors import CeadError, ParameterError


def test_defaults_are_those_of_the_contract():
    assert PostprocessParams().model_dump() == {
        "threshold": 0.2,
        "closing_radius": 2,
        "area_fraction": 0.6,
        "dilation_radius": 1,
        "min_area_mm2": 0.0,
        "inside_brain": True,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", -0.01),
        ("threshold", 1.01),
        ("threshold", float("nan")),
        ("threshold", True),
        ("threshold", "0.3"),
        ("threshold", None),
        ("closing_radius", -1),
        ("closing_radius", MAX_RADIUS + 1),
        ("closing_radius", 2.5),
        ("closing_radius", True),
        ("dilation_radius", -1),
        ("dilation_radius", MAX_RADIUS + 1),
        ("dilation_radius", False),
        ("area_fraction", -0.1),
        ("area_fraction", 60),
        ("area_fraction", np.nan),
        ("min_area_mm2", -1.0),
        ("min_area_mm2", float("inf")),
        ("min_area_mm2", np.bool_(True)),
        ("inside_brain", 1),
        ("inside_brain", "yes"),
        ("inside_brain", None),
    ],
)
def test_a_bad_value_is_refused_in_one_sentence_with_name_range_and_value(name, value):
    for make in (
        lambda: PostprocessParams(**{name: value}),
        lambda: PostprocessParams().replace(**{name: value}),
    ):
        with pytest.raises(ParameterError) as caught:
            make()
        message = str(caught.value)
        parameter = next(row for row in PARAMETERS if row.name == name)
        assert message.startswith(f"{name} must be {parameter.range}, not ")
        shown = value.item() if isinstance(value, np.generic) else value
        assert message.endswith(repr(shown))
        assert "\n" not in message
        assert isinstance(caught.value, CeadError)
        assert isinstance(caught.value, ValueError)


def test_range_reads_as_words():
    ranges = {row.name: row.range for row in PARAMETERS}
    assert ranges["threshold"] == "a number from 0 to 1"
    assert ranges["closing_radius"] == f"a whole number from 0 to {MAX_RADIUS}"
    assert ranges["min_area_mm2"] == "a number of at least 0"


def test_an_unknown_name_is_refused_with_the_known_ones():
    for make in (lambda: PostprocessParams(treshold=0.3), lambda: PostprocessParams().replace(treshold=0.3)):
        with pytest.raises(ParameterError, match=r"'treshold'.*threshold, closing_radius"):
            make()


def test_numpy_scalars_become_plain_numbers():
    params = PostprocessParams(
        threshold=np.float64(0.25), closing_radius=np.int16(3), area_fraction=np.float32(0.5)
    )
    assert type(params.threshold) is float
    assert type(params.closing_radius) is int
    assert type(params.area_fraction) is float
    assert (params.threshold, params.closing_radius, params.area_fraction) == (0.25, 3, 0.5)


def test_bounds_themselves_are_allowed():
    for row in PARAMETERS:
        for value in (row.minimum, row.maximum):
            if value is not None:
                assert getattr(PostprocessParams(**{row.name: value}), row.name) == value


def test_whole_numbers_are_accepted_for_a_float():
    assert PostprocessParams(threshold=0, min_area_mm2=4).min_area_mm2 == 4.0


def test_immutable_hashable_and_comparable():
    params = PostprocessParams()
    with pytest.raises(ValidationError):
        params.threshold = 0.5
    assert params.threshold == 0.2
    assert hash(params) == hash(PostprocessParams())
    assert params != params.replace(threshold=0.5)


def test_replace_changes_a_copy_only():
    params = PostprocessParams(closing_radius=4)
    changed = params.replace(threshold=0.5, dilation_radius=0)
    assert changed == PostprocessParams(threshold=0.5, closing_radius=4, dilation_radius=0)
    assert params == PostprocessParams(closing_radius=4)


def test_json_and_pickle_give_the_same_back():
    params = PostprocessParams(threshold=0.1 + 0.2, min_area_mm2=3.5)
    assert PostprocessParams(**json.loads(json.dumps(params.model_dump(mode="json")))) == params
    assert PostprocessParams.model_validate_json(params.model_dump_json()) == params
    assert pickle.loads(pickle.dumps(params)) == params


def test_inside_another_model_the_sentence_survives():
    class Saved(BaseModel):
        params: PostprocessParams

    assert Saved.model_validate({"params": {"threshold": 0.5}}).params.threshold == 0.5
    with pytest.raises(ValidationError, match="threshold must be a number from 0 to 1, not 7"):
        Saved.model_validate({"params": {"threshold": 7}})


def test_the_table_describes_every_field():
    assert [row.name for row in PARAMETERS] == list(PostprocessParams.model_fields)
    defaults = PostprocessParams()
    for row in PARAMETERS:
        assert row.default == getattr(defaults, row.name)
        assert type(row.default) is row.kind
        assert row.title and row.description.endswith(".")
        assert row.step > 0
    assert {row.name: row.unit for row in PARAMETERS} == {
        "threshold": "",
        "closing_radius": "px",
        "area_fraction": "%",
        "dilation_radius": "px",
        "min_area_mm2": "mm²",
        "inside_brain": "",
    }
    assert [row.name for row in PARAMETERS if row.percent] == ["area_fraction"]


def test_saved_settings_are_read_by_the_rule():
    made, notes = PostprocessParams.from_saved({"threshold": 0.3, "opening": 2, "closing_radius": 1})
    assert made == PostprocessParams(threshold=0.3, closing_radius=1)
    assert [note.split(" ")[0] for note in notes] == [
        "area_fraction",
        "dilation_radius",
        "min_area_mm2",
        "inside_brain",
        "opening:",
    ]
    assert notes[3] == "inside_brain is missing and taken as true; the mask may differ at the brain's edge"
    assert PostprocessParams.from_saved(PostprocessParams().model_dump()) == (PostprocessParams(), ())
    with pytest.raises(ParameterError, match="threshold must be"):
        PostprocessParams.from_saved({"threshold": 3})
