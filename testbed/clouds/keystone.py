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

"""A Keystone for clouds."""

import functools
import getpass
import grp
import itertools
import os
import pathlib
import typing

from keystoneauth1 import adapter
from keystoneauth1.identity import v3
from keystoneauth1 import session

from testbed.clouds import databases
from testbed.clouds import services

PASSWORD = 'secret'
USERS = {
    'demo': ('demo', ('member',)),
    'other': ('other', ('member',)),
    'glance': ('service', ('admin', 'service')),
}

Record = dict[str, typing.Any]


class Identity:
    """A Keystone with the users ``admin``, ``demo``, ``other`` and ``glance``.

    ``admin``, ``demo`` and ``other`` each have a project of the same name; the
    service user ``glance`` has the project ``service``.

    :param auth_url: URL of its API
    """

    def __init__(self, auth_url: str) -> None:
        self.auth_url = auth_url
        self._regions = itertools.count(1)

    def add_region(self, image_url: str) -> str:
        """Make a region with this Keystone and a Glance.

        :returns: the region's name
        """
        region = 'Region%d-%d' % (os.getpid(), next(self._regions))
        self._create('region', id=region)
        urls = {'identity': self.auth_url, 'image': image_url}
        for service in self._list('services'):
            if service['type'] in urls:
                self._add_endpoints(service, urls[service['type']], region)
        return region

    def add_service(self, name: str, service_type: str, url: str,
                    region: str) -> None:
        """Add a service that one region has to the catalog."""
        service = self._create('service', type=service_type, name=name)
        self._add_endpoints(service, url, region)

    def _add_endpoints(self, service: Record, url: str, region: str) -> None:
        for interface in ('public', 'internal'):
            self._create('endpoint', service_id=service['id'], url=url,
                         region_id=region, interface=interface)

    def remove_region(self, region: str) -> None:
        """Remove a region from the catalog."""
        for endpoint in self._list('endpoints'):
            if endpoint['region_id'] == region:
                self._identity.delete('/endpoints/%s' % endpoint['id'])
        self._identity.delete('/regions/%s' % region)

    def middleware_options(self) -> dict[str, str]:
        """The options in a service's group ``[keystone_authtoken]``."""
        return {
            'auth_type': 'password',
            'auth_url': self.auth_url,
            'www_authenticate_uri': self.auth_url,
            'username': 'glance',
            'password': PASSWORD,
            'project_name': 'service',
            'user_domain_id': 'default',
            'project_domain_id': 'default',
        }

    def session(self, user: str) -> session.Session:
        """Make a session for a user in the project of the same name."""
        return session.Session(auth=v3.Password(
            auth_url=self.auth_url, username=user, password=PASSWORD,
            project_name=user, user_domain_id='default',
            project_domain_id='default'))

    @functools.cached_property
    def _identity(self) -> adapter.Adapter:
        return adapter.Adapter(self.session('admin'),
                               endpoint_override=self.auth_url)

    def _list(self, kind: str) -> list[Record]:
        records: list[Record] = self._identity.get('/' + kind).json()[kind]
        return records

    def _create(self, kind: str, **attributes: str) -> Record:
        record: Record = self._identity.post(
            '/%ss' % kind, json={kind: attributes}).json()[kind]
        return record


class Keystone(Identity):
    """A Keystone that this process starts.

    :param directory: directory for everything that Keystone reads and writes
    :param database: where Keystone has its database
    :param detach: whether the service outlives this process
    :param token_seconds: lifetime of a token
    """

    def __init__(self, directory: pathlib.Path,
                 database: databases.Databases, detach: bool = False,
                 token_seconds: int = 3600) -> None:
        self._etc = directory / 'etc' / 'keystone'
        self._config = self._etc / 'keystone.conf'
        self._database = database
        self._options: dict[str, dict[str, typing.Any]] = {
            'fernet_tokens': {'key_repository': directory / 'fernet'},
            'cache': {'enabled': True, 'backend': 'dogpile.cache.memory'},
            'identity': {'password_hash_rounds': 4},
            'token': {'expiration': token_seconds},
        }
        directory.joinpath('fernet').mkdir(mode=0o700)
        env = services.environment(
            directory, OS_KEYSTONE_CONFIG_DIR=str(self._etc))
        self.service = services.Service(
            'keystone', 'keystone.wsgi.api:application', directory, env,
            '/v3', detach=detach)
        super().__init__(self.service.url + '/v3')

    def start(self) -> None:
        """Make the database and the keys, and start the service."""
        services.write_config(self._config, self._options | {
            'database': self._database.options(
                self._database.create('keystone'))})
        setup = [
            self._manage('db_sync'),
            self._manage('fernet_setup',
                         '--keystone-user', getpass.getuser(),
                         '--keystone-group',
                         grp.getgrgid(os.getgid()).gr_name)]
        for command in setup:
            command.wait()
        self.service.start()
        self._manage('bootstrap', '--bootstrap-password', PASSWORD).wait()

    def _manage(self, *argv: str) -> services.Command:
        return services.Command(
            [services.script('keystone-manage'),
             '--config-file', str(self._config), *argv],
            self.service.log.with_name('keystone-%s.log' % argv[0]),
            self.service.env)

    def wait(self) -> None:
        """Wait until the service is up, and add the users."""
        self.service.wait()
        self._create('service', type='identity', name='keystone')
        self._create('service', type='image', name='glance')
        roles = {role['name']: role['id'] for role in self._list('roles')}
        for user, (project, granted) in USERS.items():
            project_id = self._create(
                'project', name=project, domain_id='default')['id']
            user_id = self._create(
                'user', name=user, password=PASSWORD,
                domain_id='default')['id']
            for role in granted:
                self._identity.put('/projects/%s/users/%s/roles/%s' % (
                    project_id, user_id, roles[role]))
