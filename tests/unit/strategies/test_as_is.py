from __future__ import annotations

from headstart.strategies.as_is import match_classes


def test_classes_that_the_data_named_stand_for_themselves() -> None:
    names = ["Arts, Culture", "sport", "sports", "体育", "科技"]
    assert match_classes(names, names) == [[0], [1], [2], [3], [4]]
