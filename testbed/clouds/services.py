# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Services and commands as child processes that end with their parent.

This process opens the listening sockets and passes them to the services, so
that no other process can take a port between its choice and its use, and so
that it stays the same when a service restarts.

A child gets SIGTERM when the thread that started it ends. Start services from
a thread that lives as long as they are needed.
"""

from collections import abc
import configparser
import contextlib
import functools
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import typing
import urllib.error
import urllib.request

from testbed.clouds import forking

LOOPBACK = '127.0.0.1'
#: From the documentation's range: no packet is sent there.
_ELSEWHERE = ('192.0.2.1', 9)
#: How long a service or a command may take, also on a machine that is busy
#: with other things. Nobody waits for it unless something is wrong.
START_SECONDS = 600
STOP_SECONDS = 10
_SHORTEST_PAUSE = 0.05
_BACKLOG = 128

Options = abc.Mapping[str, abc.Mapping[str, typing.Any]]


class ServiceError(Exception):
    """A command or service failed; the text includes the end of its log."""


def script(name: str) -> str:
    """Return the path of a console script in the Python environment."""
    return os.path.join(sysconfig.get_path('scripts'), name)


def environment(home: pathlib.Path, **variables: str) -> dict[str, str]:
    """Return the environment without variables that configure a service."""
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(('OS_', 'GUNICORN_', 'UWSGI_'))}
    return env | {
        'HOME': str(home), 'PYTHONWARNINGS': 'ignore',
        # Otherwise eventlet, which nothing uses here, imports dnspython,
        'EVENTLET_NO_GREENDNS': 'yes',
        # and stevedore reads the entry points of all packages.
        'XDG_CACHE_HOME': os.environ.get('XDG_CACHE_HOME')
        or os.path.expanduser('~/.cache'),
    } | variables


def write_config(path: pathlib.Path, options: Options) -> None:
    """Write an oslo.config file; the keys of ``options`` are its groups."""
    parser = configparser.RawConfigParser(default_section='')
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    for group, values in options.items():
        parser[group] = {name: str(value) for name, value in values.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w') as target:
        parser.write(target)


@functools.cache
def own_address() -> str:
    """Return an address of this machine that is not a loopback address.

    Glance downloads nothing from loopback and link-local addresses. If the
    machine has no other address, this is the loopback address nevertheless.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anywhere:
        try:
            anywhere.connect(_ELSEWHERE)
        except OSError:
            return LOOPBACK
        found = str(anywhere.getsockname()[0])
    return LOOPBACK if found.startswith('169.254.') else found


def find_program(name: str) -> str | None:
    """Return the path of a program, also of a server's in /usr/sbin."""
    return shutil.which(name, path=os.pathsep.join(
        [os.environ.get('PATH', os.defpath), '/usr/sbin', '/sbin']))


def bounded(names: abc.Iterable[object]) -> str:
    """Return the value of a list option with brackets: ``[a,b]``."""
    return '[%s]' % ','.join(map(str, names))


def pauses(longest: float) -> abc.Iterator[float]:
    """Yield how long to wait before asking again: longer each time.

    :param longest: where it ends, in seconds
    """
    pause = _SHORTEST_PAUSE
    while True:
        yield pause
        pause = min(1.3 * pause, longest)


def tail(log: pathlib.Path, lines: int = 40) -> str:
    """Return the last lines of a log."""
    if not log.exists():
        return ''
    return '\n'.join(log.read_text(errors='replace').splitlines()[-lines:])


def processes() -> list[int]:
    """Return the process IDs of all processes."""
    return [int(name) for name in os.listdir('/proc') if name.isdigit()]


def parents() -> dict[int, int]:
    """Return the process ID of each process's parent, without zombies."""
    found = {}
    for pid in processes():
        with contextlib.suppress(OSError), open(f'/proc/{pid}/stat') as stat:
            state, parent = stat.read().rpartition(')')[2].split()[:2]
            if state not in 'ZX':
                found[pid] = int(parent)
    return found


def children(*pids: int) -> list[int]:
    """Return the process IDs of processes' children, without zombies."""
    return sorted(child for child, parent in parents().items()
                  if parent in pids)


def is_alive(pid: int) -> bool:
    """Whether any thread of a process still runs, or is about to end."""
    for stat in pathlib.Path('/proc/%d/task' % pid).glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):
            if stat.read_text().rpartition(')')[2].split()[0] not in 'ZX':
                return True
    return False


def state(pid: int) -> str:
    """Return the letter of a process's state; X if it is gone."""
    try:
        stat = pathlib.Path('/proc/%d/stat' % pid).read_text()
    except OSError:
        return 'X'
    return stat.rpartition(')')[2].split()[0]


def command_line(pid: int) -> list[str]:
    """Return the arguments of a process; none if it has ended."""
    try:
        line = pathlib.Path('/proc/%d/cmdline' % pid).read_text()
    except OSError:
        return []
    return line.split('\0')[:-1]


class Command:
    """A command that runs in the background."""

    def __init__(self, argv: abc.Sequence[str], log: pathlib.Path,
                 env: abc.Mapping[str, str]) -> None:
        self.argv = argv
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open('ab') as output:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, env=env, process_group=0,
                preexec_fn=forking.end_with_parent)

    def wait(self) -> None:
        """:raises ServiceError: unless it ends in time with status 0"""
        try:
            status = self._process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            status = self._process.wait()
        if status:
            raise ServiceError('%s ended with status %d:\n%s' % (
                shlex.join(self.argv), status, tail(self.log)))


def _bound_socket(address: str) -> socket.socket:
    """A socket that keeps its port when it does not listen.

    The kernel takes back a port that it has chosen itself.
    """
    while True:
        with socket.create_server((address, 0)) as chosen:
            where = chosen.getsockname()
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(where)
        except OSError:  # Somebody else was faster.
            bound.close()
        else:
            return bound


class Daemon:
    """A server in its own process group.

    :param name: name of the server and its log
    :param directory: directory for the log and the working directory
    :param env: environment of the server
    :param detach: whether the server outlives this process
    :cvar own_session: whether each server has a session of its own, because
                       Linux shares the processors among sessions first
    """

    own_session = False

    def __init__(self, name: str, directory: pathlib.Path,
                 env: abc.Mapping[str, str], detach: bool = False) -> None:
        self.name = name
        self.env = dict(env)
        self.log = directory / 'log' / ('%s.log' % name)
        self._detach = detach
        self._before_exec = None if detach else forking.end_with_parent
        self._process: subprocess.Popen[bytes] | forking.Gunicorn | None = None
        self._workdir = directory / 'run' / name
        for path in (self.log.parent, self._workdir):
            path.mkdir(parents=True, exist_ok=True)

    @property
    def group(self) -> int:
        """The ID of the server's process group."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server; :meth:`wait` returns when it is up."""
        own_session = self._detach or self.own_session
        with self.log.open('ab') as output:
            self._process = subprocess.Popen(
                self._argv(), stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, env=self.env, cwd=self._workdir,
                pass_fds=self._descriptors(), preexec_fn=self._before_exec,
                start_new_session=own_session,
                process_group=None if own_session else 0)

    def _argv(self) -> list[str]:
        """The command line of the server."""
        raise NotImplementedError

    def _descriptors(self) -> abc.Sequence[int]:
        """The descriptors that the server inherits."""
        return ()

    def wait(self) -> None:
        """Wait until the server answers.

        :raises ServiceError: if it ends instead, or takes too long
        """
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            status = self._process.poll()
            if status is not None or time.monotonic() > deadline:
                raise ServiceError('%s is not up (exit status %s):\n%s' % (
                    self.name, status, tail(self.log)))
            time.sleep(0.1)

    def _answers(self) -> bool:
        """Whether the server is up."""
        raise NotImplementedError

    def pids(self) -> list[int]:
        """Return the server's own processes: its master, then the workers."""
        return [self.group, *children(self.group)]

    def kill(self, signal_number: int = signal.SIGKILL) -> None:
        """Signal the master and the workers, but not the workers' children.

        They are gone when this returns, with all that they held.
        """
        assert self._process is not None
        pids = self.pids()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal_number)
        self._process.wait(START_SECONDS)
        self._wait_until_gone(pids)

    def _wait_until_gone(self, pids: abc.Sequence[int]) -> None:
        """Wait for processes that were killed, not all of them children."""
        deadline = time.monotonic() + START_SECONDS
        while any(map(is_alive, pids)):
            if time.monotonic() > deadline:
                raise ServiceError('%s does not end' % self.name)
            time.sleep(0.01)

    def stop(self) -> None:
        """End the server, gracefully if there is enough time."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
            self._kill_group()

    def _kill_group(self) -> None:
        assert self._process is not None
        pids = self.pids()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)
        self._process.wait()
        self._wait_until_gone(pids)
        self._process = None

    def close(self) -> None:
        """End the server at once."""
        if self._process is not None:
            self._kill_group()


class Listener(Daemon):
    """A server on a port of its own.

    :param health: path that answers as soon as the service is up
    :param address: address to listen at
    """

    def __init__(self, name: str, directory: pathlib.Path,
                 env: abc.Mapping[str, str], health: str,
                 detach: bool = False, address: str = LOOPBACK) -> None:
        super().__init__(name, directory, env, detach)
        self._socket = _bound_socket(address)
        self._bind = 'fd://%d' % self._socket.fileno()
        self.url = 'http://%s:%d' % self._socket.getsockname()
        self._health_path = health

    def start(self) -> None:
        """Start the service; :meth:`wait` returns when it is up."""
        self._listen()
        super().start()

    def _listen(self) -> None:
        self._socket.listen(_BACKLOG)

    def _descriptors(self) -> abc.Sequence[int]:
        return [self._socket.fileno()]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(
                    self.url + self._health_path, timeout=30):
                return True
        except OSError:
            return False

    def kill(self, signal_number: int = signal.SIGKILL) -> None:
        """Signal the master and the workers, but not the workers' children."""
        super().kill(signal_number)
        # It refuses connections now, as the port of a dead process does.
        self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the service at once and release its port."""
        super().close()
        self._socket.close()


class Service(Listener):
    """A WSGI application under gunicorn or uWSGI.

    :param application: the application as ``module:name``
    :param server: ``gunicorn`` or ``uwsgi``
    :param workers: number of worker processes
    :param forked: whether a gunicorn is forked from a process that has its
                   modules
    """

    def __init__(self, name: str, application: str, directory: pathlib.Path,
                 env: abc.Mapping[str, str], health: str,
                 server: str = 'gunicorn', detach: bool = False,
                 address: str = LOOPBACK, workers: int = 1,
                 forked: bool = False) -> None:
        super().__init__(name, directory, env, health, detach, address)
        self._application = application
        self._server = server
        self._workers = workers
        self._forked = forked

    def start(self) -> None:
        """Start the service; :meth:`wait` returns when it is up."""
        if self._server != 'gunicorn' or not self._forked:
            super().start()
            return
        self._listen()
        self._write_settings()
        self._process = forking.Gunicorn(
            self._workdir, self.env, self.log, self._socket, self.own_session)

    def _argv(self) -> list[str]:
        return {'gunicorn': self._gunicorn,
                'uwsgi': self._uwsgi}[self._server]()

    def _gunicorn(self) -> list[str]:
        self._write_settings()
        return [sys.executable, script('gunicorn')]

    def _write_settings(self) -> None:
        # Keystone takes the command line for its own, so there is none: the
        # settings are where gunicorn looks for them by default.
        settings = {
            'bind': self._bind,
            'wsgi_app': self._application,
            'worker_class': 'gthread',
            'workers': self._workers,
            # An upload occupies one as long as it lasts.
            'threads': 32,
            # Clients keep connections, and do not expect them to end.
            'keepalive': 75,
            'timeout': 0,
            'graceful_timeout': STOP_SECONDS // 2,
            'control_socket_disable': True,
        }
        self._workdir.joinpath('gunicorn.conf.py').write_text(''.join(
            '%s = %r\n' % item for item in settings.items()))

    def _uwsgi(self) -> list[str]:
        # Under a uWSGI built from source sys.executable is uWSGI itself; the
        # one installed as a wheel is made to behave alike.
        module, _, name = self._application.partition(':')
        self._workdir.joinpath('application.py').write_text(
            'import sys\n\nsys.executable = %r\n\nfrom %s import %s\n'
            % (script('uwsgi'), module, name))
        return [
            script('uwsgi'), '--master', '--processes', str(self._workers),
            '--threads', '8', '--enable-threads', '--lazy-apps',
            '--need-app', '--die-on-term', '--http-socket', self._bind,
            '--add-header', 'Connection: close', '--home', sys.prefix,
            '--pythonpath', str(self._workdir),
            '--module', 'application:%s' % name]
