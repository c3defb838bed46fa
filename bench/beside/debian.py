"""Fetches the peers from Debian's packages and unpacks them; nothing is installed.

Several of them conflict when installed, and each would start as a service.
"""

import functools
import shutil
import subprocess

from common import ROOT, Failure, progress

FOLDER = ROOT / "target" / "peers" / "debian"
LIBRARIES = FOLDER / "libraries"

# The package of each program, and where it lies in there.
PROGRAMS = {
    "openbsd-inetd": ("openbsd-inetd", "usr/sbin/inetd"),
    "inetutils-inetd": ("inetutils-inetd", "usr/sbin/inetutils-inetd"),
    "xinetd": ("xinetd", "usr/sbin/xinetd"),
    "rlinetd": ("rlinetd", "usr/sbin/rlinetd"),
    "tcpserver": ("ucspi-tcp", "usr/bin/tcpserver"),
    "tcpsvd": ("ipsvd", "usr/bin/tcpsvd"),
    "socat": ("socat", "usr/bin/socat"),
    "ncat": ("ncat", "usr/bin/ncat"),
    "socket-activate": ("systemd", "usr/bin/systemd-socket-activate"),
    "stunnel": ("stunnel4", "usr/bin/stunnel4"),
}
NO_OTHERS = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise Failure(f"{command[0]}: {lines[-1]}")
    return done.stdout


def download(packages, folder):
    """Those packages, unpacked into the folder; gives their versions."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Failure("the peers come from Debian's packages, and here is no apt-get")
    files = FOLDER / "packages" / folder.name
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir(parents=True)
    # As root apt would download as a user of its own, who may not write here.
    run("apt-get", "-o", "APT::Sandbox::User=root", "download", *packages, cwd=files, timeout=300)
    versions = []
    for file in sorted(files.glob("*.deb")):
        run("dpkg-deb", "-x", file, folder)
        versions.append(run("dpkg-deb", "-f", file, "Version").strip())
    return versions


def fetch(name):
    """A peer's program and the version of its package."""
    package, path = PROGRAMS[name]
    program, stamp = FOLDER / package / path, FOLDER / f"{package}.version"
    if not (program.exists() and stamp.exists()):
        progress(f"fetching {package}")
        stamp.parent.mkdir(parents=True, exist_ok=True)
        version = download([package], FOLDER / package)
        if not program.exists():
            raise Failure(f"{package} has no {path}")
        missing = missing_libraries(program)
        if missing:
            fetch_libraries(package)
            missing = missing_libraries(program)
        if missing:
            raise Failure(f"{name} needs {', '.join(missing)}")
        stamp.write_text(version[0] + "\n")
    return program, stamp.read_text().strip()


def missing_libraries(program):
    done = subprocess.run(["ldd", program], capture_output=True, text=True, env=environment())
    return [line.split()[0] for line in done.stdout.splitlines() if "not found" in line]


def fetch_libraries(package):
    """All libraries that the package depends on, but the C library, which is the system's."""
    listed = run("apt-cache", "depends", "--recurse", *NO_OTHERS, package).splitlines()
    names = {line for line in listed if line.startswith("lib") and not line.startswith(("libc6", "libgcc"))}
    progress(f"fetching {len(names)} libraries of {package}")
    download(sorted(names), LIBRARIES)
    library_folders.cache_clear()


@functools.cache
def library_folders():
    return sorted({str(file.parent) for file in LIBRARIES.rglob("*.so*")})


def environment():
    """What a peer needs to find libraries that the system lacks."""
    folders = library_folders()
    return {"LD_LIBRARY_PATH": ":".join(folders)} if folders else {}


def parser_of_rlinetd():
    """rlinetd loads its own parser from a fixed place, unless it is told."""
    found = list((FOLDER / "rlinetd").rglob("libparse.so"))
    if not found:
        raise Failure("rlinetd has no libparse.so")
    return found[0]
