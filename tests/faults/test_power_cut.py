"""At least 50 power cuts of a loop-mounted ext4 under a working archive; nothing acknowledged may be lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LANE = Path(__file__).parent / "power_lane.py"
CUTS = 52


def why_not(folder: Path) -> str:
    """Why this machine cannot mount an image; "" if it can."""
    if os.geteuid() != 0:
        return "power cuts need root, to mount an image"
    for command in ("mkfs.ext4", "mount", "umount", "unshare"):
        if shutil.which(command) is None:
            return f"{command} is not installed"
    image, mount = folder / "try.img", folder / "try"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    mount.mkdir()
    for made in (["mkfs.ext4", "-q", "-F", image], ["mount", "-o", "loop", image, mount], ["umount", mount]):
        done = subprocess.run(made, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"no loop-mounted ext4 here: {done.stderr.strip()}"
    return ""


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost_in_power_cuts(tmp_path: Path) -> None:
    reason = why_not(tmp_path)
    if reason:
        pytest.skip(reason)
    # In a mount namespace of its own, so that an interrupted run leaves nothing mounted.
    lane = subprocess.run(
        ["unshare", "--mount", sys.executable, LANE, tmp_path, str(CUTS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )
    assert lane.returncode == 0, lane.stderr
    cuts = [json.loads(line) for line in lane.stdout.splitlines()]
    assert [cut for cut in cuts if cut["wrong"]] == []
    assert len(cuts) == CUTS
    # Most cuts met a working archive, and some met files that had no row yet.
    assert sum(cut["reported"] > 0 for cut in cuts) >= 50
    assert any(cut["aside"] for cut in cuts)
    print(f"{len(cuts)} cuts, {sum(cut['reported'] for cut in cuts)} objects acknowledged before them")
