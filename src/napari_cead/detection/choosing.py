"""Which settings a detection runs with, and where each of them comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ..errors import ParameterError
from ..zoo import ModelCard, Suggestion
from .options import MAP_OPTIONS, MapOptions
from .params import PostprocessParams
from .scores import SCORES, available_scores, check_score
from .settings import Parameter, flags_of

DEFAULT_SCORE = "residual"

Start = Literal["default", "suggested"]
"""Values of settings that are not given: the defaults with the model's threshold, or all the model's suggestions."""

Whence = Literal["given", "suggested", "default"]
"""Where a setting comes from: the caller, the model's card, or the table of defaults."""


@dataclass(frozen=True)
class Suggested:
    """Settings that a model's card suggests for a score.

    Attributes:
        rule: How they were chosen: the rule on the card, or ``"default"`` if the card suggests nothing.
        params: The settings; what the card does not name is at its default.
        names: The settings that the card names.
    """

    rule: str
    params: PostprocessParams
    names: frozenset[str] = field(default=frozenset(), compare=False)

    @classmethod
    def of(cls, suggestion: Suggestion) -> Suggested:
        """Return the suggestion on a card, without settings that this version does not know: see `remarks`."""
        names = PostprocessParams.names()
        known: dict[str, Any] = {name: value for name, value in suggestion.params.items() if name in names}
        return cls(suggestion.rule, PostprocessParams(**known), frozenset(known))

    @property
    def start(self) -> PostprocessParams:
        """The defaults with the suggested threshold.

        A threshold that was searched together with another closing, area fraction or dilation is taken as it is.
        """
        return PostprocessParams(threshold=self.params.threshold)


@dataclass(frozen=True)
class Settled:
    """All settings of a detection.

    Attributes:
        score: Anomaly score.
        params: Settings of the post-processing.
        options: Processing of the map before the threshold.
        rule: Where the threshold comes from: ``"given"``, ``"default"``, or the rule on the model's card.
        origins: By name, where the score and each setting come from.
    """

    score: str
    params: PostprocessParams
    options: MapOptions
    rule: str
    origins: Mapping[str, Whence]


Params = PostprocessParams | Settled | Start | None
"""Settings of a detection as a caller may give them; None is ``"default"``."""


def suggestions_for(card: ModelCard, score: str) -> tuple[Suggested, ...]:
    """Return a model's suggestions for a score, the preferred one first; the defaults if it suggests nothing."""
    found = tuple(Suggested.of(suggestion) for suggestion in card.suggestions if suggestion.score == score)
    return found or (Suggested("default", PostprocessParams()),)


def preferred_score(card: ModelCard) -> str:
    """Return the score that a model suggests, if the model supports it."""
    return _preferred(card) or DEFAULT_SCORE


def suggested(card: ModelCard, score: str | None = None) -> tuple[str, PostprocessParams, str]:
    """Return all of a model's suggestions (score, parameters, rule), with defaults where it suggests nothing.

    Args:
        card: The model's card.
        score: Ask for this score; the model's preferred one if None.

    Raises:
        ParameterError: If the score is unknown, or the model cannot give it.
    """
    if score is None:
        score = preferred_score(card)
    else:
        check_score(score, card)
    first = suggestions_for(card, score)[0]
    return score, first.params, first.rule


def settle(
    card: ModelCard, params: Params = None, score: str | None = None, options: MapOptions | None = None
) -> Settled:
    """Return all settings of a detection.

    Args:
        card: The model's card.
        params: Settings of the post-processing: given ones, ``"suggested"`` for all that the model suggests, or
            ``"default"`` (None) for the defaults with the threshold that it suggests. Settled ones stay as they are,
            whatever the other arguments.
        score: Anomaly score; None takes the model's suggestion, else ``"residual"``.
        options: Processing of the map; None leaves it unchanged.

    Raises:
        ParameterError: If the score is unknown, the model cannot give it, or ``params`` is another word.
    """
    if isinstance(params, Settled):
        return params
    given = params.model_dump() if isinstance(params, PostprocessParams) else {}
    start: Start = "default" if params is None or isinstance(params, PostprocessParams) else params
    return settle_given(card, start, score, given, {} if options is None else options.model_dump())


def settle_given(
    card: ModelCard,
    start: Start,
    score: str | None,
    params: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Settled:
    """Return all settings of a detection of which some are given.

    Args:
        card: The model's card.
        start: Where the others come from.
        score: Anomaly score; None takes the model's suggestion.
        params: Given settings of the post-processing, by name.
        options: Given options of the map, by name.

    Raises:
        ParameterError: As `settle`, or if a value is out of its range.
    """
    if start not in get_args(Start):
        raise ParameterError(
            f"settings are {' or '.join(get_args(Start))}, not {start!r}", hint="give one of these, or values"
        )
    if score is not None:
        check_score(score, card)
    wanted = preferred_score(card) if score is None else score
    first = suggestions_for(card, wanted)[0]
    base, named = (
        (first.params, first.names) if start == "suggested" else (first.start, first.names & {"threshold"})
    )
    origins: dict[str, Whence] = {"score": _whence_score(card, score)}
    for name in PostprocessParams.names():
        origins[name] = "given" if name in params else "suggested" if name in named else "default"
    for name in MapOptions.names():
        origins[name] = "given" if name in options else "default"
    rules = {"given": "given", "suggested": first.rule, "default": "default"}
    return Settled(
        wanted,
        base.replace(**params),
        MapOptions().replace(**options),
        rules[origins["threshold"]],
        origins,
    )


def settle_by_value(
    score: Whence,
    suggestions: Iterable[Suggested],
    params: PostprocessParams,
    options: MapOptions,
) -> tuple[str, dict[str, Whence]]:
    """Return rule and origins of settings that were moved by hand, judged by their values.

    A setting that stands at its default is a default, and one that was moved to where the model suggests it is given,
    unless it is the threshold or all settings are as suggested.

    Args:
        score: Where the score comes from.
        suggestions: The model's suggestions for it.
        params: The current settings.
        options: The current options of the map.
    """
    own = [one for one in suggestions if one.rule != "default"]
    whole = next((one for one in own if one.params == params), None)
    like = whole or next((one for one in own if one.params.threshold == params.threshold), None)
    usual: dict[str, Any] = {**PostprocessParams().model_dump(), **MapOptions().model_dump()}
    origins: dict[str, Whence] = {"score": score}
    for name, value in {**params.model_dump(), **options.model_dump()}.items():
        as_suggested = (whole is not None and name in whole.names) or (
            like is not None and name == "threshold"
        )
        origins[name] = "suggested" if as_suggested else "default" if value == usual[name] else "given"
    rule = like.rule if like is not None else origins["threshold"]
    return rule, origins


def whence_score(card: ModelCard, score: str) -> Whence:
    """Return where a score that was chosen from a list comes from, judged by its name."""
    return _whence_score(card, None if score == preferred_score(card) else score)


def remarks(card: ModelCard) -> tuple[str, ...]:
    """Return the notes on a model's card: what is missing or unknown in its file and its suggestions."""
    unknown = dict.fromkeys(
        name
        for suggestion in card.suggestions
        for name in suggestion.params
        if name not in PostprocessParams.names()
    )
    scores = dict.fromkeys(one.score for one in card.suggestions if one.score not in SCORES)
    if not (unknown or scores):
        return card.remarks
    named = ", ".join((*unknown, *(f"the score {name}" for name in scores)))
    return (
        *card.remarks,
        f"{card.name} suggests {named}, which this version does not know: update napari-cead, or install the package "
        "that adds it",
    )


def threshold_doubt(origins: Mapping[str, Whence], options: MapOptions) -> tuple[str, ...]:
    """Return a doubt about a suggested threshold: it was searched on unprocessed maps.

    Args:
        origins: Where each setting comes from.
        options: Processing of the map.

    Returns:
        A sentence if the map is changed before it is cut, nothing otherwise.
    """
    changed = _changed(origins, options.model_dump())
    if not changed:
        return ()
    return (
        f"the suggested threshold was searched without {' and '.join(changed)} of the map, which moves its values: "
        f"give a threshold that was chosen with {'them' if len(changed) > 1 else 'it'}",
    )


def _changed(origins: Mapping[str, Whence], options: Mapping[str, Any]) -> list[str]:
    """Return the processing of a map that meets a suggested threshold, by the names of the flags."""
    usual = MapOptions().model_dump()
    suggested_for_maps_as_they_are = origins["threshold"] == "suggested"
    return [
        flag.removeprefix("--")
        for name, flag in flags_of(MapOptions).items()
        if suggested_for_maps_as_they_are and options[name] != usual[name]
    ]


def settings_line(described: Mapping[str, Any]) -> str:
    """Return all settings of a detection in one line, with where they come from.

    Args:
        described: ``score``, ``rule``, ``params``, ``options`` and ``origins`` as in ``detection.json``.
    """
    origins, values = described["origins"], {**described["params"], **described["options"]}
    threshold = origins["threshold"]
    rule = f"suggested: {described['rule']}" if threshold == "suggested" else threshold
    if changed := _changed(origins, described["options"]):
        rule += f", searched without {' and '.join(changed)}"
    parts = [
        f"{described['score']} ({origins['score']})",
        f"threshold {values['threshold']:g} ({rule})",
    ]
    # Results that were saved before a step was added do not have its settings.
    rows = [row for row in (*PostprocessParams.parameters(), *MAP_OPTIONS) if row.name in origins]
    for whence in get_args(Whence):
        said = [
            _said(row, values[row.name])
            for row in rows
            if row.name != "threshold" and origins[row.name] == whence
        ]
        if said:
            parts.append(f"{', '.join(said)} ({whence})")
    return ", ".join(parts)


def _said(row: Parameter, value: Any) -> str:
    if row.kind is bool:
        return (row.flag if value else row.off_flag).removeprefix("--")
    return f"{row.flag.removeprefix('--')} {value:g}"


def _whence_score(card: ModelCard, score: str | None) -> Whence:
    if score is not None:
        return "given"
    return "suggested" if _preferred(card) else "default"


def _preferred(card: ModelCard) -> str | None:
    possible = available_scores(card)
    return next((one.score for one in card.suggestions if one.score in possible), None)
