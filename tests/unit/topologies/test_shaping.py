"""A link's shape as words, at the prompt and on the command line."""

from __future__ import annotations

import pytest

from console.parser import arguments
from kernel.errors import BadInput
from topologies.shaping import as_text, values_of
from topologies.spec import Shape


def test_words_become_what_a_lab_takes() -> None:
    words = ["bandwidth=100Mbit", "delay=5ms", "loss=1%", "mtu=1400"]
    assert values_of(words) == {"bandwidth": "100Mbit", "delay": "5ms", "loss": "1%", "mtu": "1400"}
    assert values_of(["bandwidth=none"]) == {"bandwidth": None} and values_of([]) == {}


@pytest.mark.parametrize("words", [["delay"], ["bw=5"], ["=5"], ["delay=1ms", "delay=2ms"]])
def test_other_words_are_a_mistake(words: list[str]) -> None:
    with pytest.raises(BadInput):
        values_of(words)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("bandwidth=1500kbit delay=250us loss=0.1% mtu=9000", "bandwidth=1.5Mbit delay=250us loss=0.1% mtu=9000"),
        ("bandwidth=10Gbit delay=1500us loss=0% mtu=1500", "bandwidth=10Gbit delay=1.5ms loss=0% mtu=1500"),
        ("bandwidth=none mtu=1400", "bandwidth=none delay=0ms loss=0% mtu=1400"),
        ("bandwidth=999bit mtu=68", "bandwidth=999bit delay=0ms loss=0% mtu=68"),
    ],
)
def test_a_shape_in_words_is_the_same_shape_again(words: str, text: str) -> None:
    values = values_of(words.split())
    mtu = int(values.pop("mtu"))
    shape = Shape.model_validate(values)
    assert as_text({**shape.model_dump(), "mtu": mtu}) == text
    again = values_of(text.split())
    again.pop("mtu")
    assert Shape.model_validate(again) == shape


def test_the_command_s_arguments() -> None:
    found = arguments(["shape", "--name", "lab2", "node1", "s1", "delay=5ms", "mtu=1400", "--json"])
    assert (found.a, found.b, found.values, found.name, found.json) == (
        "node1",
        "s1",
        ["delay=5ms", "mtu=1400"],
        "lab2",
        True,
    )
    assert arguments(["shape", "node1", "s1"]).values == []
    with pytest.raises(BadInput):
        arguments(["shape", "node1"])
