"""Names: one class or type alias for each name in the package, and none of them again in the tests."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "codegen_lsp"
TESTS = ROOT / "tests"


def names(tree: ast.Module) -> Iterator[str]:
    """The classes of a module at any depth, and the type aliases at its top.

    An alias is an assignment to a capitalized name: `Level = Literal["low", "high"]`. A name in capitals is a constant.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
            yield from (name for name in targets if re.fullmatch(r"[A-Z]\w*[a-z]\w*", name))
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
            yield ast.unparse(node.target)


def modules_by_name(folder: Path) -> dict[str, list[str]]:
    """Where each class and type alias of a folder is defined."""
    places = defaultdict(list)
    for path in sorted(folder.rglob("*.py")):
        for name in names(ast.parse(path.read_text(encoding="utf-8"))):
            places[name].append(str(path.relative_to(ROOT)))
    return places


def test_no_class_or_type_alias_has_the_name_of_another() -> None:
    assert {name: places for name, places in modules_by_name(PACKAGE).items() if len(places) > 1} == {}


def test_no_class_or_type_alias_of_the_tests_has_a_name_of_the_package() -> None:
    package = modules_by_name(PACKAGE)
    assert {name: places for name, places in modules_by_name(TESTS).items() if name in package} == {}


def test_no_import_is_renamed_to_a_private_name_of_its_own() -> None:
    """`as np` is a convention of the field, `as features_module` tells two things apart; `as _name` does neither."""
    dodged = [
        f"{path.relative_to(ROOT)}: {alias.name} as {alias.asname}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if alias.asname is not None and alias.asname.startswith("_")
    ]
    assert dodged == []
