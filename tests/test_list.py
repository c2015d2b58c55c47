"""`gsbench list` shows everything, with a description."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from peers import PEERS

from gsbench.cli import list as command
from gsbench.cli import main
from gsbench.data import DATASETS
from gsbench.estimators import ESTIMATORS
from gsbench.models import MODELS
from gsbench.report.figures import FIGURES
from gsbench.settings.presets import PRESETS

NAMES = {
    "estimators": [*ESTIMATORS],
    "models": [*MODELS],
    "data-sets": [*DATASETS],
    "presets": [*PRESETS],
    "figures": [*FIGURES],
    "peers": [*PEERS],
}


def listed(capsys, *arguments):
    assert main(["list", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_everything_is_listed_with_a_sentence(capsys):
    found = listed(capsys)
    assert {kind: [entry["name"] for entry in entries] for kind, entries in found.items()} == NAMES
    for entries in found.values():
        for entry in entries:
            assert re.fullmatch(r".{10,250}[.?]", entry["text"]), entry
            assert "\n" not in entry["text"]


@pytest.mark.parametrize("kind", NAMES)
def test_a_kind_by_itself(kind, capsys):
    assert [*listed(capsys, kind)] == [kind]
    assert main(["list", kind]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{kind}:\n")
    # A name begins a line; its further lines are indented.
    assert re.findall(r"^  (\S+) ", out, re.MULTILINE) == NAMES[kind]
    assert max(map(len, out.splitlines())) <= 110


@pytest.mark.parametrize(("columns", "longest"), [("80", 80), ("20", 60), ("200", 200)])
def test_all_kinds_have_a_line_each(columns, longest, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["list"]) == 0
    out, err = capsys.readouterr()
    for kind, entries in listed(capsys).items():
        lines = out.split(f"{kind}:\n")[1].split("\n\n")[0].splitlines()
        assert [line.split()[0] for line in lines] == NAMES[kind]
        for line, entry in zip(lines, entries, strict=True):
            told = line.split(maxsplit=1)[1]
            assert told == entry["text"] or entry["text"].startswith(told.removesuffix(" …")), line
    assert longest - 15 < max(map(len, out.splitlines())) <= longest
    assert "gsbench list KIND" in err


def test_settings_and_their_defaults(capsys):
    entries = {entry["name"]: entry for entry in listed(capsys, "estimators")["estimators"]}
    for name, estimator in ESTIMATORS.items():
        assert entries[name]["settings"] == dataclasses.asdict(estimator())
        assert entries[name]["text"] in " ".join(estimator.__doc__.split())
    assert main(["list", "estimators"]) == 0
    assert "Settings: tau=1, draws=1, conditional_draws=10." in " ".join(capsys.readouterr().out.split())


def test_data_sets_have_their_classes_and_licence(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("GSBENCH_DATA", str(tmp_path / "gone"))  # nothing is read
    for entry in listed(capsys, "data-sets")["data-sets"]:
        assert entry["licence"] == DATASETS[entry["name"]].licence
        assert entry["most_classes"] == {"glyphs": 1200, "mnist": 10, "fashion-mnist": 10}.get(entry["name"])
    assert main(["list", "data-sets"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    of_fashion = "K: 2 to 10. Licence: MIT (Zalando SE)."
    for text in ("K: 2 to 1,200.", of_fashion, "K: as many as its file has.", "K: 2 or more."):
        assert text in out


def test_presets_have_networks_and_recipe(capsys):
    entries = {entry["name"]: entry["settings"] for entry in listed(capsys, "presets")["presets"]}
    assert entries["small"]["units"] == 64
    assert entries["small"]["steps"] == PRESETS["small"].run["steps"]


def test_peers_that_need_the_extra_say_so(capsys):
    for entry in listed(capsys, "peers")["peers"]:
        peer = PEERS[entry["name"]]
        assert f"needs the extra {peer.extra}" in entry["text"].lower()


@pytest.mark.parametrize(
    ("doc", "sentence"),
    [
        ("One.", "One."),
        ("By Liu et al. 2019, eq. 2. More of it.", "By Liu et al. 2019, eq. 2."),
        ("Over\n    two lines. Then\n    more.\n\n    And more.", "Over two lines."),
        ("A paragraph\n\nand another", "A paragraph"),
        (None, ""),
    ],
)
def test_the_first_sentence(doc, sentence):
    assert command.first_sentence(doc) == sentence


def test_a_kind_that_is_not_known_is_exit_code_2(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["list", "colours"])
    assert stop.value.code == 2
    assert "estimators" in capsys.readouterr().err


def test_the_readme_names_the_estimators_too():
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    for name in ESTIMATORS:
        assert f"`{name}" in readme


def test_the_readme_says_which_estimators_are_unbiased_as_they_declare():
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"^\| `([\w-]+)` \|.*\| ([\w ]+) \|$", readme, re.MULTILINE))
    in_words = {(): "yes", ("gradient",): "value", ("value", "gradient"): "no"}
    for name, made in ESTIMATORS.items():
        estimator = made()
        expected = "exact" if estimator.exact else "own bound" if estimator.own_bound else in_words[made.biased]
        assert said[name] == expected, name
