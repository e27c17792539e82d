"""Every planted defect still fits the tree; `make defects` plants them and runs their tests."""

from collections import Counter

from defects.plant import Defect, find_problems, read_defects


def test_each_defect_can_be_planted_and_its_tests_exist() -> None:
    defects = read_defects()
    found = {defect.name: find_problems(defect) for defect in defects}
    assert {name: problems for name, problems in found.items() if problems} == {}
    assert [name for name, count in Counter(d.name for d in defects).items() if count > 1] == []


def test_what_does_not_fit_is_told() -> None:
    stale = Defect("stale", "", "Makefile", "no such text", "x", ("tests/no_file.py::test_a",))
    assert find_problems(stale) == [
        "`find` occurs 0 times in Makefile, not once",
        "test tests/no_file.py::test_a does not exist",
    ]
