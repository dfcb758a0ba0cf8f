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

"""A Ceph of one monitor and one OSD, which has its data in memory.

It is for clouds with stores on RBD. To see what is in a pool, and to do what
only an operator can, use :meth:`Ceph.rbd`, which runs Ceph's own command.
"""

import atexit
from collections import abc
import contextlib
import hashlib
import importlib.machinery
import importlib.util
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import time
import typing
import uuid

from testbed.clouds import foundation
from testbed.clouds import services

_PROGRAMS = ('ceph', 'ceph-mon', 'ceph-osd', 'monmaptool', 'rbd')
_MODULES = ('rados', 'rbd')
#: Where Debian has the modules, for its own version of Python.
_DEBIAN = pathlib.Path('/usr/lib/python3/dist-packages')
_MEMORY = 4 * 1024 ** 3
#: Ports that the kernel does not give to connections.
_PORTS = range(20000, 32000)
_ATTEMPTS = 5
#: What the command says if a busy monitor does not answer in time.
_NO_ANSWER = 'problem getting command descriptions from mon'
_NOT_FOUND = 'No such file or directory'


def missing() -> str:
    """Say what is missing on this machine; nothing is empty."""
    absent = [name for name in _PROGRAMS
              if services.find_program(name) is None]
    if absent:
        return ('there is no %s, which Debian has in ceph-mon, ceph-osd and '
                'ceph-common' % ' and no '.join(absent))
    if all(map(importlib.util.find_spec, _MODULES)):
        return ''
    absent = [path.name for path in _debian_modules() if not path.exists()]
    if absent:
        return ("there is no %s, which Debian has in python3-rados and "
                "python3-rbd for the version of Python that is Debian's"
                % ' and no '.join(absent))
    return ''


def _debian_modules() -> list[pathlib.Path]:
    """The files in which this Python would find Debian's modules."""
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    return [_DEBIAN / (name + suffix) for name in _MODULES]


class _Server(services.Daemon):
    """A monitor or an OSD.

    :param kind: ``mon`` or ``osd``
    :param number: the server's ID
    :param config: path of the configuration file
    :param status: command that tells whether the server is up
    :param is_up: function that finds that out from the command's output
    """

    def __init__(self, kind: str, number: str, config: pathlib.Path,
                 status: abc.Sequence[str],
                 is_up: abc.Callable[[typing.Any], bool]) -> None:
        directory = config.parent
        super().__init__('ceph-' + kind, directory,
                         services.environment(directory))
        self._command = [services.find_program('ceph-' + kind) or '',
                         '--id', number, '--conf', str(config)]
        self._status = ['ceph', '--conf', str(config), '--connect-timeout',
                        '30', '--format', 'json', *status]
        self._is_up = is_up

    def make(self, *arguments: str) -> None:
        """Make the server's data directory."""
        services.Command(
            [*self._command, '--mkfs', *arguments],
            self.log.with_name('%s-mkfs.log' % self.name), self.env).wait()

    def _argv(self) -> list[str]:
        return [*self._command, '--foreground']

    def _answers(self) -> bool:
        done = subprocess.run(self._status, capture_output=True)
        return done.returncode == 0 and self._is_up(json.loads(done.stdout))

    def bring_up(self) -> None:
        """Start the server, and wait until it is up.

        On a busy machine, an OSD sometimes ends instead, because it talks to
        its monitor before it knows the cluster's ID.
        """
        for attempt in range(_ATTEMPTS):
            self.start()
            try:
                self.wait()
            except services.ServiceError:
                self.close()
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return


class Ceph:
    """A Ceph cluster for the stores of clouds.

    :param directory: directory for everything that the cluster writes
    """

    _shared: typing.ClassVar['Ceph | None'] = None

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.config = directory / 'ceph.conf'
        self._names = itertools.count(1)
        self._cluster = str(uuid.uuid4())
        self._monitor = _Server(
            'mon', 'a', self.config, ['quorum_status'],
            lambda found: found['monmap']['fsid'] == self._cluster)
        self._osd = _Server('osd', '0', self.config, ['osd', 'stat'],
                            lambda found: found['num_up_osds'] == 1)

    @classmethod
    def shared(cls) -> 'Ceph':
        """Return the cluster that is removed when this process ends."""
        if cls._shared is None:
            cls._shared = cls(foundation.temporary_directory())
            atexit.register(cls._shared.close)
            cls._shared.start()
        return cls._shared

    def start(self) -> None:
        """Make the cluster, and start it."""
        osd = str(uuid.uuid4())
        monitor = '%s:%d' % (services.LOOPBACK, _free_port())
        services.write_config(self.config, self._options(monitor))
        monitors = self.directory / 'monmap'
        for name in ('mon', 'osd'):
            self.directory.joinpath(name).mkdir()
        services.Command(
            ['monmaptool', '--create', '--fsid', self._cluster,
             '--addv', 'a', '[v1:%s]' % monitor, str(monitors)],
            self.directory / 'log' / 'monmap.log',
            services.environment(self.directory)).wait()
        self._monitor.make('--monmap', str(monitors))
        self._monitor.bring_up()
        self.run('ceph', 'osd', 'new', osd)
        self._osd.make('--osd-uuid', osd)
        self._osd.bring_up()

    def _options(self, monitor: str) -> dict[str, dict[str, typing.Any]]:
        return {
            'global': {
                'fsid': self._cluster,
                'mon_host': 'v1:%s' % monitor,
                'ms_bind_msgr2': 'false',
                'auth_cluster_required': 'none',
                'auth_service_required': 'none',
                'auth_client_required': 'none',
                'mon_data': self.directory / 'mon',
                'osd_data': self.directory / 'osd',
                'run_dir': self.directory,
                'log_file': self.directory / 'log' / '$name.log',
                'mon_cluster_log_file': self.directory / 'log' / 'cluster',
                'mon_allow_pool_size_one': 'true',
                'mon_allow_pool_delete': 'true',
                # However full the machine's file system is.
                'mon_data_avail_crit': 0,
                'osd_objectstore': 'memstore',
                'memstore_device_bytes': _MEMORY,
                'osd_pool_default_size': 1,
                'osd_pool_default_min_size': 1,
                'osd_pool_default_pg_num': 8,
                'osd_crush_chooseleaf_type': 0,
            },
            # A client writes nothing beside its answers.
            'client': {'log_file': '', 'admin_socket': '', 'pid_file': ''},
        }

    def run(self, *argv: str) -> str:
        """Run one of Ceph's commands, and return its output.

        All those that are run here can be repeated.
        """
        for attempt in range(_ATTEMPTS):
            done = subprocess.run(
                [argv[0], '--conf', str(self.config), *argv[1:]],
                capture_output=True, text=True)
            if _NO_ANSWER not in done.stderr:
                break
            time.sleep(attempt)
        if done.returncode:
            raise services.ServiceError('%s ended with status %d:\n%s' % (
                ' '.join(argv), done.returncode, done.stderr))
        return done.stdout

    def rbd(self, *argv: str) -> typing.Any:
        """Run the ``rbd`` command, and return what it prints as JSON."""
        printed = self.run('rbd', '--format', 'json', *argv)
        return json.loads(printed) if printed else None

    def create_pool(self) -> str:
        """Make a pool for images, and return its name."""
        name = 'images-%d' % next(self._names)
        self.run('ceph', 'osd', 'pool', 'create', name)
        self.run('rbd', 'pool', 'init', name)
        return name

    def remove_pool(self, name: str) -> None:
        """Remove a pool and everything in it."""
        self.run('ceph', 'osd', 'pool', 'rm', name, name,
                 '--yes-i-really-really-mean-it')

    def images(self, pool: str) -> list[str]:
        """Return the names of the images in a pool and in its trash."""
        return sorted([*self.rbd('ls', pool), *(
            found['name'] for found in self.rbd('trash', 'ls', pool))])

    def create_half(self, pool: str, image: str) -> None:
        """Leave what a client leaves that is killed while it creates."""
        path = pool + '/' + image
        self.run('rbd', 'create', '--size', '1M', path)
        found = self.rbd('info', path)
        self.run('rados', '--pool', pool, 'rm', 'rbd_header.' + found['id'])

    @contextlib.contextmanager
    def standstill(self) -> abc.Iterator[None]:
        """Let no data be read or written until this is left."""
        os.killpg(self._osd.group, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._osd.group, signal.SIGCONT)

    def is_complete(self, pool: str, image: str) -> bool:
        """Whether an image has the snapshot that Glance's store makes last.

        One that a client was about to create cannot be opened.
        """
        try:
            found = self.rbd('snap', 'ls', pool + '/' + image)
        except services.ServiceError as error:
            if _NOT_FOUND in str(error):
                return False
            raise
        return any(snapshot['name'] == 'snap' for snapshot in found)

    def digest(self, pool: str, image: str) -> str:
        """Return the SHA-256 of a complete image's data."""
        with subprocess.Popen(
                ['rbd', '--conf', str(self.config), '--no-progress', 'export',
                 '%s/%s@snap' % (pool, image), '-'],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as export:
            assert export.stdout is not None
            digest = hashlib.sha256()
            while chunk := export.stdout.read(1 << 20):
                digest.update(chunk)
        return digest.hexdigest()

    def store_options(self, pool: str) -> dict[str, typing.Any]:
        """Return the options of a store of Glance's on a pool."""
        return {'rbd_store_ceph_conf': self.config, 'rbd_store_pool': pool,
                'rbd_store_user': 'admin', 'rbd_thin_provisioning': True}

    def modules(self) -> str:
        """Return the directory in which Python finds Ceph's modules.

        It holds links to Debian's, unless the environment has them.
        """
        directory = self.directory / 'python'
        directory.mkdir(exist_ok=True)
        if not all(map(importlib.util.find_spec, _MODULES)):
            for module in _debian_modules():
                with contextlib.suppress(FileExistsError):
                    directory.joinpath(module.name).symlink_to(module)
        return str(directory)

    def close(self) -> None:
        """Stop the cluster and remove its directory."""
        for server in (self._osd, self._monitor):
            server.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def _free_port() -> int:
    """A port for the monitor, which has to know it before it starts."""
    while True:
        port = random.choice(_PORTS)
        with (contextlib.suppress(OSError),
              socket.create_server((services.LOOPBACK, port))):
            return port
