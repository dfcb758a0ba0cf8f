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

"""Servers under gunicorn that start with their modules imported.

To import a service's modules takes most of its start. Here a process imports
them once, and forks for each server.
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
import warnings

_GUNICORN = 'gunicorn.app.wsgiapp'
_WORKER = 'gunicorn.workers.gthread'
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def end_with_parent() -> None:
    """Let this process get SIGTERM when its parent ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Gunicorn:
    """A gunicorn in its own process group, with the methods of a Popen.

    :param modules: modules that all servers of a process have in common; they
                    are imported when the first one starts
    :param directory: its working directory, with its ``gunicorn.conf.py``
    :param env: its environment
    :param log: file for its output
    :param listener: the socket that it listens at
    :param own_session: whether it has a session of its own
    """

    def __init__(self, modules: abc.Sequence[str], directory: pathlib.Path,
                 env: abc.Mapping[str, str], log: pathlib.Path,
                 listener: socket.socket, own_session: bool) -> None:
        context = multiprocessing.get_context('forkserver')
        context.set_forkserver_preload([_GUNICORN, _WORKER, *modules])
        self._process = context.Process(
            target=_serve, args=(directory, dict(env), log, listener,
                                 own_session))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit status, or None if it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        :raises TimeoutExpired: it still runs
        """
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            raise subprocess.TimeoutExpired('gunicorn', timeout or 0)
        return status

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()


def _serve(directory: pathlib.Path, env: dict[str, str], log: pathlib.Path,
           listener: socket.socket, own_session: bool) -> None:
    """Become a gunicorn, in a process that was forked for it."""
    if own_session:
        os.setsid()
    else:
        os.setpgid(0, 0)
    end_with_parent()
    with log.open('ab') as output, open(os.devnull, 'rb') as nothing:
        for stream, file in enumerate((nothing, output, output)):
            os.dup2(file.fileno(), stream)
    os.environ.clear()
    os.environ.update(env)
    os.environ['GUNICORN_CMD_ARGS'] = shlex.join([
        '--config', str(directory / 'gunicorn.conf.py'),
        '--chdir', str(directory), '--bind', f'fd://{listener.detach()}'])
    sys.path[:0] = env.get('PYTHONPATH', '').split(os.pathsep)
    sys.argv = ['gunicorn']
    warnings.simplefilter('ignore')
    os.chdir(directory)
    importlib.import_module(_GUNICORN).run()
