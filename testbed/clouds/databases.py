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

"""The databases of a cloud: on MariaDB, or on SQLite for a demonstration.

Both have the same interface. A test that has to see or change what only an
operator can see or change does it with ``Cloud.change_database``.
"""

from collections import abc
import contextlib
import getpass
import itertools
import os
import pathlib
import sqlite3
import subprocess
import typing
import urllib.parse

import pymysql

from testbed.clouds import services

#: Files that MariaDB's server and its installer come in.
_SERVER = 'mariadbd'
_INSTALLER = 'mariadb-install-db'
_BUFFER = '96M'

Statement = tuple[typing.Any, ...]


def missing() -> str:
    """Say what is missing for MariaDB on this machine; nothing is empty."""
    absent = [name for name in (_SERVER, _INSTALLER)
              if services.find_program(name) is None]
    if absent:
        return ('there is no %s, which Debian has in mariadb-server'
                % ' and no '.join(absent))
    return ''


class MariaDB(services.Daemon):
    """A MariaDB server that is reached through a socket in its directory.

    :param directory: directory for everything that the server reads and
                      writes
    """

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__('mariadb', directory,
                         services.environment(directory))
        self._data = directory / 'mariadb'
        # Servers that share one remove each other's temporary tables.
        self._temporary = directory / 'mariadb-tmp'
        self._path = directory / 'db.sock'
        self._names = itertools.count(1)

    def start(self) -> None:
        """Make an empty server, and start it."""
        installer = services.find_program(_INSTALLER)
        if installer is None:
            raise services.ServiceError(missing())
        self._temporary.mkdir()
        services.Command(
            [installer, '--no-defaults', '--skip-test-db',
             '--auth-root-authentication-method=normal',
             *self._common()],
            self.log.with_name('mariadb-install-db.log'), self.env).wait()
        super().start()

    def _common(self) -> list[str]:
        return ['--user=%s' % getpass.getuser(),
                '--datadir=%s' % self._data, '--tmpdir=%s' % self._temporary]

    def _argv(self) -> list[str]:
        return [
            services.find_program(_SERVER) or _SERVER, '--no-defaults',
            *self._common(),
            '--socket=%s' % self._path, '--skip-networking',
            '--innodb-flush-log-at-trx-commit=0', '--skip-log-bin',
            '--innodb-buffer-pool-size=%s' % _BUFFER,
            '--performance-schema=0', '--max-connections=1000']

    def _answers(self) -> bool:
        try:
            self.connect('mysql').close()
        except pymysql.MySQLError:
            return False
        return True

    def connect(self, name: str) -> typing.Any:
        """Open a connection to a database."""
        # Otherwise it reads all certificates of the system.
        return pymysql.connect(
            unix_socket=str(self._path), user='root', database=name,
            charset='utf8mb3', ssl_disabled=True)

    def create(self, name: str) -> str:
        """Make an empty database, and return its name.

        :param name: beginning of the name
        """
        # Another process may use the server, too.
        made = '%s_%d_%d' % (name, os.getpid(), next(self._names))
        self.change('mysql', ('CREATE DATABASE %s CHARACTER SET utf8mb3'
                              % made,))
        return made

    def copy(self, source: str, name: str) -> str:
        """Make a database like another one, and return its name."""
        made = self.create(name)
        login = ['--no-defaults', '--socket=%s' % self._path, '--user=root']
        dump = subprocess.run(['mariadb-dump', *login, source],
                              stdout=subprocess.PIPE, check=True)
        subprocess.run(['mariadb', *login, made], input=dump.stdout,
                       check=True)
        return made

    def drop(self, name: str) -> None:
        """Remove a database."""
        self.change('mysql', ('DROP DATABASE %s' % name,))

    def options(self, name: str) -> dict[str, typing.Any]:
        """Return a service's options in its group ``[database]``."""
        return {'connection': 'mysql+pymysql://root@localhost/%s?%s' % (
            name, urllib.parse.urlencode(
                {'unix_socket': self._path, 'charset': 'utf8mb3',
                 'ssl_disabled': True}, safe='/'))}

    def change(self, name: str, *statements: Statement) -> None:
        """Execute statements, each followed by its values for ``%s``."""
        with (contextlib.closing(self.connect(name)) as opened,
              opened.cursor() as cursor):
            for statement, *values in statements:
                cursor.execute(statement, values)
            opened.commit()

    def rows(self, name: str, statement: str, *values: typing.Any,
             ) -> abc.Sequence[tuple[typing.Any, ...]]:
        """Return the rows that a statement finds."""
        with (contextlib.closing(self.connect(name)) as opened,
              opened.cursor() as cursor):
            cursor.execute(statement, values)
            return list(cursor.fetchall())


class SQLite:
    """Databases that are files: enough for one worker process.

    :param directory: directory for the files
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory

    def start(self) -> None:
        """There is nothing to start."""

    def wait(self) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """There is nothing to stop."""

    def _path(self, name: str) -> pathlib.Path:
        return self._directory / ('%s.db' % name)

    def create(self, name: str) -> str:
        """Make an empty database, and return its name.

        Readers and a writer do not lock each other out.
        """
        with contextlib.closing(sqlite3.connect(self._path(name))) as made:
            made.execute('PRAGMA journal_mode = WAL')
        return name

    def copy(self, source: str, name: str) -> str:
        """Make a database like another one, and return its name."""
        with (contextlib.closing(sqlite3.connect(
                self._path(source))) as original,
              contextlib.closing(sqlite3.connect(
                  self._path(self.create(name)))) as made):
            original.backup(made)
        return name

    def drop(self, name: str) -> None:
        """Remove a database."""
        self._path(name).unlink(missing_ok=True)

    def options(self, name: str) -> dict[str, typing.Any]:
        """Return a service's options in its group ``[database]``."""
        return {'connection': 'sqlite:///%s?timeout=60' % self._path(name),
                'sqlite_synchronous': False}


Databases = MariaDB | SQLite
