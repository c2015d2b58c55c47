"""Values that users write: each kind of value has one parser, which accepts the meant value and nothing else."""

import pickle

import numpy as np
import pytest

from gsbench import values
from gsbench.values import LARGEST, Range, SettingError, whole

FAR = "9" * 400
# Python's own int and float accept all of these except the last.
SLIPS = ["1_0", "１０", "٣", "\u2003" + "5"]
NO_NUMBERS = ["", " ", "five", "0x10", "1,", "--1", "+-1", "1e", "nan", "inf", "-Infinity", "1 0", "5\n"]
NO_NUMBERS += ["\0", "1\udcff"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ("0010", 10), ("+5", 5), ("-3", -3), (" 5\t", 5), ("-0", 0), (str(LARGEST), LARGEST)],
)
def test_integers(text, value):
    found = whole().read(text)
    assert (found, type(found)) == (value, int)


@pytest.mark.parametrize(
    "text",
    [*SLIPS, *NO_NUMBERS, "1.0", "1e3", "9" * 19, FAR, "-" + FAR, "9" * 5000],
    ids=values.shown,
)
def test_text_that_is_no_integer_is_refused(text):
    with pytest.raises(ValueError, match=r"^must be an integer.*, got "):
        whole().read(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5.0), (".5", 0.5), ("5.", 5.0), ("1e-3", 0.001), ("-2.5E+2", -250.0), (" 1 ", 1.0), ("1e-320", 1e-320)],
)
def test_numbers(text, value):
    found = values.number(text)
    assert (found, type(found)) == (value, float)


def test_a_negative_zero_is_zero():
    assert str(values.number("-0")) == "0.0"  # runs of one recipe have one name


@pytest.mark.parametrize(
    "text",
    [*SLIPS, *NO_NUMBERS, "1e400", "-1e400", FAR, "1.2.3", "0x1p3", "1e1_0"],
    ids=values.shown,
)
def test_text_that_is_no_finite_number_is_refused(text):
    with pytest.raises(ValueError, match=r"^must be a finite number, got "):
        values.number(text)


@pytest.mark.parametrize(
    ("allowed", "inside", "outside", "words"),
    [
        (whole(2), ["2", "7"], ["1", "-5"], "an integer >= 2"),
        (whole(0, 27), ["0", "27"], ["-1", "28"], "an integer >= 0 and <= 27"),
        (Range(above=0), ["1e-300", "1e300"], ["0", "-0", "-1"], "a finite number > 0"),
        (Range(above=0, most=1), ["1", "0.5"], ["0", "1.001"], "a number > 0 and <= 1"),
        (Range(least=0, below=1), ["0", "0.999"], ["1", "-1e-9"], "a number >= 0 and < 1"),
        (values.SECONDS, ["0.1", "1e9"], ["0", "-5", "nan", "1e10"], "a number > 0 and <= 1000000000"),
        (values.SEED, ["0", str(LARGEST)], ["-1", "1.5"], "an integer >= 0"),
    ],
)
def test_ranges_as_text_and_as_values(allowed, inside, outside, words):
    for text in inside:
        allowed.check("x", allowed.read(text))
    for text in outside:
        with pytest.raises(ValueError, match=rf"^must be {words}, got '{text}'$"):
            allowed.read(text)
        with pytest.raises(SettingError, match=r"^x must be "):
            allowed.check("x", float(text) if not allowed.whole else int(text) if "." not in text else float(text))


@pytest.mark.parametrize(
    ("allowed", "value", "message"),
    [
        (whole(2), 1, "n must be >= 2, got 1"),
        (whole(2), 2.0, "n must be an integer >= 2, got 2.0"),
        (whole(2), True, "n must be an integer >= 2, got True"),
        (whole(2), "5", "n must be an integer >= 2, got '5'"),
        (whole(2), 2**63, f"n must be >= 2 and <= {LARGEST}, got {2**63}"),
        (whole(), -(10**400), f"n must be >= -{LARGEST}, got -1000"),
        (whole(2), None, "n must be an integer >= 2, got None"),
        (Range(above=0), float("inf"), "n must be > 0 and finite, got inf"),
        (Range(above=0), float("nan"), "n must be > 0 and finite, got nan"),
        (Range(above=0), 10**400, f"n must be > 0 and <= {LARGEST}, got 1000"),
        (Range(), "x", "n must be a finite number, got 'x'"),
    ],
)
def test_the_error_of_a_bad_value_says_what_is_wrong(allowed, value, message):
    with pytest.raises(SettingError) as error:
        allowed.check("n", value)
    assert str(error.value).startswith(message)


def test_an_integer_that_python_does_not_write_is_refused_too():
    with pytest.raises(SettingError, match=r"got an integer of more than 4,300 digits$"):
        whole(2).check("n", 10**5000)


def test_numbers_of_numpy_are_numbers():
    assert np.int32(2) in whole(2)
    assert np.int32(1) not in whole(2)
    assert np.float32(0.5) in Range(above=0)
    whole(2).check("n", None, or_none=True)  # raises nothing


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GiB", 2**33), ("500MB", 5 * 10**8), ("1.5 gb", 15 * 10**8), (" 8000000000 ", 8 * 10**9), (".5GB", 5 * 10**8)],
)
def test_sizes(text, size):
    assert values.byte_count(text) == size


@pytest.mark.parametrize(
    "text", ["", "8 apples", "3", "1_0GB", "１GB", "-8GiB", "nanGB", "1e3GB", FAR, FAR + "TB", "9999999TiB", "8GiB\0"],
    ids=values.shown,
)
def test_text_that_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match=r"^must be a size of at least 1MB.*such as 500MB, 8GiB or 8000000000, got "):
        values.byte_count(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a, b", ["a", "b"]),
        ("a(b=1,c=2),d", ["a(b=1,c=2)", "d"]),
        ("a,", ["a", ""]),
        ("", [""]),
        ("a),b", ["a)", "b"]),
        ("((a,b),c),d", ["((a,b),c)", "d"]),
    ],
)
def test_parts_of_a_list(text, found):
    assert values.parts(text) == found


def test_a_long_list_takes_no_long_time():
    assert len(values.parts("a(," * 100_000)) == 1  # a regular expression would take minutes


def test_a_list_of_integers_is_sorted_and_has_each_once():
    assert values.integers("class counts", 2, "10,50")(" 50, 10,50") == (10, 50)


@pytest.mark.parametrize(
    "text",
    ["", "10,", ",10", "10,,20", "1", "ten", "10;20", "1_0", "１０", FAR, "10,20.0"],
    ids=values.shown,
)
def test_a_list_with_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=r"^class counts are integers >= 2.* such as 10,50, got "):
        values.integers("class counts", 2, "10,50")(text)


def test_only_known_names_are_accepted():
    known = {"glyphs": 1, "mnist": 2, "fashion-mnist": 3}
    assert values.name("data set", known)(" mnist ") == "mnist"
    assert values.names("data set", known)("mnist,glyphs,mnist") == ("mnist", "glyphs")
    with pytest.raises(ValueError, match=r"^unknown data set ''; known: glyphs, mnist, fashion-mnist$"):
        values.names("data set", known)("mnist,")


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("minst", "; did you mean 'mnist'?"),
        ("MNIST", "; did you mean 'mnist'?"),
        ("fashion_mnist", "; did you mean 'fashion-mnist'?"),
        ("letters", ""),
        ("", ""),
        ("m" * 100_000, ""),
        (7, ""),
    ],
    ids=values.shown,
)
def test_a_wrong_name_is_told_the_one_that_is_meant(name, close):
    told = values.not_known(name, ["glyphs", "mnist", "fashion-mnist"])
    assert told == f"{values.shown(name)}; known: glyphs, mnist, fashion-mnist{close}"
    assert len(told) < 200


@pytest.mark.parametrize(
    "text",
    ["a.jsonl", "/no/such/folder", "a/../b", " ", "τ", "\udcff", "a" * 255],
    ids=values.shown,
)
def test_paths(text):
    assert str(values.path(text)) == str(values.Path(text))


@pytest.mark.parametrize("text", ["", "\0", "a\0b", "a" * 300, "a/" * 5000], ids=values.shown)
def test_impossible_file_names_are_refused(text):
    with pytest.raises(ValueError, match=r"^must be the name of a file or folder, got "):
        values.path(text)


def test_a_long_value_is_cut_in_messages():
    assert values.shown("a" * 78) == repr("a" * 78)
    assert values.shown("a" * 100_000).endswith("aaa' (100,002 characters)")
    assert len(values.shown("a" * 100_000)) < 100


def test_settings_are_spelled_as_the_user_did():
    error = SettingError("{n_classes} and {seed} must be >= 2", ", got '{seed}'")
    assert str(error) == "n_classes and seed must be >= 2, got '{seed}'"  # the user's text is unchanged
    assert error.told(lambda name: f"--{name}") == "--n_classes and --seed must be >= 2, got '{seed}'"
    assert error.fields == ["n_classes", "seed"]
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # from the worker of a sweep
