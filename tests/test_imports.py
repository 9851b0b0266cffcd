"""The rooms stay in order: imports point downwards only, and what must never be in the source is not there."""

import ast
import sys
from pathlib import Path

import pytest

import expunge

ROOT = Path(expunge.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in FILES}
ROOMS = (
    "cli",
    "tuning",
    "bench",
    "report",
    "gan",
    "audit",
    "runs",
    "methods",
    "attribution",
    "problem",
    "fleet",
    "training",
    "models",
    "data",
    "store",
    "tasks",
    "seeds",
    "folder",
    "errors",
)
"""From top to bottom."""
UNPICKLER = "data/cifar.py"
"""Reads one published data set with an unpickler that refuses every name and calls nothing."""


def room(file):
    """The room that a file of the package lies in."""
    return file.partition("/")[0].removesuffix(".py")


def imported(tree):
    """Dotted names of every module that is imported, anywhere in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inner(file):
    """The parts behind `expunge.` of every import of our own."""
    return [name.split(".")[1:] for name in imported(TREES[file]) if name.startswith("expunge.")]


def outer(file):
    """Packages from elsewhere that a file imports."""
    tops = {name.partition(".")[0] for name in imported(TREES[file])}
    return tops - set(sys.stdlib_module_names) - {"expunge"}


def dotted(node):
    """`a.b.c` of an attribute chain, else empty."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


def calls(file):
    return [(dotted(node.func), node) for node in ast.walk(TREES[file]) if isinstance(node, ast.Call)]


INSIDE = [file for file in TREES if file not in ("__init__.py", "__main__.py")]


def test_every_file_lies_in_a_room_that_has_a_place():
    assert {room(file) for file in INSIDE} <= set(ROOMS)
    assert len(INSIDE) > 80


@pytest.mark.parametrize("file", INSIDE)
def test_imports_point_downwards(file):
    mine = ROOMS.index(room(file))
    upwards = [parts[0] for parts in inner(file) if parts[0] in ROOMS and ROOMS.index(parts[0]) < mine]
    assert upwards == []


@pytest.mark.parametrize("room_name", ["audit", "report"])
def test_measures_and_pages_know_nothing_but_arrays_and_errors(room_name):
    for file in INSIDE:
        if room(file) == room_name:
            assert {parts[0] for parts in inner(file)} <= {room_name, "errors"}, file
            assert "torch" not in outer(file), file


def test_measures_use_numpy_and_scipy_alone():
    assert set.union(*(outer(file) for file in INSIDE if room(file) == "audit")) <= {"numpy", "scipy", "sklearn"}


METHOD_FILES = {
    file: [node.name for node in TREES[file].body if isinstance(node, ast.ClassDef)]
    for file in INSIDE
    if room(file) == "methods"
}
METHODS = {
    Path(file).stem
    for file, names in METHOD_FILES.items()
    if any(name.lower() == Path(file).stem.replace("_", "") for name in names) and Path(file).stem != "method"
}


def test_methods_are_recognised():
    assert {"scrub", "neggrad_plus", "retrain"} <= METHODS
    assert not METHODS & {"method", "layers", "importance", "objectives"}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_imports_no_other_method_and_no_judge(name):
    seen = inner(f"methods/{name}.py")
    others = [parts[1] for parts in seen if parts[0] == "methods" and len(parts) > 1 and parts[1] in METHODS]
    assert others == []
    assert not {parts[0] for parts in seen} & {"audit", "cli", "report", "bench", "fleet", "runs", "store"}


@pytest.mark.parametrize("file", sorted(TREES))
def test_no_global_random_state(file):
    for name, node in calls(file):
        assert not name.endswith(".seed"), f"{file}:{node.lineno} seeds a global generator"
        # `torch.Generator().manual_seed(...)` has no dotted name: it seeds a generator of its own
        assert not name.endswith(("manual_seed", "manual_seed_all")), f"{file}:{node.lineno}"
        if name.startswith(("np.random.", "numpy.random.")):
            assert name.endswith((".default_rng", ".Generator")), (
                f"{file}:{node.lineno} draws from NumPy's global state"
            )
        if name == "np.random.default_rng":
            assert node.args, f"{file}:{node.lineno} is seeded by the clock"
    assert "random" not in set(imported(TREES[file])), f"{file} imports Python's random"


DRAWS = {"rand", "randn", "randint", "randperm", "bernoulli", "multinomial", "normal"}


@pytest.mark.parametrize("file", [file for file in INSIDE if room(file) != "models"])
def test_every_draw_names_its_generator(file):
    for name, node in calls(file):
        module, _, draw = name.rpartition(".")
        if module == "torch" and draw in DRAWS:
            assert "generator" in {keyword.arg for keyword in node.keywords}, f"{file}:{node.lineno}"


@pytest.mark.parametrize("file", sorted(TREES))
def test_nothing_is_unpickled_or_evaluated(file):
    pickles = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    tops = {name.partition(".")[0] for name in imported(TREES[file])}
    assert file == UNPICKLER or not tops & pickles
    for name, node in calls(file):
        where = f"{file}:{node.lineno}"
        assert name not in ("eval", "exec", "compile", "__import__"), where
        assert not name.startswith(("torch.load", "torch.serialization", "torch.jit.load")), where
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        if name in ("np.load", "numpy.load"):
            assert isinstance(keywords.get("allow_pickle"), ast.Constant), where
            assert keywords["allow_pickle"].value is False, where


def test_the_unpickler_uses_pickle_for_its_base_class_alone():
    uses = [dotted(node) for node in ast.walk(TREES[UNPICKLER]) if isinstance(node, ast.Attribute)]
    assert [name for name in uses if name.startswith("pickle.")] == ["pickle.Unpickler"]


def test_every_public_name_exists():
    assert [name for name in expunge.__all__ if not hasattr(expunge, name)] == []


def test_every_imported_name_is_public():
    imports = [node for node in TREES["__init__.py"].body if isinstance(node, ast.ImportFrom)]
    assert sorted(alias.asname or alias.name for node in imports for alias in node.names) == expunge.__all__


def test_public_functions_are_not_hidden_by_modules_of_the_same_name():
    import expunge.audit.klom
    import expunge.data.forget
    import expunge.training.fit

    assert all(callable(function) for function in (expunge.audit, expunge.forget, expunge.fit, expunge.recipe))


@pytest.mark.parametrize("file", [file for file in TREES if file.endswith("__init__.py") and file != "__init__.py"])
def test_each_rooms_list_of_names_is_sorted_and_true(file):
    lists = [node for node in TREES[file].body if isinstance(node, ast.Assign) and dotted(node.targets[0]) == "__all__"]
    if lists:
        names = ast.literal_eval(lists[0].value)
        bound = {
            alias.asname or alias.name
            for node in ast.walk(TREES[file])
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        made = {node.name for node in TREES[file].body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        made |= {dotted(node.targets[0]) for node in TREES[file].body if isinstance(node, ast.Assign)}
        made |= {dotted(node.target) for node in TREES[file].body if isinstance(node, ast.AnnAssign)}
        assert len(set(names)) == len(names)
        assert set(names) <= bound | made
    assert TREES[file].body, "a room says what it is"
