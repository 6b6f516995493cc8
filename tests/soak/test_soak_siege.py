"""A short run of `soak siege` against the real app."""

import json

import pytest

from tests.patience import LONGEST_S


@pytest.mark.slow  # the mechanisms have quick tests of their own; this is the app as a whole, for a minute or two
def test_one_visitor_who_asks_for_everything_does_not_stop_the_others(run_python):
    process = run_python("-m", "tests.soak", "siege", "--crowd", "45", "--width", "36", "--rows", "20000", "--json")
    out, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 0, out + err
    found = json.loads(out)
    assert found["violations"] == []
    answers = {each["attack"]: each["answers"] for each in found["attacks"]}
    for crowd in ("worth of parts", "changed tokens", "parts one by one", "texts of all kinds"):
        assert sum(answers[crowd].values()) == 45 and set(answers[crowd]) <= {"200", "503"}, crowd
    assert sum(answers["folders"].values()) == 8 and set(answers["folders"]) <= {"200", "503"}
    assert answers["streams that nobody reads"] == {"200": 20}
    assert sum(answers["data of all kinds"].values()) == 45 and answers["data of all kinds"]["refused"] > 20
    assert answers["a run of 20,000 rows"] == {"200": 9} and answers["guesses of the host's token"] == {"403": 100}
    assert answers["texts without end"]["kept"] == 5 and answers["invented people"]["refused"] > 0
    assert answers["a run larger than the machine"] == {"refused": 1}
    assert not {"200", "500"} & answers["another name for this server"].keys()
