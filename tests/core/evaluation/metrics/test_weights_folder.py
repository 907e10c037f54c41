"""Published networks are found by their folders, and a missing one is told with its remedy."""

from pathlib import Path

import pytest

from memv2v_core.evaluation.metrics.weights_folder import PublicPart, find_weights

PART = PublicPart("net-base", "someone/net-base", 346, ("model.safetensors", "model.bin"))


def put(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")


def test_the_best_file_that_is_there_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "net-base"
    put(folder, "config.json", "model.bin")
    assert find_weights(tmp_path, PART) == folder / "model.bin"
    put(folder, "model.safetensors")
    assert find_weights(tmp_path, PART) == folder / "model.safetensors"


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ((), "config.json and model.safetensors or model.bin"),
        (("config.json",), "model.safetensors or model.bin"),
        (("model.bin",), "config.json"),
    ],
)
def test_missing_weights_name_network_source_size_and_folder(
    tmp_path: Path, there: tuple[str, ...], missing: str
) -> None:
    put(tmp_path / "net-base", *there)
    with pytest.raises(ValueError, match="net-base") as caught:
        find_weights(tmp_path, PART)
    told = str(caught.value)
    assert f"the network net-base lacks {missing} in {tmp_path / 'net-base'};" in told
    assert "from someone/net-base (346 MB) into that folder" in told


def test_a_folder_in_the_place_of_a_file_is_no_file(tmp_path: Path) -> None:
    put(tmp_path / "net-base", "config.json")
    (tmp_path / "net-base" / "model.bin").mkdir()
    with pytest.raises(ValueError, match=r"lacks model.safetensors or model.bin in"):
        find_weights(tmp_path, PART)


def test_a_folder_of_weights_that_is_not_there_has_the_same_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"lacks config.json and .* download them from someone/"):
        find_weights(tmp_path / "nowhere", PART)
