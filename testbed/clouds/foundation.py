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

"""What clouds share: a database server, a Keystone and an empty Glance."""

import atexit
import json
import os
import pathlib
import shutil
import tempfile
import typing

from testbed.clouds import databases
from testbed.clouds import keystone
from testbed.clouds import services

TOKEN_SECONDS = 3600
#: The variable with which a process offers its foundation to its children.
_OFFER = 'TESTBED_FOUNDATION'


def temporary_directory() -> pathlib.Path:
    """Make a directory for everything that a cloud reads and writes."""
    return pathlib.Path(tempfile.mkdtemp(prefix='glance-xs-convert-'))


class Foundation:
    """A database server with a Keystone and an empty database of Glance.

    :param directory: directory for everything that the foundation reads and
                      writes
    :param database_server: where its databases are
    :param identity: its Keystone
    :param empty: name of the empty database of Glance
    """

    _shared: typing.ClassVar['Foundation | None'] = None

    def __init__(self, directory: pathlib.Path,
                 database_server: databases.Databases,
                 identity: keystone.Identity, empty: str) -> None:
        self.directory = directory
        self.databases = database_server
        self.keystone = identity
        self._empty = empty

    @classmethod
    def shared(cls) -> 'Foundation':
        """Return the one that the clouds of this process share.

        It is one that another process offers, or else one that is removed
        when this process ends.
        """
        if cls._shared is None:
            if _OFFER in os.environ:
                cls._shared = cls._offered(json.loads(os.environ[_OFFER]))
            else:
                own = OwnFoundation(temporary_directory())
                atexit.register(own.close)
                cls._shared = own
        return cls._shared

    @classmethod
    def _offered(cls, offer: dict[str, str]) -> 'Foundation':
        directory = pathlib.Path(offer['directory'])
        return cls(directory, databases.MariaDB(directory),
                   keystone.Identity(offer['auth_url']), offer['empty'])

    def offer(self) -> dict[str, str]:
        """Return the environment with which other processes share it."""
        return {_OFFER: json.dumps({
            'directory': str(self.directory), 'empty': self._empty,
            'auth_url': self.keystone.auth_url})}

    def is_shared(self) -> bool:
        """Whether other clouds of this process may use it, too."""
        return self is Foundation._shared

    def new_database(self) -> str:
        """Make a database for a Glance, and return its name."""
        return self.databases.copy(self._empty, 'glance')

    def wait(self) -> None:
        """Wait until Keystone is up."""

    def groups(self) -> list[int]:
        """Return the process groups of a foundation that is detached."""
        return []

    def close(self) -> None:
        """Stop what this process has started."""


class OwnFoundation(Foundation):
    """A foundation that this process starts.

    :param directory: directory for everything that the foundation reads and
                      writes
    :param sqlite: whether the databases are files, and not on MariaDB
    :param detach: whether Keystone outlives this process
    :param token_seconds: lifetime of a token
    """

    def __init__(self, directory: pathlib.Path, sqlite: bool = False,
                 detach: bool = False,
                 token_seconds: int = TOKEN_SECONDS) -> None:
        server: databases.Databases = (
            databases.SQLite(directory) if sqlite
            else databases.MariaDB(directory))
        self.server = keystone.Keystone(
            directory, server, detach, token_seconds)
        super().__init__(directory, server, self.server, '')
        self._ready = False
        try:
            self._start()
        except BaseException:
            self._stop()
            raise

    def _start(self) -> None:
        self.databases.start()
        self.databases.wait()
        self._empty = self.databases.create('empty_glance')
        config = self.directory / 'etc' / 'glance-manage.conf'
        services.write_config(
            config, {'database': self.databases.options(self._empty)})
        db_sync = services.Command(
            [services.script('glance-manage'), '--config-file', str(config),
             'db_sync'], self.directory / 'log' / 'glance-manage.log',
            services.environment(self.directory))
        self.server.start()
        db_sync.wait()

    def wait(self) -> None:
        """Wait until Keystone is up."""
        if not self._ready:
            self.server.wait()
            self._ready = True

    def groups(self) -> list[int]:
        """Return the process groups of a foundation that is detached."""
        return [self.server.service.group]

    def close(self) -> None:
        """Stop Keystone and the database server, and remove the directory."""
        self._stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _stop(self) -> None:
        self.server.service.close()
        self.databases.close()
