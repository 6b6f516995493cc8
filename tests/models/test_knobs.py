"""What is declared once reaches its users whole: all problems at once, each with its path and a remedy."""

import pytest

from models.knobs import ConfigError, Knobs, differences, flat, knob, nested, parse


def halves_fit(low: int, high: int) -> str | None:
    return f"low={low} is above high={high}; use at most {high}" if low > high else None


class Inner(Knobs):
    RULES = (halves_fit,)
    low: int = knob(1, ge=0, label="low", help="The low one.")
    high: int = knob(5, ge=0, le=10, label="high", help="The high one.")
    share: float | None = knob(None, gt=0, lt=1, label="share", help="A share.", none_means="all")
    loud: bool = knob(False, label="loud", help="Whether it is loud.")
    name: str = knob("x", max_length=3, label="name", help="A name.")
    free: float = knob(0.5, label="free", help="Any finite number.")
    secret: int | None = knob(None, label="secret", help="Filled in by the program.", hidden=True)


class Outer(Knobs):
    inner: Inner = Inner()
    count: int = knob(2, ge=1, label="count", help="How many.")


def problems(cls, data) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        parse(cls, data)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_all_problems_are_reported_at_once_rules_and_unknown_keys_included():
    found = problems(Outer, {"inner": {"low": 7, "share": 2, "laud": True, "name": "long"}, "count": 0, "cuont": 1})
    assert set(found) == {"inner.low", "inner.share", "inner.laud", "inner.name", "count", "cuont"}
    assert found["inner.low"] == "low=7 is above high=5; use at most 5"
    assert found["inner.share"] == "2 is not possible here; use a number above 0 below 1"
    assert found["inner.laud"].startswith("there is no such setting; did you mean inner.loud")
    assert found["inner.name"] == "'long' is not possible here; use a text of at most 3 characters"
    assert found["count"] == "0 is not possible here; use a whole number from 1"
    assert "did you mean count?" in found["cuont"]


def test_the_error_as_text_names_each_path():
    with pytest.raises(ConfigError) as caught:
        parse(Outer, {"count": 0, "inner": {"low": -1}})
    assert sorted(line.split(":")[0] for line in str(caught.value).splitlines()) == ["count", "inner.low"]


def test_an_unknown_key_like_no_other_points_to_the_list():
    assert problems(Outer, {"zzzzzzzz": 1}) == {"zzzzzzzz": "there is no such setting; see the list of settings with --help"}


def test_a_rule_is_not_judged_on_an_invalid_value_of_its_own():
    assert set(problems(Inner, {"low": "many", "high": 3})) == {"low"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan", "inf", "-Infinity", True, "0.5x", [0.5], 0, 1])
def test_numbers_are_finite_numbers_within_bounds(value):
    assert set(problems(Inner, {"share": value})) == {"share"}


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), "nan", "Infinity"])
def test_numbers_are_finite_also_without_bounds(value):
    assert set(problems(Inner, {"free": value})) == {"free"}
    assert parse(Inner, {"free": -1e300}).free == -1e300


@pytest.mark.parametrize("value", [True, False, 2.5, "2.5", "two", "", None, [], 11, -1])
def test_whole_numbers_are_whole_and_no_booleans(value):
    assert set(problems(Inner, {"high": value})) == {"high"}


def test_a_boolean_as_number_is_said_plainly():
    assert problems(Inner, {"high": True}) == {"high": "a number is needed, not a yes or no"}


@pytest.mark.parametrize("value", [2, "maybe", None, 0.5])
def test_yes_or_no_takes_nothing_else(value):
    assert problems(Inner, {"loud": value})["loud"].endswith("use true or false")


def test_texts_from_flags_become_what_is_declared():
    config = parse(Inner, {"low": "2", "high": " 7 ", "share": "0.25", "loud": "true"})
    assert config == Inner(low=2, high=7, share=0.25, loud=True)
    assert parse(Inner, {"share": "none"}).share is None
    assert parse(Inner, {"share": ""}).share is None
    assert parse(Inner, {"name": "no"}).name == "no"


@pytest.mark.parametrize("data", [None, 5, "n_layer=4", [], [("low", 1)]])
def test_a_config_is_an_object_with_sections(data):
    assert "JSON object" in problems(Outer, data)[""]


@pytest.mark.parametrize("section", [None, 5, "x", [1]])
def test_a_section_that_is_none_is_refused_by_name(section):
    assert set(problems(Outer, {"inner": section, "count": 0})) == {"inner", "count"}


def test_a_long_value_is_quoted_in_short():
    assert len(problems(Inner, {"name": "y" * 10_000})["name"]) < 150


def test_configs_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Inner().low = 3


def test_specs_carry_what_was_declared_and_leave_hidden_fields_out():
    specs = {spec.path: spec for spec in Outer.specs()}
    assert list(specs) == ["inner.low", "inner.high", "inner.share", "inner.loud", "inner.name", "inner.free", "count"]
    share = specs["inner.share"]
    assert (share.kind, share.optional, share.low, share.high, share.low_open, share.default) == ("float", True, 0, 1, True, None)
    assert (share.elem_id, share.knob.none_means) == ("inner-share", "all")
    assert [specs[p].kind for p in ("inner.low", "inner.loud", "inner.name")] == ["int", "bool", "text"]


def test_nested_and_flat_are_inverse():
    tree = {"model": {"n_layer": 4, "deep": {"er": None}}, "name": "x"}
    paths = {"model.n_layer": 4, "model.deep.er": None, "name": "x"}
    assert flat(tree) == paths
    assert nested(paths) == tree


def test_nested_refuses_a_value_that_is_also_a_section():
    with pytest.raises(ConfigError, match=r"model\.n_layer: model is already set to 3"):
        nested({"model": 3, "model.n_layer": 4})


def test_differences_are_the_visible_knobs_that_differ():
    config = Outer(inner=Inner(low=2, secret=5), count=2)
    assert differences(config, Outer()) == {"inner.low": 2}
    assert differences(Outer(), Outer()) == {}
