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
import pathlib
import shutil
import tempfile
import typing

from testbed.clouds import databases
from testbed.clouds import keystone
from testbed.clouds import services

TOKEN_SECONDS = 3600


def temporary_directory() -> pathlib.Path:
    """Make a directory for everything that a cloud reads and writes."""
    return pathlib.Path(tempfile.mkdtemp(prefix='glance-xs-convert-'))


class Foundation:
    """A database server with a Keystone and an empty database of Glance.

    :param directory: directory for everything that the foundation reads and
                      writes
    :param sqlite: whether the databases are files, and not on MariaDB
    :param detach: whether Keystone outlives this process
    :param token_seconds: lifetime of a token
    """

    _shared: typing.ClassVar['Foundation | None'] = None

    def __init__(self, directory: pathlib.Path, sqlite: bool = False,
                 detach: bool = False,
                 token_seconds: int = TOKEN_SECONDS) -> None:
        self.directory = directory
        self.databases: databases.Databases = (
            databases.SQLite(directory) if sqlite
            else databases.MariaDB(directory))
        self.keystone = keystone.Keystone(
            directory, self.databases, detach, token_seconds)
        self._empty = ''
        self._ready = False
        try:
            self._start()
        except BaseException:
            self._stop()
            raise

    @classmethod
    def shared(cls) -> 'Foundation':
        """Return the foundation that is removed when this process ends."""
        if cls._shared is None:
            cls._shared = cls(temporary_directory())
            atexit.register(cls._shared.close)
        return cls._shared

    def is_shared(self) -> bool:
        """Whether other clouds of this process may use it, too."""
        return self is type(self)._shared

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
        self.keystone.start()
        db_sync.wait()

    def new_database(self) -> str:
        """Make a database for a Glance, and return its name."""
        return self.databases.copy(self._empty, 'glance')

    def wait(self) -> None:
        """Wait until Keystone is up."""
        if not self._ready:
            self.keystone.wait()
            self._ready = True

    def close(self) -> None:
        """Stop Keystone and the database server, and remove the directory."""
        self._stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _stop(self) -> None:
        self.keystone.service.close()
        self.databases.close()
