"""Learns example after example into a folder and says the number of each that was learned, until it is killed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from test_durable import opened, teach

with opened(Path(sys.argv[1]), snapshot_examples=25) as model:
    print(model.position, flush=True)
    while True:
        teach(model, [model.position])
        print(model.position, flush=True)
