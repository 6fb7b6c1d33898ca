"""JSON to Postgres's text and back, as Neon's proxy writes them; and the tags of commands."""

import json
from typing import Any

import pytest

from tenantry.local.serverless.values import cell, command_of, parameter, row


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("as it is", "as it is"),
        (True, "true"),
        (12, "12"),
        (0.1, "0.1"),
        ({"a": [1, None], "ü": "x"}, '{"a":[1,null],"ü":"x"}'),
        ([], "{}"),
        ([True, None, "NULL", 42, 'b"-\\'], '{true,NULL,"NULL",42,"b\\"-\\\\"}'),
        ([[1, 2], [None, 4]], "{{1,2},{NULL,4}}"),
        ([{"foo": 1}, {"bar": "\\"}], '{"{\\"foo\\":1}","{\\"bar\\":\\"\\\\\\\\\\"}"}'),
        (["line\nbreak\t", "é"], '{"line\nbreak\t","é"}'),
    ],
)
def test_a_parameter_is_text_that_postgres_reads(value: object, text: str | None):
    assert parameter(value) == text


@pytest.mark.parametrize(
    ("oid", "text", "value"),
    [
        (16, "t", True),
        (16, "f", False),
        (21, "-7", -7),
        (20, "9007199254740993", "9007199254740993"),
        (701, "1e+300", 1e300),
        (701, "-Infinity", "-Infinity"),
        (3802, '{"a": [1, "two"]}', {"a": [1, "two"]}),
        (2950, "7f1d2c3e-0000-4000-8000-0123456789ab", "7f1d2c3e-0000-4000-8000-0123456789ab"),
        (1000, "{t,f,NULL}", [True, False, None]),
        (1007, "[0:1]={1,2}", [1, 2]),
        (1007, "{{{1},{2}},{{3},{4}}}", [[[1], [2]], [[3], [4]]]),
        (1009, "{}", []),
        (1009, '{plain,"com,ma","br}ace","","NULL","q\\"\\\\"}', ["plain", "com,ma", "br}ace", "", "NULL", 'q"\\']),
        (3807, '{"{\\"a\\": 1}",NULL}', [{"a": 1}, None]),
        (1020, "{(1,1),(0,0);(2,2),(1,1)}", ["(1,1),(0,0)", "(2,2),(1,1)"]),
        (999_999, "{a,b}", "{a,b}"),
    ],
)
def test_a_value_is_typed_json_unless_its_text_is_asked_for(oid: int, text: str, value: Any):
    assert json.loads(cell(oid, text, raw=False)) == value
    assert json.loads(cell(oid, text, raw=True)) == text
    assert cell(oid, None, raw=True) == cell(oid, None, raw=False) == "null"


def test_of_columns_of_one_name_the_last_wins_in_an_object_and_none_is_lost_in_an_array():
    names, oids, values = ["a", 'q"', "a"], [23, 25, 23], ["1", "x", "2"]

    assert json.loads(row(names, oids, values, as_array=False, raw=False)) == {"a": 2, 'q"': "x"}
    assert json.loads(row(names, oids, values, as_array=True, raw=True)) == ["1", "x", "2"]


@pytest.mark.parametrize(
    ("tag", "command"),
    [
        ("INSERT 0 3", ("INSERT", 3)),
        ("SELECT 12", ("SELECT", 12)),
        ("CREATE TABLE", ("CREATE", None)),
        ("BEGIN", ("BEGIN", None)),
        ("", ("", None)),
    ],
)
def test_a_tag_tells_the_command_and_its_rows(tag: str, command: tuple[str, int | None]):
    assert command_of(tag) == command
