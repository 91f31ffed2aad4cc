"""What compose-test looks at, one function for each: it says in a line what it saw, or fails."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np

from tests.compose.engine import BASE, ROOT, until
from tests.compose.load import RATE_PER_S, changes, load
from tests.compose.mesh import LEDGER, MODEL, PUSHED, SETTLE_S, Mesh
from tests.harness.models import mlp

MIB = 1 << 20
IMAGES = {"gateway": 200, "registry": 200, "worker": 450, "optimizer": 0, "metrics": 0}
"""Services, and how many MB their images may have beyond the base; 0 where there is no bound."""
STORES = ("nats", "s3", "postgres")
JOB_S = 120.0
KNOWN = "servemesh_worker_calls"
HARDENED = """\
import os, pathlib, shutil
assert os.getuid() == 10001, os.getuid()
assert not any(map(shutil.which, ("cc", "gcc", "g++", "clang", "make")))
try:
    pathlib.Path("/var/lib/x").touch()
except OSError:
    raise SystemExit(0)
raise SystemExit("the root file system can be written")
"""


def image_sizes(mesh: Mesh) -> str:
    """Each image, beyond its base."""
    base = mesh.stack.size_bytes(BASE)
    lines = []
    for service, bound in IMAGES.items():
        mb = (mesh.stack.size_bytes(f"servemesh/{service}:dev") - base) / 1e6
        assert not bound or mb < bound, (
            f"the {service} image has {mb:.0f} MB beyond its base, {bound} are allowed"
        )
        lines.append(f"{service} {mb:.0f} MB" + (f" (of {bound})" if bound else ""))
    return "beyond the base: " + ", ".join(lines)


def hardening(mesh: Mesh) -> str:
    """Not root, nothing to write to, no compiler."""
    for service in ("gateway-1", "registry-1", "worker", "optimizer", "metrics", "rest"):
        container = mesh.stack.containers(service)[0]
        mesh.stack.docker("exec", container, "python", "-c", HARDENED)
    return "user 10001, read-only root, no compiler"


def pushed_and_deployed(mesh: Mesh) -> str:
    """A model pushed through the published port is served by all workers."""
    pushed = mesh.client.push(MODEL, mesh.digits.model)
    mesh.versions[MODEL] = [pushed.version]
    mesh.versions[LEDGER] = [
        mesh.client.push(LEDGER, mesh.digits.model, labels={"turn": str(turn)}).version for turn in range(2)
    ]
    mesh.client.deploy(MODEL, version=pushed.version, replicas=3, wait_s=60)
    mesh.until_served()
    answers = [
        int(mesh.client.infer(MODEL, {"image": row[None]})["label"][0]) for row in mesh.digits.images[:40]
    ]
    share = float(np.mean(np.array(answers) == mesh.digits.labels[:40]))
    assert share > 0.9, f"{share:.0%} of the digits are right"
    return f"version {pushed.version}; {share:.0%} of 40 digits right"


def command_line(mesh: Mesh) -> str:
    """`servemesh infer` through either edge."""
    np.save(mesh.folder / "digit.npy", mesh.row)
    labels = []
    for address in mesh.stack.addresses:
        command = [sys.executable, "-m", "servemesh.cli.main", "infer", MODEL]
        command += ["-i", f"image=@{mesh.folder / 'digit.npy'}", "--address", address, "--json"]
        answered = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert answered.returncode == 0, answered.stderr
        labels.append(json.loads(answered.stdout))
    return f"{len(labels)} edges answered"


def third_parties(mesh: Mesh) -> str:
    """tritonclient, over gRPC and over HTTP."""
    targets = {"tritonclient_session.py": mesh.stack.addresses[1]}
    targets["tritonclient_http_session.py"] = mesh.stack.http_url.removeprefix("http://")
    for session, target in targets.items():
        command = [sys.executable, str(ROOT / "tests" / "e2e" / session), target]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert ended.returncode == 0, f"{session}: {ended.stdout[-500:]}{ended.stderr[-1500:]}"
    return "tritonclient.grpc and tritonclient.http did all that their sessions ask"


def watched(mesh: Mesh) -> str:
    """The console answers, and the metrics service has heard of the calls by now."""
    with urllib.request.urlopen(mesh.stack.console_url, timeout=10) as answer:
        assert answer.status == 200
        size_kib = len(answer.read()) / 1024
    until(lambda: KNOWN in _page(mesh, "metrics", "mesh"), SETTLE_S, lambda: "no worker's calls are known")
    return f"the console's first page has {size_kib:.0f} KiB; the metrics service knows of the workers' calls"


def optimized(mesh: Mesh) -> str:
    """A job runs in its container, with the libraries that it needs."""
    container = mesh.stack.containers("optimizer")[0]
    mesh.stack.docker(
        "exec", container, "python", "-c", "import lightgbm, sklearn, torch, transformers, xgboost"
    )
    asked = mesh.client.optimizer.optimize(MODEL, recipe="safe")
    job = mesh.client.optimizer.wait(asked.name, wait_s=JOB_S).job
    assert job.state == "SUCCEEDED", f"{job.name} is {job.state}: {job.error}"
    return f"an optimization with the recipe safe: {job.state}"


def killed_under_load(mesh: Mesh, service: str) -> str:
    """kill -9 of one container: no call of the SDK fails."""
    victim = mesh.stack.containers(service)[0]
    with load(mesh.stack.addresses, MODEL, mesh.row, mesh.right) as tally:
        tally.until_ended(2 * RATE_PER_S)
        mesh.stack.docker("kill", "--signal", "KILL", victim)
        tally.until_ended(5 * RATE_PER_S)
        mesh.stack.docker("start", victim)
        tally.until_ended(3 * RATE_PER_S)
    assert not tally.faults, f"{tally}; the first: {tally.faults[:3]}"
    healed_s = mesh.stack.until_healthy() + mesh.until_served() + mesh.until_workers(3)
    mesh.until_changed()
    _until_published(mesh)
    return f"{tally}; well again {healed_s:.0f} s after its start"


def store_killed(mesh: Mesh, service: str) -> str:
    """Loaded models are served meanwhile, and what was acknowledged is there afterwards."""
    container = mesh.stack.containers(service)[0]
    with (
        load(mesh.stack.addresses, MODEL, mesh.row, mesh.right) as tally,
        changes(mesh.stack.addresses, LEDGER, mesh.versions[LEDGER], PUSHED) as made,
    ):
        tally.until_ended(2 * RATE_PER_S)
        mesh.stack.docker("kill", "--signal", "KILL", container)
        tally.until_ended(2 * RATE_PER_S)
        mesh.stack.docker("start", container)
        mesh.stack.until_healthy()
        tally.until_ended(3 * RATE_PER_S)
    assert not tally.faults, f"{tally}; the first: {tally.faults[:3]}"
    mesh.aliases |= made.aliases
    mesh.versions.setdefault(PUSHED, []).extend(made.pushed)
    mesh.until_changed()
    assert not (lost := mesh.lost()), f"lost: {lost[:10]}"
    _until_published(mesh)
    return (
        f"{tally}; {len(made.aliases)} moves and {len(made.pushed)} pushes acknowledged, {made.refused} refused; "
        "none lost, all published"
    )


def scaled(mesh: Mesh, count: int) -> str:
    """More or fewer workers, under load."""
    with load(mesh.stack.addresses, MODEL, mesh.row, mesh.right) as tally:
        mesh.stack.compose(
            "up", "--detach", "--no-recreate", "--no-deps", "--scale", f"worker={count}", "worker"
        )
        took_s = mesh.until_workers(count)
    assert not tally.faults, f"{tally}; the first: {tally.faults[:3]}"
    return f"{count} workers after {took_s:.0f} s; {tally}"


def concurrent_writers(mesh: Mesh) -> str:
    """Two registries over one PostgreSQL: of many writers one wins."""
    script = (Path(__file__).parent / "concurrent_writers.py").read_text()
    container = mesh.stack.containers("gateway-1")[0]
    arguments = ("registry-1:9000", "registry-2:9000", LEDGER)
    figures = json.loads(mesh.stack.docker("exec", "-i", container, "python", "-", *arguments, text=script))
    rounds = figures["rounds"]
    assert figures["creations_with_one_winner"] == figures["moves_with_one_winner"] == rounds, figures
    return f"{figures['writers']} writers, {rounds} creations and {rounds} moves: one winner each"


def upload_survives_its_registry(mesh: Mesh) -> str:
    """The registry that takes an upload is killed in the middle of it; the push succeeds at the other one."""
    path = mesh.folder / "large.onnx"
    path.write_bytes(mlp(width=3_200, seed=1).SerializeToString())
    victim = mesh.stack.containers("registry-1")[0]
    killed: list[int] = []

    def kill_at_a_third(moved: int, total: int) -> None:
        if not killed and moved > total // 3:
            killed.append(moved)
            mesh.stack.docker("kill", "--signal", "KILL", victim)

    pushed = mesh.client.push("large", path, on_progress=kill_at_a_third)
    mesh.stack.docker("start", victim)
    mesh.stack.until_healthy()
    mesh.versions["large"] = [pushed.version]
    assert killed
    assert not (lost := mesh.lost()), f"lost: {lost[:10]}"
    size_mib = path.stat().st_size / MIB
    return f"{size_mib:.0f} MiB, registry-1 killed after {killed[0] / MIB:.0f} MiB: one version, whole"


def started_in_any_order(mesh: Mesh, seed: int) -> str:
    """Everything is stopped and started again, one container after the other, in a random order."""
    order = mesh.stack.containers()
    random.Random(seed).shuffle(order)
    names = mesh.stack.named()
    mesh.stack.docker("stop", "--time", "5", *order)
    for container in order:
        mesh.stack.docker("start", container)
    healed_s = mesh.stack.until_healthy() + mesh.until_served()
    mesh.until_workers(3)
    assert not (lost := mesh.lost()), f"lost: {lost[:10]}"
    mesh.until_changed()
    first = ", ".join(names[container] for container in order[:4])
    return f"{first}, … : well and served {healed_s:.0f} s after the last start; nothing lost"


def _until_published(mesh: Mesh) -> None:
    until(lambda: _waiting(mesh) == 0, SETTLE_S, lambda: f"{_waiting(mesh)} facts are not in NATS")


def _waiting(mesh: Mesh) -> float:
    """Return how many facts the registries have that NATS has not confirmed."""
    waiting = 0.0
    for registry in ("registry-1", "registry-2"):
        page = _page(mesh, registry, "metrics")
        lines = [line for line in page.splitlines() if line.startswith("servemesh_registry_events_waiting")]
        waiting = max([waiting, *(float(line.rpartition(" ")[2]) for line in lines)])
    return waiting


def _page(mesh: Mesh, service: str, name: str) -> str:
    script = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:9100/{name}', timeout=5).read().decode())"
    return mesh.stack.docker("exec", mesh.stack.containers(service)[0], "python", "-c", script)
