"""Workers keep to the cores they were given, and those are the ones that fewest others have."""

import os
import sys
from pathlib import Path

import pytest

from playground.runs import store
from playground.system import cores
from tests.patience import LONGEST_S

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process choose its cores")


def test_the_least_taken_cores_are_chosen():
    assert cores.choose(2, [], [0, 1, 2, 3]) == [0, 1]
    assert cores.choose(2, [[0, 1]], [0, 1, 2, 3]) == [2, 3]
    assert cores.choose(1, [[0, 1], [1]], [0, 1]) == [0]
    assert cores.choose(3, [[0]], [0, 1]) == [0, 1], "no more than there are"
    assert cores.choose(0, [], [4, 7]) == [4], "at least one"
    assert cores.choose(2, [[0]], []) == [], "nobody knows"


@LINUX
def test_all_threads_of_a_process_are_pinned_and_what_is_not_there_is_no_matter(run_python):
    code = (
        "import os, threading, time\nfrom playground.system import cores\n"
        "thread = threading.Thread(target=time.sleep, args=(30,), daemon=True); thread.start()\n"
        "before = os.sched_getaffinity(0)\ncores.pin([]); cores.pin([999]); assert os.sched_getaffinity(0) == before\n"
        "cores.pin([min(before)])\nprint(*[len(os.sched_getaffinity(int(t))) for t in os.listdir('/proc/self/task')])"
    )
    out, err = run_python("-c", code).communicate(timeout=LONGEST_S)
    assert out.split() == ["1", "1"], err


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this system has no autogroups")
@pytest.mark.parametrize(("own_session", "group"), [(True, "nice 7"), (False, "nice 0")])
def test_a_session_of_its_own_yields_as_a_whole_and_no_other_session_is_touched(run_python, own_session, group):
    code = (
        "import os\nfrom pathlib import Path\nfrom playground.system import cores\n"
        "cores.yield_to_others(7)\nprint(os.nice(0), Path('/proc/self/autogroup').read_text())"
    )
    inside = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    out, err = run_python("-c", code if own_session else inside, start_new_session=True).communicate(timeout=LONGEST_S)
    assert out.startswith("7 ") and out.strip().endswith(group), out + err


@LINUX
@pytest.mark.skipif(len(cores.available()) < 2, reason="there is but one core")
def test_two_runs_train_on_cores_of_their_own(tmp_path, open_house, endless):
    from playground.runs.access import HOST

    house = open_house(tmp_path, max_running=2)
    try:
        runs = [house.supervisor.submit(endless(), HOST) for _ in range(2)]
        for run_id in runs:
            house.wait(run_id, store.RUNNING)
        first, second = (os.sched_getaffinity(house.pids(run_id)[-1]) for run_id in runs)
        assert len(first) == len(second) == 1 and first != second
    finally:
        house.close()
