"""Any field of any format with a wrong value is read or refused by name; nothing else happens."""

import json
import math
from pathlib import Path

import pytest
from instruments.camera_files import CONTENTS, changed, places

from memv2v_core.cameras.formats.detection import load_cameras
from memv2v_core.cameras.formats.reading.results import ImportSettings

WRONG = (None, "x", "", [], {}, math.nan, -1, 0, 10**30, True, [["x"]], {"a": 1}, "f_9999999999")


@pytest.mark.parametrize("name", CONTENTS)
def test_a_wrong_value_is_read_or_refused_by_name(tmp_path: Path, name: str):
    path = tmp_path / "cameras.json"
    settings = ImportSettings(camera="cam01", aspect=2.0)
    num_refused = 0
    for place in places(CONTENTS[name]):
        for value in WRONG:
            path.write_text(json.dumps(changed(CONTENTS[name], place, value)))
            try:
                load_cameras(path, settings)
            except ValueError as error:
                num_refused += 1
                if f"camera file {path} got" not in str(error):
                    pytest.fail(f"{place} = {value!r}: {error}")
    assert num_refused > 10
