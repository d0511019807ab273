import numpy as np
import pytest

from pipelines.errors import BadInput
from pipelines.labels import LabelNames, names_of, numbered, numbers_of, texts_of, told_of_nobody


def test_whole_numbers_are_their_own():
    assert numbers_of(["7", "0012", "3.0"], "an identity") == {"7": 7, "0012": 12, "3.0": 3}


def test_names_are_numbered_in_sorted_order_and_underscores_are_no_separators():
    assert numbers_of(["11_1", "1_11", "b"], "an identity") == {"11_1": 0, "1_11": 1, "b": 2}


def test_names_that_may_mean_nobody_are_told():
    (said,) = told_of_nobody(["anna", "Junk_images", "junker"])
    assert said.startswith("'Junk_images' is read as the name of one person") and "-1" in said


@pytest.mark.parametrize("junk", ["-1", "-1.0", "00-1", "-7"])
def test_a_negative_number_is_junk_beside_numbers_and_beside_names(junk):
    assert numbers_of([junk, "4"], "an identity") == {junk: -1, "4": 4}
    assert numbers_of([junk, "anna"], "an identity") == {junk: -1, "anna": 0}
    assert names_of(numbers_of([junk, "bob", "anna"], "an identity")) == ("anna", "bob")
    assert names_of(numbers_of([junk, "4"], "an identity")) == ()


ODD = [
    "1.5",
    "nan",
    "inf",
    "1e3",
    "+4",
    ".5",
    "9" * 20,
    "1,0",
    "\u22121",
    "\u20132",
    "\uff11",
    "\u0661",
]


@pytest.mark.parametrize("odd", [*ODD, "None", "NULL", "<NA>", "NaT"])
@pytest.mark.parametrize("beside", ["1", "anna"])
def test_what_is_neither_a_whole_number_nor_a_name_is_refused(odd, beside):
    with pytest.raises(BadInput, match="an identity is .*; a whole number or a name is wanted"):
        numbers_of([beside, odd], "an identity")


def test_arrays_of_text():
    texts = texts_of(np.array([b" b", b"a ", b"b"]))
    assert texts.tolist() == ["b", "a", "b"]
    assert numbered(texts, {"a": 5, "b": 9}).tolist() == [9, 5, 9]
    assert texts_of(np.array([1, 2])) is None


def test_cameras_are_asked_for_where_some_are_known():
    assert LabelNames().camera_number("7") == 7 and LabelNames().camera_number(-1) == -1
    assert LabelNames(camids=("door", "hall")).camera_number("hall") == 1
    assert LabelNames().camera_number("-1", known=False) == -1
    with pytest.raises(BadInput, match="'cam1' is not in the gallery; its cameras are numbers"):
        LabelNames().camera_number("cam1")
    for given in ("cam1", 1):
        with pytest.raises(BadInput) as caught:
            LabelNames().camera_number(given, known=False, option="--camid")
        assert str(caught.value) == (
            f"no cameras are known in this gallery, '{given}' neither; leave --camid out"
        )
