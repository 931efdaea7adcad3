from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.contracts import IGNORE, Legend, Sample
from headstart.data.legend_files import find_legend_file, read_legend_file
from headstart.data.legends import settle_legend
from headstart.data.mask_files import read_indexed_mask, read_mask
from headstart.errors import DataError


def save(path: Path, values: object, *, palette: list[int] | None = None) -> Path:
    image = Image.fromarray(np.asarray(values, np.uint8))
    if palette is not None:
        image = (
            image.convert("P")
            if image.mode != "L"
            else Image.frombytes("P", image.size, image.tobytes())
        )
        image.putpalette(palette)
    image.save(path)
    return path


def sample(mask: Path) -> Sample:
    return Sample("a", mask.with_name("a.jpg"), mask=mask)


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "1 forest\n2 bare soil\n"),
        ("classes.txt", "# value: name\n1: forest\n\n2: bare soil"),
        ("classes.csv", "value,name\n1,forest\n2,bare soil\n"),
        ("classes.csv", "1;forest\n2;bare soil\n"),
        ("classes.csv", "Name,Id\nforest,1\nbare soil,2\n"),
        ("classes.json", '{"1": "forest", "2": "bare soil"}'),
        ("classes.json", '{"forest": 1, "bare soil": 2}'),
        ("classes.json", '[{"id": 1, "name": "forest"}, {"id": 2, "name": "bare soil"}]'),
        ("classes.json", '{"classes": {"1": {"name": "forest"}, "2": {"name": "bare soil"}}}'),
    ],
)
def test_values_and_names_are_read_from_each_format(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    entries = read_legend_file(tmp_path / name)
    assert [(e.value, e.name) for e in entries] == [(1, "forest"), (2, "bare soil")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.csv", "name,colour\nroad,#804080\nsky,70 130 180\n"),
        ("class_dict.csv", "name,r,g,b\nroad,128,64,128\nsky,70,130,180\n"),
        ("label_colors.txt", "128 64 128\troad\n70 130 180\tsky\n"),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nroad:128,64,128::\nsky:70,130,180::\n"),
        ("classes.json", '{"road": [128, 64, 128], "sky": [70, 130, 180]}'),
    ],
)
def test_colours_are_read_from_each_format(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    entries = read_legend_file(tmp_path / name)
    assert [(e.name, e.colour) for e in entries] == [
        ("road", (128, 64, 128)),
        ("sky", (70, 130, 180)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("value,name\n1,a\n1,b\n", r"the value 1 to both `a` and `b`"),
        ("value,name\n1,a\n,b\n", r"a value to 1 of its 2 classes, but not to `b`"),
        ("value,name\nx,a\n", r"the value `x`, but whole numbers"),
        ("name,colour\na,#12\n", r"the colour `#12`, but three numbers"),
        ("value,name\n1,\n", r"an entry without a name"),
        ("", r"names no class\. One class a line is needed"),
    ],
)
def test_a_bad_file_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "classes.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_legend_file(tmp_path / "classes.csv")


def test_the_folder_given_first_wins(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "classes.txt").write_text("a\nb\n")
    assert find_legend_file([tmp_path, tmp_path / "masks"]) == tmp_path / "masks" / "classes.txt"
    (tmp_path / "codes.txt").write_text("a\nb\n")
    assert find_legend_file([tmp_path, tmp_path / "masks"]) == tmp_path / "codes.txt"


# --- what the values stand for ----------------------------------------------------------------


def test_without_a_file_the_values_are_the_classes(tmp_path: Path) -> None:
    masks = [save(tmp_path / "a.png", [[1, 2]]), save(tmp_path / "b.png", [[7, 7]])]
    legend, notes = settle_legend(masks)
    assert legend == Legend(("1", "2", "7"), ((1,), (2,), (7,)))
    assert "the classes: 1, 2, 7" in notes[0]
    assert read_mask(sample(masks[1]), legend).tolist() == [[2, 2]]


def test_names_without_values_count_from_zero(tmp_path: Path) -> None:
    masks = [save(tmp_path / "a.png", [[0, 1]])]
    (tmp_path / "classes.txt").write_text("land\nwater\nice\n")
    legend, notes = settle_legend(masks, file=tmp_path / "classes.txt")
    assert (legend.names, legend.values) == (("land", "water", "ice"), ((0,), (1,), (2,)))
    assert "from 0 on" in notes[0]


def test_as_many_names_as_other_values_are_taken_in_order(tmp_path: Path) -> None:
    masks = [save(tmp_path / "a.png", [[1, 2]])]
    (tmp_path / "classes.txt").write_text("other\nforest\n")
    legend, notes = settle_legend(masks, file=tmp_path / "classes.txt")
    assert legend.values == ((1,), (2,))
    assert "1 other, 2 forest" in notes[0]


def test_two_values_of_one_name_are_one_class(tmp_path: Path) -> None:
    mask = save(tmp_path / "a.png", [[3, 4, 9]])
    (tmp_path / "classes.txt").write_text("3 road\n4 road\n9 sky\n")
    legend, _ = settle_legend([mask], file=tmp_path / "classes.txt")
    assert legend.names == ("road", "sky")
    assert read_mask(sample(mask), legend).tolist() == [[0, 0, 1]]


def test_void_and_255_are_ignored_and_that_is_said(tmp_path: Path) -> None:
    mask = save(tmp_path / "a.png", [[0, 1, 2, 255]])
    legend, notes = settle_legend([mask])
    assert legend.ignored == (255,)
    assert "The value 255 is ignored" in notes[0]
    (tmp_path / "classes.txt").write_text("0 void\n1 a\n2 b\n")
    legend, notes = settle_legend([mask], file=tmp_path / "classes.txt")
    assert legend.names == ("a", "b")
    assert read_mask(sample(mask), legend).tolist() == [[IGNORE, 0, 1, IGNORE]]
    assert any("void: ignored" in note for note in notes)
    assert any("255 is ignored where it occurs" in note for note in notes)


def test_black_and_white_masks_have_two_classes(tmp_path: Path) -> None:
    legend, _ = settle_legend([save(tmp_path / "a.png", [[0, 255]])])
    assert legend.names == ("0", "255")


def test_what_the_user_ignores_is_all_that_is_ignored(tmp_path: Path) -> None:
    masks = [save(tmp_path / "a.png", [[0, 1, 2, 255]])]
    legend, notes = settle_legend(masks, ignore_values=(0,))
    assert legend.names == ("1", "2", "255")
    assert "the classes: 1, 2, 255." in notes[0]
    assert notes[1] == "Ignored values of the masks: 0, as --ignore-value says."
    assert settle_legend(masks, ignore_values=())[0].names == ("0", "1", "2", "255")
    with pytest.raises(DataError, match="No class is left"):
        settle_legend(masks, ignore_values=(0, 1, 2, 255))


def test_colours_without_a_legend_are_an_error_with_a_file_to_fill_in(tmp_path: Path) -> None:
    mask = save(tmp_path / "a.png", [[(255, 0, 0), (0, 0, 255), (255, 0, 0)]])
    with pytest.raises(DataError, match="2 colours instead of values") as caught:
        settle_legend([mask])
    suggested = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert suggested == ["name,colour", 'NAME,"0 0 255"', 'NAME,"255 0 0"'] or suggested == [
        "name,colour",
        'NAME,"255 0 0"',
        'NAME,"0 0 255"',
    ]
    text = "\n".join(suggested).replace("NAME", "a", 1).replace("NAME", "b")
    (tmp_path / "classes.csv").write_text(text)
    legend, _ = settle_legend([mask], file=tmp_path / "classes.csv")
    assert legend.is_coloured
    assert sorted(read_mask(sample(mask), legend).ravel().tolist()) in ([0, 0, 1], [0, 1, 1])


def test_a_palette_with_the_listed_colours_is_read_by_them(tmp_path: Path) -> None:
    mask = save(tmp_path / "a.png", [[0, 1]], palette=[128, 64, 128, 70, 130, 180])
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nsky,70,130,180\nroad,128,64,128\n")
    legend, _ = settle_legend([mask], file=tmp_path / "class_dict.csv")
    assert read_mask(sample(mask), legend).tolist() == [[1, 0]]
    assert legend.colours == ((70, 130, 180), (128, 64, 128))


def test_masks_of_which_none_can_be_read_say_why(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"None of 1 mask can be read.*a\.png` has no content"):
        settle_legend([tmp_path / "a.png"])
    Image.fromarray(np.zeros((4, 5, 4), np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"1 mask without a labelled pixel.*b\.png"):
        settle_legend([tmp_path / "b.png"])
    legend, _ = settle_legend([tmp_path / "a.png", save(tmp_path / "c.png", [[1, 2]])])
    assert legend.names == ("1", "2")


def test_grey_values_saved_in_three_channels_are_values(tmp_path: Path) -> None:
    mask = save(tmp_path / "a.png", [[(1, 1, 1), (2, 2, 2)]])
    legend, _ = settle_legend([mask])
    assert legend.names == ("1", "2")


def test_masks_saved_as_jpeg_are_refused_with_the_reason(tmp_path: Path) -> None:
    values = np.zeros((16, 20), np.uint8)
    values[4:9, 3:9] = 200
    Image.fromarray(values).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="1 mask saved as JPEG, which blurs values"):
        settle_legend([tmp_path / "a.jpg"])


def test_a_grey_picture_is_not_taken_for_a_mask(tmp_path: Path) -> None:
    mask = save(tmp_path / "a.png", [list(range(200))])
    with pytest.raises(DataError, match=r"200 different values \(0 to 199\)"):
        settle_legend([mask])


def test_a_value_that_the_legend_lacks_is_an_error(tmp_path: Path) -> None:
    mask = save(tmp_path / "a.png", [[0, 7]])
    legend = Legend(("a", "b"), ((0,), (1,)))
    with pytest.raises(DataError, match=r"a.png` has the value 7, but the legend has 0 a, 1 b\."):
        read_mask(sample(mask), legend)
    assert read_indexed_mask(mask, legend).unknown == (7,)


def test_a_legend_survives_json() -> None:
    legend = Legend(("a", "b"), ((0, 3), (1,)), (255,), ((1, 2, 3), (4, 5, 6)), True)
    assert Legend.from_json(json.loads(json.dumps(legend.to_json()))) == legend
