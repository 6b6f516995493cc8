"""What the machine has, what a control group allows of it, and whom the system ends first."""

import subprocess
import sys

import pytest

from playground.system import memory

MEMINFO = "MemTotal:       2000000 kB\nMemFree:   5 kB\nMemAvailable:   1000000 kB\n"


def machine(tmp_path, cgroup, files):
    """/proc and /sys/fs/cgroup with these files."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text(MEMINFO)
    (tmp_path / "proc" / "self" / "cgroup").write_text(cgroup)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return memory.of_machine(tmp_path / "proc", tmp_path / "cgroup")


def test_memory_is_known_on_linux_and_not_made_up_elsewhere(tmp_path):
    assert memory.of_machine(tmp_path / "none") is None
    assert machine(tmp_path, "", {}) == {"total": 2_048_000_000, "available": 1_024_000_000}


STAT = "anon 1\ninactive_file 30000000\n"


@pytest.mark.parametrize(
    ("cgroup", "files"),
    [
        ("0::/a/b\n", {"a/memory.max": "500000000\n", "a/memory.current": "130000000\n", "a/memory.stat": STAT, "a/b/memory.max": "max\n"}),
        ("0::/\n", {"memory.max": "500000000\n", "memory.current": "130000000\n", "memory.stat": STAT}),
        ("0::/gone\n", {"memory.max": "500000000\n", "memory.current": "130000000\n", "memory.stat": STAT}),
        ("5:cpu:/\n4:memory:/x\n", {
            "memory/x/memory.limit_in_bytes": "500000000\n", "memory/x/memory.usage_in_bytes": "130000000\n",
            "memory/x/memory.stat": "total_inactive_file 30000000\n", "memory/memory.limit_in_bytes": str(2**63 - 4096),
            "memory/memory.usage_in_bytes": "7", "memory/memory.stat": "total_inactive_file 0\n",
        }),
    ],
)  # fmt: skip
def test_a_container_has_what_its_control_group_allows(tmp_path, cgroup, files):
    assert machine(tmp_path, cgroup, files) == {"total": 500_000_000, "available": 400_000_000}


def test_a_control_group_that_is_over_its_limit_has_nothing_left(tmp_path):
    files = {"memory.max": "100\n", "memory.current": "130000000\n", "memory.stat": STAT.replace("30000000", "0")}
    assert machine(tmp_path, "0::/\n", files) == {"total": 100, "available": 0}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
def test_a_worker_offers_itself_to_be_ended_first_and_so_do_those_it_starts():
    script = (
        "from playground.system import memory; memory.end_me_first();"
        "import subprocess; print(subprocess.check_output(['cat', '/proc/self/oom_score_adj'], text=True))"
    )
    assert int(subprocess.check_output([sys.executable, "-c", script], text=True)) == memory.OOM_SCORE


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
def test_what_a_process_holds_by_itself():
    """In a process of its own, where nothing else comes and goes."""
    script = (
        "import mmap, os; from playground.system import memory; before = memory.of_process(os.getpid());"
        "kept = mmap.mmap(-1, 50_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); kept.write(b'x' * 50_000_000);"
        "print(memory.of_process(os.getpid()) - before)"
    )
    assert 45e6 < int(subprocess.check_output([sys.executable, "-c", script], text=True)) < 60e6
    assert memory.of_process(2**22 + 1) == 0
