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

"""The APIs of Cinder and Nova, which list the volumes and servers of images.

Only the APIs run. The volumes and servers are mere database records, which the
scripts in ``testbed.clouds.records`` write with the services' own code.
"""

from collections import abc
import http
import http.server
import importlib.util
import json
import os
import pathlib
import sys
import threading
import typing

from testbed.clouds import foundation
from testbed.clouds import services

_ROOT = pathlib.Path(__file__).parents[2]


def installed() -> bool:
    """Whether both services are in this Python environment."""
    return all(map(importlib.util.find_spec, ('cinder', 'nova')))


class _Networks:
    """Answers like a Neutron in which there is nothing: Nova asks it."""

    def __init__(self) -> None:
        self._server = http.server.ThreadingHTTPServer(
            (services.LOOPBACK, 0), _Nothing)
        self.url = 'http://%s:%d' % self._server.server_address[:2]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Nothing(http.server.BaseHTTPRequestHandler):
    """Answers that there are none of what is asked for."""

    def do_GET(self) -> None:
        kind = self.path.partition('?')[0].rpartition('/')[2]
        body = json.dumps({kind.removesuffix('.json'): []}).encode()
        self.send_response(http.HTTPStatus.OK)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Be silent."""


class Consumer:
    """The API of a service that uses images, as a context manager.

    :param directory: directory for everything that the service reads and
                      writes
    :param base: what the service shares with the clouds of this process
    :param region: the service's region
    """

    NAME: str
    #: Service type in the catalog.
    TYPE: str
    APPLICATION: str
    #: Path of the API in the catalog.
    PATH: str
    HEALTH: str
    #: Beginnings of the names of its databases, its own first.
    DATABASES: abc.Sequence[str]

    def __init__(self, directory: pathlib.Path, base: foundation.Foundation,
                 region: str) -> None:
        self._base = base
        self._databases = {
            name: base.databases.create(name) for name in self.DATABASES}
        self._region = region
        self._etc = directory / 'etc' / self.NAME
        self._directory = directory
        self._networks = _Networks()
        services.write_config(self._etc / ('%s.conf' % self.NAME), {
            'DEFAULT': {
                'transport_url': 'fake://',
                'state_path': directory / self.NAME,
                'api_paste_config': self._paste(),
            },
            'api': {'auth_strategy': 'keystone'},
            'database': self._database(self.DATABASES[0]),
            # Cinder has no such group, and ignores it.
            'api_database': self._database(self.DATABASES[-1]),
            'keystone_authtoken': base.keystone.middleware_options(),
            'neutron': {'endpoint_override': self._networks.url},
            'oslo_concurrency': {'lock_path': directory / 'lock'},
        })
        self.service = services.Service(
            self.NAME, self.APPLICATION, directory, services.environment(
                directory, PYTHONPATH=str(_ROOT),
                **self._where_configuration_is()), self.HEALTH)

    def _database(self, name: str) -> dict[str, typing.Any]:
        return self._base.databases.options(self._databases[name])

    def _paste(self) -> str:
        """The path of the API's pipelines, which the package brings."""
        return os.path.join(sys.prefix, 'etc', self.NAME, 'api-paste.ini')

    def _where_configuration_is(self) -> dict[str, str]:
        """Environment variables that name the configuration's directory."""
        raise NotImplementedError

    def _steps(self) -> abc.Iterator[abc.Sequence[str]]:
        """The arguments of the commands that make the databases."""
        raise NotImplementedError

    def record(self, *described: tuple[str, str]) -> list[str]:
        """Make volumes or servers of images.

        :param described: for each, the ID of its project and that of its
                          image, which is empty for none
        :returns: IDs of the records
        """
        run = self._run(
            [sys.executable, '-m', 'testbed.clouds.records.%s' % self.NAME,
             *map(':'.join, described)], 'record')
        return services.tail(run.log, len(described)).split()

    def _run(self, argv: abc.Sequence[str], name: str) -> services.Command:
        command = services.Command(
            argv, self.service.log.with_name(
                '%s-%s.log' % (self.NAME, name)), self.service.env)
        command.wait()
        return command

    def __enter__(self) -> typing.Self:
        try:
            for arguments in self._steps():
                self._run([services.script('%s-manage' % self.NAME),
                           *arguments], 'manage')
            self.service.start()
            self.service.wait()
            self._base.keystone.add_service(
                self.NAME, self.TYPE, self.service.url + self.PATH,
                self._region)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.service.close()
        self._networks.close()
        for name in self._databases.values():
            self._base.databases.drop(name)


class Cinder(Consumer):
    """Cinder's API: its records are volumes."""

    NAME = 'cinder'
    TYPE = 'block-storage'
    APPLICATION = 'cinder.wsgi.api:application'
    PATH = '/v3'
    HEALTH = '/healthcheck'
    DATABASES = ('cinder',)

    def _where_configuration_is(self) -> dict[str, str]:
        # oslo.config looks for it in the home directory.
        home = self._directory / '.cinder'
        home.symlink_to(self._etc)
        return {}

    def _steps(self) -> abc.Iterator[abc.Sequence[str]]:
        yield 'db', 'sync'


class Nova(Consumer):
    """Nova's API: its records are servers."""

    NAME = 'nova'
    TYPE = 'compute'
    APPLICATION = 'nova.wsgi.osapi_compute:application'
    PATH = '/v2.1'
    HEALTH = '/'
    DATABASES = ('nova', 'nova_cell0', 'nova_api')

    def _where_configuration_is(self) -> dict[str, str]:
        self._etc.joinpath('api-paste.ini').symlink_to(self._paste())
        self._directory.joinpath('.nova').symlink_to(self._etc)
        return {'OS_NOVA_CONFIG_DIR': str(self._etc)}

    def _steps(self) -> abc.Iterator[abc.Sequence[str]]:
        nowhere = self._database('nova_cell0')['connection']
        yield 'api_db', 'sync'
        yield 'cell_v2', 'map_cell0', '--database_connection', nowhere
        yield 'db', 'sync'
        yield 'cell_v2', 'create_cell', '--name', 'cell1'
