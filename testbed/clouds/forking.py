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

"""Programs in Python that start with their modules imported.

To import its modules takes most of a program's start. Here a process imports
them once, and forks for each service and each command.
"""

from collections import abc
import ctypes
import importlib
import multiprocessing
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import typing
import warnings

_GUNICORN = 'gunicorn.app.wsgiapp'
_COMMAND = 'glance_xs_convert.cli.main'
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)

_PREPARATION = 'testbed.clouds.forked'
_preloaded = [_GUNICORN, 'gunicorn.workers.gthread']


def end_with_parent() -> None:
    """Let this process get SIGTERM when its parent ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def preload(*modules: str) -> None:
    """Let modules be imported before the first program is started."""
    _preloaded.extend(modules)


class Program:
    """A program in a process of its own, with the methods of a Popen.

    :param run: function of a module, which is called with the arguments
    """

    def __init__(self, run: abc.Callable[..., None],
                 *arguments: typing.Any) -> None:
        context = multiprocessing.get_context('forkserver')
        context.set_forkserver_preload([*_preloaded, _PREPARATION])
        # At the end, nobody waits for it.
        self._process = context.Process(
            target=run, args=arguments, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit status, or None if it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return the exit status.

        :raises TimeoutExpired: it still runs
        """
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return status

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()


class Gunicorn(Program):
    """A gunicorn in its own process group.

    :param directory: its working directory, with its ``gunicorn.conf.py``
    :param env: its environment
    :param log: file for its output
    :param listener: the socket that it listens at
    :param own_session: whether it has a session of its own
    """

    def __init__(self, directory: pathlib.Path, env: abc.Mapping[str, str],
                 log: pathlib.Path, listener: socket.socket,
                 own_session: bool) -> None:
        super().__init__(_serve, directory, dict(env), log, listener,
                         own_session)


class Command(Program):
    """A command of this package.

    :param argv: its arguments
    :param env: its environment
    :param directory: empty directory for what it prints
    """

    def __init__(self, argv: abc.Sequence[str], env: abc.Mapping[str, str],
                 directory: pathlib.Path) -> None:
        self._stdout = directory / 'stdout'
        self._stderr = directory / 'stderr'
        super().__init__(_command, argv, dict(env), self._stdout,
                         self._stderr)

    def stdout(self) -> str:
        """Return what it has printed so far."""
        return _text(self._stdout)

    def stderr(self) -> str:
        """Return what it has said so far."""
        return _text(self._stderr)

    def send_signal(self, signal_number: int) -> None:
        """Send a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, signal_number)


def _text(path: pathlib.Path) -> str:
    """The text of a file that may not be there yet."""
    return path.read_text() if path.exists() else ''


def _become(env: dict[str, str], stdout: pathlib.Path,
            stderr: pathlib.Path) -> None:
    """Have the environment and the files of a program."""
    end_with_parent()
    with open(os.devnull, 'rb') as nothing, stdout.open('ab') as output, \
            stderr.open('ab') as errors:
        for stream, file in enumerate((nothing, output, errors)):
            os.dup2(file.fileno(), stream)
    os.environ.clear()
    os.environ.update(env)
    # What stevedore remembers belongs to one path.
    sys.path[:0] = [entry for entry in filter(
        None, env.get('PYTHONPATH', '').split(os.pathsep))
        if entry not in sys.path]
    warnings.simplefilter('ignore')


def _serve(directory: pathlib.Path, env: dict[str, str], log: pathlib.Path,
           listener: socket.socket, own_session: bool) -> None:
    """Become a gunicorn, in a process that was forked for it."""
    if own_session:
        os.setsid()
    else:
        os.setpgid(0, 0)
    _become(env, log, log)
    os.environ['GUNICORN_CMD_ARGS'] = shlex.join([
        '--config', str(directory / 'gunicorn.conf.py'),
        '--chdir', str(directory), '--bind', f'fd://{listener.detach()}'])
    sys.argv = ['gunicorn']
    os.chdir(directory)
    importlib.import_module(_GUNICORN).run()


def _command(argv: abc.Sequence[str], env: dict[str, str],
             stdout: pathlib.Path, stderr: pathlib.Path) -> None:
    """Become a command, in a process that was forked for it."""
    _become(env, stdout, stderr)
    sys.argv = ['glance-xs-convert', *argv]
    sys.exit(importlib.import_module(_COMMAND).main())
