"""The long mix on a real mesh: `python -m chaos --minutes 60 --seed 1`, or `make chaos MINUTES=5`.

Every minute a line tells calls, failed calls and p99, and what each process takes. At the end stands how fast each
of these grows. The exit status is 1 if a call failed that should not have, or a slope is not flat.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

from chaos.callers import Strangers
from chaos.harms import Harms
from chaos.slopes import slopes
from chaos.vitals import Vitals, look
from examples.demo.mesh import DemoMesh
from servemesh.client import Client
from tests.harness import models
from tests.harness.faults import FaultMesh
from tests.harness.steady_load import Figures, SteadyLoad

WORKERS = 3
MODEL = "net"
WIDTH = 256
RATE_PER_S = 40.0
LOOK_S = 5.0
TELL_S = 60.0
REPLICAS_S = 60.0


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    options = parser.parse_args()
    print(
        f"seed {options.seed}, {options.minutes:g} minutes; the same with --seed {options.seed}", flush=True
    )
    os.environ["SERVEMESH_LOCAL_RESTART_DELAY_S_MAX"] = (
        "0.5"  # nowhere else do processes die as often as here
    )
    with tempfile.TemporaryDirectory() as folder, DemoMesh(Path(folder) / "mesh", workers=WORKERS) as mesh:
        path = models.saved(models.mlp(width=WIDTH), Path(folder) / "net")
        with Client(mesh.address) as client:
            client.push(MODEL, path)
            client.deploy(MODEL, replicas=WORKERS, wait_s=REPLICAS_S)
        chance = random.Random(options.seed)
        strangers = Strangers(mesh.address, MODEL, WIDTH, Path(folder) / "other", chance)
        harms = Harms(FaultMesh(mesh), strangers, chance)
        with SteadyLoad(mesh.address, MODEL, path, rate_per_s=RATE_PER_S) as load:
            looks = _harmed(FaultMesh(mesh), harms, load, options.minutes * 60)
        return _judged(looks, harms, strangers, load)


def _harmed(mesh: FaultMesh, harms: Harms, load: SteadyLoad, span_s: float) -> list[Vitals]:
    """Do harm for so long, tell what is seen, and return it."""
    looks: list[Vitals] = []
    start_s, stopping = time.monotonic(), threading.Event()
    harming = threading.Thread(target=harms.run_until, args=(start_s + span_s, stopping), name="harms")
    harming.start()
    told_s, told_harms = start_s, 0
    try:
        while harming.is_alive():
            harming.join(LOOK_S)
            now = look(mesh)
            looks += now
            if time.monotonic() - told_s >= TELL_S or not harming.is_alive():
                done = harms.done[told_harms:]
                _tell(time.monotonic() - start_s, load.figures(told_s), done, now)
                told_s, told_harms = time.monotonic(), told_harms + len(done)
    finally:
        stopping.set()
        harming.join()
    return looks


def _tell(passed_s: float, figures: Figures, done: list[str], now: list[Vitals]) -> None:
    print(f"\n{passed_s / 60:5.1f} min  {figures}; harm: {', '.join(done)}")
    print(f"           {' | '.join(map(str, now))}", flush=True)


def _judged(looks: list[Vitals], harms: Harms, strangers: Strangers, load: SteadyLoad) -> int:
    """Print the verdicts; return 1 if one of them is bad."""
    found = slopes(looks)
    print("\nslopes, of processes that have run for a minute:")
    for slope in found:
        print(f"  {slope}")
    calls = load.calls()
    failed = [call for call in calls if call.fault]
    guilty = [call for call in failed if not any(outage.excuses(call) for outage in harms.outages)]
    print(f"\n{load.figures()}; {len(failed) - len(guilty)} of the failed met the only Envoy being away")
    faults = [call.fault for call in guilty] + strangers.faults + ([harms.failed] if harms.failed else [])
    for fault in faults[:20]:
        print(f"  FAULT {fault}")
    steep = [slope for slope in found if not slope.is_flat]
    print(f"{len(harms.done)} harms, {len(faults)} faults, {len(steep)} slopes that are not flat")
    return 1 if faults or steep else 0


if __name__ == "__main__":
    sys.exit(main())
