"""The names of checkpoints and probes: what is built is read back, and nothing else is taken for one."""

from playground.training import paths


def test_names_are_those_of_the_contract(tmp_path):
    folder, probes = paths.checkpoints(tmp_path), paths.probes(tmp_path)
    made = [paths.weights(folder, 7), paths.state(folder, 40), paths.info(folder, 1_234_567), paths.probe(probes, "abc", 20)]
    assert [path.relative_to(tmp_path).as_posix() for path in made] == [
        "checkpoints/000007.safetensors", "checkpoints/000040.state.safetensors", "checkpoints/1234567.json",
        "probes/abc/000020.safetensors",
    ]  # fmt: skip


def test_what_is_built_is_read_back(tmp_path):
    folder, probes = paths.checkpoints(tmp_path), paths.probes(tmp_path)
    folder.mkdir()
    for text_hash in ("abc", "def"):
        (probes / text_hash).mkdir(parents=True)
    steps = [0, 999_999, 1_000_000, 12_345_678]
    for step in steps:
        for path in (paths.weights(folder, step), paths.state(folder, step), paths.info(folder, step), paths.probe(probes, "abc", step)):
            path.touch()
    paths.probe(probes, "def", 3).touch()
    assert paths.checkpoint_steps(folder) == paths.probe_steps(probes, "abc") == steps, "by number, not by letter"
    written = [(step, path) for step in steps for path in (paths.weights(folder, step), paths.state(folder, step))]
    assert sorted(written) == paths.tensor_files(folder)
    assert sorted(paths.all_probes(probes)) == [
        *(("abc", step, paths.probe(probes, "abc", step)) for step in steps), ("def", 3, paths.probe(probes, "def", 3))
    ]  # fmt: skip


def test_a_checkpoint_without_its_json_does_not_exist(tmp_path):
    paths.weights(tmp_path, 5).touch()
    paths.state(tmp_path, 5).touch()
    assert paths.checkpoint_steps(tmp_path) == [] and {step for step, _ in paths.tensor_files(tmp_path)} == {5}


def test_files_of_other_names_are_nobodys(tmp_path):
    (tmp_path / "text").mkdir()
    for folder in (tmp_path, tmp_path / "text"):
        for name in (".000001.json.x.unfinished", "1.json", "000001x.json", "x000001.safetensors", "000001.safetensors.part", "notes.json"):
            (folder / name).touch()
    (tmp_path / "elsewhere").symlink_to(tmp_path / "text")
    assert paths.checkpoint_steps(tmp_path) == paths.tensor_files(tmp_path) == paths.all_probes(tmp_path) == []


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    gone = tmp_path / "gone"
    assert paths.checkpoint_steps(gone) == paths.tensor_files(gone) == paths.probe_steps(gone, "x") == paths.all_probes(gone) == []
