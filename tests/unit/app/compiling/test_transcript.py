"""What compile.py says, read: shapes of output as release 0.0.115 gives them."""

from pathlib import Path

import pytest

from chronoserve.app.compiling.transcript import Fault, Said, Verdict, read

ROOT = Path("/repo")
PURPLE = "\x1b[34m"
END = "\x1b[0m"


def named(kind: str, team: str, name: str) -> str:
    return f"{kind + ' Team':>25} - {PURPLE}{team}{END}\n{kind + ' Name':>25} - {PURPLE}{name}{END}\n"


def traceback(text: str, *frames: str) -> str:
    return "Traceback (most recent call last):\n" + "".join(f'  File "{frame}, in <module>\n    x\n' for frame in frames) + f"{text}\n"


def test_the_question_s_line_goes_on_with_the_first_conf() -> None:
    question = "Do you want to update existing env variables in these files? [Y/n]: "
    found = read(question + named("GroupBy", "shop", "a.v1") + "Writing GroupBy to - /x/a.v1\n", 0, ROOT)
    assert found.said == [Said("group_bys/shop/a.v1", Verdict.WRITTEN)]


def test_each_verdict_belongs_to_the_conf_named_before_it() -> None:
    output = (
        named("GroupBy", "shop", "a.v1")
        + "\x1b[33mSkipping GroupBy a.v1: nobody needs it\x1b[0m\n"
        + named("GroupBy", "shop", "b.v1")
        + "\x1b[33mCannot overwrite GroupBy b.v1 with existing online conf\x1b[0m\n"
        + named("Join", "till", "c.v1")
        + f"\x1b[91m{'Could not write Join c.v1':>25} - \x1b[1mone thing, another\x1b[00m\n"
        + named("StagingQuery", "till", "d.v1")
        + "     Writing StagingQuery to - /x/d.v1\n"
    )
    assert read(output, 0, ROOT).said == [
        Said("group_bys/shop/a.v1", Verdict.SKIPPED, "nobody needs it"),
        Said("group_bys/shop/b.v1", Verdict.ONLINE),
        Said("joins/till/c.v1", Verdict.INVALID, "one thing, another"),
        Said("staging_queries/till/d.v1", Verdict.WRITTEN),
    ]


def test_files_of_a_folder_that_were_passed_over() -> None:
    output = (
        "ERROR:root:Failed to extract: /repo/group_bys/shop/a.py\nERROR:root:no\n"
        + traceback("ImportError: no", '/repo/group_bys/shop/a.py", line 3', '/env/site-packages/x.py", line 9')
        + "\nDuring handling of the above exception, another exception occurred:\n\n"
        + traceback("RuntimeError: really no", '/repo/group_bys/shop/a.py", line 5')
        + "ERROR:root:Failed to extract: /repo/group_bys/shop/b.py\nERROR:root:closed\n"
        + traceback("SyntaxError: '(' was never closed", '/repo/group_bys/shop/b.py", line 1')
    )
    found = read(output, 0, ROOT)
    assert found.unread == [
        Fault("RuntimeError: really no", Path("/repo/group_bys/shop/a.py"), "group_bys/shop/a.py:5"),
        Fault("SyntaxError: '(' was never closed", Path("/repo/group_bys/shop/b.py"), "group_bys/shop/b.py:1"),
    ]
    assert found.end is None
    assert not found.stopped


def test_an_environment_inside_of_the_repository_is_nothing_that_authors_wrote() -> None:
    frames = ('/repo/joins/shop/a.py", line 2', '/repo/.venv/lib/python3.11/site-packages/ai/chronon/join.py", line 400')
    found = read(traceback("ValueError: no", *frames), 1, ROOT)
    assert found.end == Fault("ValueError: no", where="joins/shop/a.py:2")
    assert found.stopped


def test_dependents_are_no_end() -> None:
    text = "AssertionError: You must also … Detected dependencies are as follows: ['shop.a.v1', 'shop.b.v1']"
    found = read(traceback(text), 1, ROOT)
    assert found.dependents == ("shop.a.v1", "shop.b.v1")
    assert found.end is None
    assert not found.stopped


def test_a_join_whose_parts_are_offline_was_written_and_is_invalid() -> None:
    text = "AssertionError: You must … make your join [shop.j.v1] `online`. …"
    output = named("Join", "shop", "j.v1") + "   Writing Join to - /x/j.v1\n" + traceback(text)
    found = read(output, 1, ROOT)
    assert found.said == [Said("joins/shop/j.v1", Verdict.INVALID, text)]
    assert found.stopped


@pytest.mark.parametrize(
    ("output", "text"),
    [("Usage: …\n\nError: No such option: --conf\n", "Error: No such option: --conf"), ("", "compile.py ended with 2 and said nothing")],
)
def test_an_end_without_an_exception(output: str, text: str) -> None:
    assert read(output, 2, ROOT).end == Fault(text)


def test_deprecations_are_warnings() -> None:
    assert read("\x1b[91m     Deprecation Warning: - \x1b[1mJoin part x is …\x1b[00m\n", 0, ROOT).warnings == ["Join part x is …"]
