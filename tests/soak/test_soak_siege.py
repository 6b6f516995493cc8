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
    worth, folders, streams, rows, people, larger, renamed = (each["answers"] for each in found["attacks"])
    assert sum(worth.values()) == 45 and set(worth) <= {"200", "503"} and folders == {"200": 8} and streams == {"200": 20}
    assert rows == {"200": 9} and people["refused"] > 0 and larger == {"refused": 1} and not {"200", "500"} & renamed.keys()
