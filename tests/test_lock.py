"""One process at a time in a folder, and no lock outlives its process."""

import subprocess
import sys
import threading

from panther_pipeline.lock import taken

HOLD = """
import sys, time
from pathlib import Path
from panther_pipeline.lock import taken
with taken(Path(sys.argv[1])) as is_ours:
    print(is_ours, flush=True)
    time.sleep(600)
"""


def test_folder_is_free_again_when_the_process_that_took_it_died(tmp_path):
    folder = tmp_path / "not" / "there yet"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "True\n"
        with taken(folder) as is_ours:
            assert not is_ours
        with taken(folder.with_name("another")) as is_ours:
            assert is_ours
    finally:
        process.kill()
        process.communicate()
    with taken(folder) as is_ours:
        assert is_ours


def test_whoever_waits_gets_the_folder_next(tmp_path):
    order = []

    def wait():
        with taken(tmp_path / "folder", wait=True) as is_ours:
            order.append(("waited", is_ours))

    with taken(tmp_path / "folder") as is_ours:
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(timeout=0.3)
        order.append(("first", is_ours))
    thread.join(timeout=30)
    assert order == [("first", True), ("waited", True)]
