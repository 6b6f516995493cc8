"""How the house is laid out: who may import whom, what lies where, and what nobody does."""

import ast
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*ROOT.glob("models/**/*.py"), *ROOT.glob("playground/**/*.py"), *ROOT.glob("app.py")])
NAMES = [path.relative_to(ROOT).as_posix() for path in FILES]


def imports_of(source: str, package: str) -> set[str]:
    """Dotted names of all modules that a source imports, wherever in it; relative ones resolved."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: -node.level + 1 or None]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("import_module", "__import__"):
            found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return found


IMPORTS = {
    name: imports_of(path.read_text(), ".".join(path.relative_to(ROOT).parent.parts)) for name, path in zip(NAMES, FILES, strict=True)
}


def importers(*modules: str, among: str = "") -> set[str]:
    """The files under `among` that import any of the modules or something inside them."""
    return {
        name
        for name, imported in IMPORTS.items()
        if name.startswith(among) and any(i == module or i.startswith(module + ".") for i in imported for module in modules)
    }


def test_imports_are_found_in_every_form():
    source = "import a.b, c\nfrom d import e\ndef f():\n    from . import g\n    from ..h import i\n    importlib.import_module('j')\n"
    assert imports_of(source, "x.y") == {"a.b", "c", "d", "d.e", "x.y", "x.y.g", "x.h", "x.h.i", "j"}


# The floors, from the ground up: a room imports only rooms that stand before it here.
ROOMS = ("models", "system", "data", "config", "inside", "training", "runs", "workers", "web", "ui", "bench", "cli")


def room_of(name: str) -> str:
    """`playground/runs/store.py` and `playground.runs.store` -> `runs`; "" for what lies in no room, such as `__main__`."""
    parts = re.split("[./]", name.removesuffix(".py"))
    return "models" if parts[0] == "models" else parts[1] if parts[0] == "playground" and parts[1:2] and parts[1] in ROOMS else ""


def arrows() -> dict[tuple[str, str], set[str]]:
    """The imports that cross from one room to another, with the files that make them."""
    found: dict[tuple[str, str], set[str]] = {}
    for name, imported in IMPORTS.items():
        for module in imported:
            ends = room_of(name), room_of(module)
            if all(ends) and ends[0] != ends[1]:
                found.setdefault(ends, set()).add(name)
    return found


def test_there_is_something_to_check():
    assert {"models/gpt.py", "playground/runs/store.py", "playground/training/loop.py"} <= set(NAMES)
    assert importers("torch", among="models/") >= {"models/gpt.py"}
    assert {room_of(name) for name in NAMES} - {""} == set(ROOMS)
    assert {("ui", "web"), ("training", "models"), ("workers", "runs")} <= arrows().keys()


def test_a_room_imports_only_rooms_below_it():
    wrong = {ends: files for ends, files in arrows().items() if ROOMS.index(ends[1]) > ROOMS.index(ends[0])}
    assert wrong == {}


def test_nothing_but_the_entry_points_stands_outside_the_rooms():
    assert {name for name in NAMES if not room_of(name)} == {"app.py", "playground/__init__.py", "playground/__main__.py"}


def test_no_circle_of_imports():
    """Between files too, also where an import is made only for a type or inside a function."""
    modules = {name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): name for name in NAMES}
    needs = {
        module: {found for found in IMPORTS[name] if found in modules and not module.startswith(found + ".")} - {module}
        for module, name in modules.items()
    }
    while free := [module for module, needed in needs.items() if not needed & needs.keys()]:
        for module in free:
            del needs[module]
    assert needs == {}


def test_only_the_store_speaks_sql():
    assert importers("sqlite3", "sqlalchemy", "apsw") == {"playground/runs/store.py"}


def test_only_the_page_knows_gradio():
    assert {name for name in importers("gradio", "gradio_client") if not name.startswith("playground/ui/") and name != "app.py"} == set()


@pytest.mark.parametrize("room", ["models", "data", "config", "inside", "training"])
def test_what_trains_knows_no_process_and_no_network(room):
    outside = ["subprocess", "multiprocessing", "signal", "socket", "starlette"]
    assert importers(*outside, among="models/" if room == "models" else f"playground/{room}/") == set()


def test_plots_never_read_the_store():
    below = ["runs", "workers", "training"]
    assert importers("torch", *(f"playground.{room}" for room in below), among="playground/web/plots.py") == set()


# The files that import torch as they are imported; all others wait until they need it.
WITH_TORCH = (
    "playground.training",
    "playground.data.batches",
    "playground.inside.measures",
    "playground.inside.reading",
    "playground.inside.moving",
    "playground.inside.ablation",
    "playground.inside.patching",
    "playground.inside.hooks",
)


def test_the_processes_around_training_do_not_wait_for_torch():
    """The page, the command line, the supervisor and the worker import torch only when they need it; one process tries all."""
    modules = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in NAMES if name.startswith("playground/")]
    modules = [module for module in modules if not module.startswith(WITH_TORCH)]
    code = "import sys, importlib\nfor name in sys.argv[1:]:\n importlib.import_module(name)\n assert 'torch' not in sys.modules, name"
    done = subprocess.run([sys.executable, "-c", code, *modules], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_is_ever_pickled():
    assert importers("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal") == set()
    for name, path in zip(NAMES, FILES, strict=True):
        calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
        assert not calls & {"torch.load", "torch.save", "np.load", "np.save", "pandas.read_pickle"}, name


def test_every_module_says_what_it_is_for():
    trees = {name: ast.parse(path.read_text()) for name, path in zip(NAMES, FILES, strict=True)}
    assert [name for name, tree in trees.items() if tree.body and not ast.get_docstring(tree)] == []


# How the names of checkpoints and probes are spelt: a step of six digits, an ending, a pattern for both, a folder.
SPELT = re.compile(r"06d|(?:^|\*|\])\.(?:state\.)?safetensors$|\[0-9\].*\.json$|^\*\.json$|^(?:checkpoints|probes)/")
BESIDE = [path for path in [*ROOT.glob("tests/*.py"), *ROOT.glob("tests/soak/*.py")] if not path.name.startswith("test_")]


def spelt(source: str) -> list[str]:
    """The texts in a source that build or match such a name, docstrings left out."""
    tree = ast.parse(source)
    said = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in said]
    parts = [node.right for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)]
    folders = [node for node in parts if isinstance(node, ast.Constant) and node.value in ("checkpoints", "probes")]
    return [node.value for node in texts if node in folders or SPELT.search(node.value)]


def test_the_names_of_checkpoints_and_probes_are_spelt_in_one_file():
    """Product and campaigns; the tests know them by heart, so that a change is noticed."""
    found = {path.relative_to(ROOT).as_posix(): spelt(path.read_text()) for path in [*FILES, *BESIDE]}
    assert set(found.pop("playground/training/paths.py")) >= {"checkpoints", "probes", "06d", ".safetensors", ".state.safetensors"}
    assert {name: texts for name, texts in found.items() if texts} == {}


@pytest.mark.parametrize(
    "source",
    [
        'folder / f"{step:06d}.json"', 'f"{step:06d}"', 'folder.glob("[0-9]*.json")', 'folder.glob("*.json")',
        'folder.rglob("*.safetensors")', 'info.with_suffix(".safetensors")', 'folder / "checkpoints" / name',
        'folder.glob("probes/*/[0-9]*.safetensors")', 'f"{step}.state.safetensors"',
    ],
)  # fmt: skip
def test_a_name_of_a_checkpoint_or_probe_is_noticed(source):
    assert spelt(source) and not spelt('"""`NNNNNN.safetensors`"""\nshares["checkpoints"], "model.safetensors", "config.json"')


def plain(name: str) -> str:
    """A package's name without its versions and extras, written one way."""
    return re.split(r"[^\w.-]", name.strip(), maxsplit=1)[0].lower().replace("_", "-")


def test_every_library_that_is_imported_is_required_and_every_one_required_imported():
    """`transformers` and `playwright` are for those who have them; `httpx2` and `pydantic_core` come with what talks or checks by them."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    required = {plain(line): line for line in lines if line and not line.startswith("#")}
    assert all(re.fullmatch(r"[\w-]+==[\d.]+ +# .{10,}", line) for line in required.values())
    comes_with = {"httpx2": "huggingface-hub", "pydantic-core": "pydantic"}
    for name, parent in comes_with.items():
        assert name in {plain(need) for need in metadata.requires(parent)}, name
    own = {"models", "playground", "app", *sys.stdlib_module_names}
    imported = {module.split(".")[0] for modules in IMPORTS.values() for module in modules} - own
    assert {plain(module) for module in imported} - comes_with.keys() - {"transformers", "playwright"} == required.keys()
    for name, line in required.items():
        assert f"=={metadata.version(name).split('+')[0]} " in line


def test_the_readme_names_every_setting():
    code = (ROOT / "playground/config/settings.py").read_text()
    from playground.config.settings import LIMITS

    said = set(re.findall(r"^\| `(PLAYGROUND_\w+)`", (ROOT / "playground/README.md").read_text(), re.M))
    read = {f"PLAYGROUND_{name.upper()}" for name in LIMITS} | set(re.findall(r"PLAYGROUND_[A-Z_]*[A-Z]", code))
    assert said == read


def test_each_room_has_a_readme_of_at_most_fifteen_lines():
    """What is in it, what it refuses to know, where to begin; measurements, limits and the table of knobs come after, under headings."""
    for room in (ROOT / "models", *(ROOT / "playground" / room for room in ROOMS[1:]), ROOT / "tests/soak"):
        text = (room / "README.md").read_text()
        intro = re.split("(?m)^## ", text)[0].rstrip().splitlines()
        assert 5 <= len(intro) <= 15 and intro[0].startswith(f"# {room.name}: "), room
        for name in re.findall(r"`([\w/]+\.py)`", text):
            assert (room / name).exists() or (ROOT / "playground" / name).exists() or (ROOT / name).exists(), (room.name, name)


def test_links_between_readmes_lead_somewhere():
    for path in (ROOT / name for name in tracked() if name.endswith(".md")):
        for file, heading in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", path.read_text()):
            target = path.parent / file if file else path
            assert target.exists(), (path, file)
            lines = target.read_text().splitlines() if heading else []
            anchors = {re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in lines if line.startswith("#")}
            assert not heading or heading in anchors, (path, heading)


def tracked() -> list[str]:
    """Files that git knows, where this is a checkout; else skip."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return done.stdout.splitlines()


def test_the_top_level_is_as_laid_out():
    allowed = {"app.py", "playground", "models", "assets", "tests", "requirements.txt", "README.md", "LICENSE", "pyproject.toml"}
    assert {name.split("/")[0] for name in tracked() if not name.startswith(".")} <= allowed


def test_tests_have_no_packages_and_no_two_of_one_name():
    """A package tests/models would shadow `models`."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_tests_lean_on_nothing_outside_the_house():
    for path in (ROOT / "tests").rglob("*.py"):
        if path != Path(__file__):
            assert "shared/" not in path.read_text(), path
