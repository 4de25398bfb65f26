import io

import numpy as np
import pytest
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as Picture

from alignkit.data import DataSpec, Source
from alignkit.data.errors import BadRow, DataError
from alignkit.data.images import carried_images, text_of, undecoded
from alignkit.data.load import load_data

USER = {"role": "user", "content": "What is it?"}
ANSWERS = {"chosen": "A cat.", "rejected": "A dog."}


def picture(shade, format="PNG"):
    file = io.BytesIO()
    Picture.fromarray(np.full((4, 5, 3), shade, dtype=np.uint8)).save(file, format=format)
    return file.getvalue()


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "pictures").mkdir()
    for shade in (1, 2, 3):
        (tmp_path / "pictures" / f"{shade}.png").write_bytes(picture(shade))
    return tmp_path


def load(folder, name="pairs.jsonl", shape="pairs", **source):
    spec = DataSpec(train=[Source(source=name, **source)])
    return load_data(spec, shape, base=folder).train


def shades(dataset):
    return [[image.getpixel((0, 0))[0] for image in row["images"]] for row in sorted(dataset, key=lambda r: r["place"])]


def reason(row):
    with pytest.raises(BadRow) as error:
        carried_images(row)
    return str(error.value)


def test_paths_are_relative_to_the_file_that_names_them(pictures, write):
    rows = [
        {"prompt": [USER], **ANSWERS, "images": ["1.png", "2.png"]},
        {"prompt": [USER], **ANSWERS, "images": []},
        {"prompt": [USER], **ANSWERS, "images": [str(pictures / "pictures" / "3.png")]},
    ]
    write("pictures/pairs.jsonl", rows)
    found = load(pictures, "pictures/pairs.jsonl")
    assert shades(found) == [[1, 2], [], [3]]
    assert found.features["images"] == List(Image())
    assert found[0]["prompt"] == [USER]


def test_one_image_may_stand_alone_and_go_by_another_name(pictures, write):
    write("pictures/pairs.jsonl", [{"prompt": [USER], **ANSWERS, "picture": "2.png"}])
    assert shades(load(pictures, "pictures/pairs.jsonl", columns={"image": "picture"})) == [[2]]


def test_messages_with_images_are_token_rows_too(pictures, write):
    answer = {"role": "assistant", "content": "A cat."}
    write("pictures/chats.jsonl", [{"messages": [USER, answer], "image": "1.png"}])
    found = load(pictures, "pictures/chats.jsonl", "tokens")
    assert (shades(found), found[0]["messages"]) == ([[1]], [USER, answer])


def test_a_copy_of_the_file_in_another_folder_reads_the_images_beside_it(pictures, write):
    rows = [{"prompt": [USER], **ANSWERS, "images": ["picture.png"]}]
    for folder, shade in (("a", 1), ("b", 2)):
        write(f"{folder}/pairs.jsonl", rows)
        (pictures / folder / "picture.png").write_bytes(picture(shade))
        assert shades(load(pictures / folder)) == [[shade]]


@pytest.mark.parametrize("suffix", ["saved", "parquet", "arrow"])
def test_images_of_a_dataset_keep_their_bytes(tmp_path, suffix):
    """A JPEG that is decoded and encoded again is another picture."""
    content = picture(7, "JPEG")
    features = Features({"prompt": Value("string"), **dict.fromkeys(ANSWERS, Value("string")), "image": Image()})
    row = {"prompt": "<image>?", **ANSWERS, "image": {"bytes": content, "path": None}}
    dataset = Dataset.from_list([row], features=features)
    path = tmp_path / f"pairs.{suffix}"
    if suffix == "parquet":
        dataset.to_parquet(path)
    else:
        dataset.save_to_disk(path if suffix == "saved" else tmp_path / "folder")
    if suffix == "arrow":
        next((tmp_path / "folder").glob("*.arrow")).rename(path)
    found = load(tmp_path, path.name).cast_column("images", List(Image(decode=False)))
    assert found[0]["images"] == [{"bytes": content, "path": None}]


def test_the_same_question_about_another_picture_is_another_prompt(pictures, write):
    rows = [{"prompt": [USER], **ANSWERS, "images": [f"{shade}.png"]} for shade in (1, 1, 2, 2, 3, 3)]
    write("pictures/pairs.jsonl", rows)
    spec = DataSpec(train=[Source(source="pictures/pairs.jsonl")], holdout=0.3)
    found = load_data(spec, "pairs", base=pictures)
    held_out, trained = shades(found.eval), shades(found.train)
    assert len(held_out) == 2
    assert held_out[0] == held_out[1]
    assert held_out[0] not in trained


def test_images_that_cannot_be_used_are_named(pictures):
    good = str(pictures / "pictures" / "1.png")
    (pictures / "broken.png").write_bytes(picture(1)[:40])
    assert reason({"images": ["none.png"]}) == "missing image: none.png"
    assert reason({"images": [good, str(pictures / "broken.png")]}).startswith("not an image: image 2 cannot be opened")
    assert reason({"image": 3}).startswith("not an image: image 1 is neither a path")
    assert reason({"image": {"bytes": b"text", "path": None}}) == "not an image: image 1 cannot be opened: bytes"
    assert "download it" in reason({"images": ["https://example.org/1.png"]})
    assert reason({"images": [good], "image": good}) == "not carried: image beside images; keep one of the two"


def test_rows_may_place_their_images_where_they_would_be_put_anyway(pictures):
    good = str(pictures / "pictures" / "1.png")
    image, text = {"type": "image", "text": None}, {"type": "text", "text": "What?"}
    asked = {"role": "user", "content": [image, text]}
    assert len(carried_images({"prompt": [{"role": "system", "content": "x"}, asked], "images": [good]})) == 1
    assert text_of([image, text], "message 1") == "What?"
    assert reason({"prompt": [asked], "images": [good, good]}) == "wrong number of images: 1 in prompt, 2 beside it"
    assert reason({"prompt": [asked]}) == "wrong number of images: 1 in prompt, 0 beside it"
    later = {"prompt": [USER, {"role": "assistant", "content": "?"}, asked], "images": [good]}
    assert reason(later) == "not carried: images of prompt after its first user message"
    for parts in ([text, image], [image, text, text], [image]):
        with pytest.raises(BadRow, match="known are images, then one text"):
            text_of(parts, "message 1")


def test_methods_that_take_no_images_refuse_them(pictures, write):
    write("pictures/pairs.jsonl", [{"prompt": [USER], **ANSWERS, "images": ["1.png"]}])
    for shape in ("unpaired", "prompts"):
        with pytest.raises(DataError, match=r"pairs.jsonl:1: not carried: images; only text reaches the model"):
            load(pictures, "pictures/pairs.jsonl", shape)


def test_text_and_images_are_not_mixed(pictures, write):
    write("pictures/a.jsonl", [{"prompt": [USER], **ANSWERS, "images": ["1.png"]}])
    write("pictures/b.jsonl", [{"prompt": [USER], **ANSWERS}])
    spec = DataSpec(train=[Source(source=f"pictures/{name}.jsonl") for name in "ab"])
    with pytest.raises(DataError, match=r"gives prompt, chosen, rejected, images as messages, .* all sources"):
        load_data(spec, "pairs", base=pictures)


def test_a_dataset_without_images_stays_as_it_is():
    dataset = Dataset.from_list([{"a": 1}])
    assert undecoded(dataset) is dataset
