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


"""A cloud for tests: a real Glance, with a Keystone that clouds share.

Everything that a service reads and writes (configuration, database, keys,
logs, staging area, stores) is below a temporary directory.
"""

import atexit
from collections import abc
import importlib.metadata
import os
import pathlib
import shlex
import shutil
import signal
import sys
import tempfile
import time
import typing

import glanceclient
import openstack

from testbed.clouds import haproxy
from testbed.clouds import keystone
from testbed.clouds import services

IMPORT_METHODS = ('glance-direct', 'web-download', 'glance-download',
                  'copy-image')
IMPORT_SECONDS = 180
TOKEN_SECONDS = 3600
CONVERTER = 'glance_xs_convert.worker.child'
#: The first number of Glance's version.
RELEASE = int(importlib.metadata.version('glance').partition('.')[0])

_ROOT = pathlib.Path(__file__).parents[2]
_HEALTH = '/healthcheck'
_UPLOAD_FILTER = '''
[filter:xs_convert_upload]
use = egg:glance-xs-convert#xs_convert_upload
'''


class Foundation:
    """The basis of clouds: a Keystone and an empty Glance database.

    :param directory: directory for everything that the foundation reads and
                      writes
    :param detach: whether Keystone outlives this process
    :param token_seconds: lifetime of a token
    """

    _shared: typing.ClassVar['Foundation | None'] = None

    def __init__(self, directory: pathlib.Path, detach: bool = False,
                 token_seconds: int = TOKEN_SECONDS) -> None:
        self.directory = directory
        self.keystone = keystone.Keystone(directory, detach, token_seconds)
        self.database = directory / 'empty-glance.db'
        self._ready = False
        try:
            self._start()
        except BaseException:
            self.keystone.service.close()
            raise

    @classmethod
    def shared(cls) -> 'Foundation':
        """Return the foundation that is removed when this process ends."""
        if cls._shared is None:
            cls._shared = cls(_temporary_directory())
            atexit.register(cls._shared.close)
        return cls._shared

    def _start(self) -> None:
        config = self.directory / 'etc' / 'glance-manage.conf'
        services.write_config(
            config, {'database': _database(self.database)})
        db_sync = services.Command(
            [services.script('glance-manage'), '--config-file', str(config),
             'db_sync'], self.directory / 'log' / 'glance-manage.log',
            services.environment(self.directory))
        self.keystone.start()
        db_sync.wait()

    def wait(self) -> None:
        """Wait until Keystone is up."""
        if not self._ready:
            self.keystone.wait()
            self._ready = True

    def close(self) -> None:
        """Stop Keystone and remove the directory."""
        self.keystone.service.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def with_upload_filter(paste: str) -> str:
    """Put the upload filter before the API in every pipeline.

    :param paste: text of glance-api-paste.ini
    """
    return paste.replace(
        ' rootapp\n', ' xs_convert_upload rootapp\n') + _UPLOAD_FILTER


class _Host:
    """A host of Glance's API, with a staging area of its own.

    :param number: 0 for the first one
    """

    def __init__(self, number: int, directory: pathlib.Path, server: str,
                 detach: bool) -> None:
        suffix = '-%d' % number if number else ''
        self.etc = directory / 'etc' / ('glance' + suffix)
        self.paste = self.etc / 'glance-api-paste.ini'
        self.staging = directory / ('staging' + suffix)
        self.tasks = directory / ('tasks' + suffix)
        self.turns = directory / ('turns' + suffix)
        self.service = services.Service(
            'glance-api' + suffix, 'testbed.clouds.glance_wsgi:application',
            directory, services.environment(
                directory, OS_GLANCE_CONFIG_DIR=str(self.etc),
                PYTHONPATH=str(_ROOT)),
            _HEALTH, server, detach)


class Cloud:
    """A Glance with a Keystone, as a context manager.

    :param stores: names of filesystem stores; the first is the default one
    :param single_store: whether to use the old setup without store names, in
        which ``node_staging_uri`` is the staging area
    :param image_import_plugins: names of the plugins in their order
    :param xs_convert: options in the group ``[xs_convert]``
    :param options: further groups and options of Glance
    :param import_methods: import methods that users can choose from
    :param server: ``gunicorn`` or ``uwsgi``
    :param staging: existing directory to use as the staging area
    :param edit_paste: function that edits the text of glance-api-paste.ini
    :param detach: whether the services outlive this process
    :param hosts: how many there are of Glance; several share the database
                  and the stores, and are behind an HAProxy
    :param token_seconds: for how long a token is good; if it is not the
                          usual time, the cloud has a Keystone of its own
    """

    def __init__(
        self, *,
        stores: abc.Sequence[str] = ('fast',),
        single_store: bool = False,
        image_import_plugins: abc.Sequence[str] = ('xs_convert',),
        xs_convert: abc.Mapping[str, typing.Any] | None = None,
        options: services.Options | None = None,
        import_methods: abc.Sequence[str] = IMPORT_METHODS,
        server: str = 'gunicorn',
        staging: str | os.PathLike[str] | None = None,
        edit_paste: abc.Callable[[str], str] = str,
        detach: bool = False,
        hosts: int = 1,
        token_seconds: int = TOKEN_SECONDS,
    ) -> None:
        self.directory = _temporary_directory()
        self.stores = ('images',) if single_store else tuple(stores)
        self._hosts = [_Host(number, self.directory, server, detach)
                       for number in range(hosts)]
        self._balancer: haproxy.Balancer | None = None
        if hosts > 1:
            self._balancer = haproxy.Balancer(
                self.directory, [host.service.url for host in self._hosts],
                _HEALTH, detach)
        if staging:
            self._hosts[0].staging = pathlib.Path(staging)
        self.region = ''
        self.names_stores = not single_store
        self._detach = detach
        self._foundation: Foundation | None = None
        self._token_seconds = token_seconds
        self._import_config = {
            'image_import_opts': {
                'image_import_plugins': services.bounded(
                    image_import_plugins)},
            'import_filtering_opts': {
                'allowed_hosts': services.bounded([services.LOOPBACK]),
                'allowed_ports': services.bounded([])},
        }
        if xs_convert:
            self._import_config['xs_convert'] = dict(xs_convert)
        self._import_methods = import_methods
        self._options = options or {}
        self._edit_paste = edit_paste

    @property
    def keystone(self) -> keystone.Keystone:
        """The Keystone of this Glance."""
        assert self._foundation is not None
        return self._foundation.keystone

    @property
    def staging(self) -> pathlib.Path:
        """The staging area of the first host."""
        return self._hosts[0].staging

    @property
    def log(self) -> pathlib.Path:
        """The log of Glance's first host."""
        return self._hosts[0].service.log

    @property
    def import_config(self) -> pathlib.Path:
        """Glance's configuration file for imports."""
        return self._hosts[0].etc / 'glance-image-import.conf'

    @property
    def url(self) -> str:
        """Glance's endpoint."""
        return (self._balancer or self._hosts[0].service).url

    def start(self) -> None:
        """Start the cloud.

        :raises ServiceError: a service does not start
        """
        if self._detach or self._token_seconds != TOKEN_SECONDS:
            self._foundation = Foundation(
                self.directory, self._detach, self._token_seconds)
        else:
            self._foundation = Foundation.shared()
        if not self._detach:
            atexit.register(self.close)
        self._make_directories()
        for host in self._hosts:
            self._write_configuration(host)
        shutil.copy(self._foundation.database, self._database)
        for host in self._hosts:
            host.service.start()
        if self._balancer:
            self._balancer.start()
        self._foundation.wait()
        self.region = self.keystone.add_region(self.url)
        for host in self._hosts:
            host.service.wait()
        if self._balancer:
            self._balancer.wait()

    def _make_directories(self) -> None:
        for store in self.stores:
            self.store_path(store).mkdir(parents=True)
        for host in self._hosts:
            for path in (host.staging, host.tasks):
                path.mkdir(exist_ok=True)

    @property
    def _database(self) -> pathlib.Path:
        return self.directory / 'glance.db'

    def _write_configuration(self, host: _Host) -> None:
        host.etc.mkdir(parents=True)
        host.paste.write_text(self._edit_paste(_packaged_paste()))
        imports = dict(self._import_config)
        if len(self._hosts) > 1:
            imports['xs_convert'] = {
                'lock_path': host.turns} | imports.get('xs_convert', {})
        services.write_config(host.etc / 'glance-image-import.conf', imports)
        config = {
            'DEFAULT': {
                'debug': True,
                'enabled_import_methods': services.bounded(
                    self._import_methods),
                'worker_self_reference_url': host.service.url,
            },
            'database': _database(self._database),
            'keystone_authtoken': self.keystone.middleware_options(),
            'oslo_concurrency': {'lock_path': self.directory / 'lock'},
            'paste_deploy': {'flavor': 'keystone', 'config_file': host.paste},
            'wsgi': {'python_interpreter': sys.executable},
        }
        for part in (self._store_options(host), self._options):
            for group, values in part.items():
                config[group] = config.get(group, {}) | dict(values)
        services.write_config(host.etc / 'glance-api.conf', config)

    def _store_options(self, host: _Host,
                       ) -> dict[str, dict[str, typing.Any]]:
        datadir = 'filesystem_store_datadir'
        if not self.names_stores:
            return {
                'DEFAULT': {
                    'node_staging_uri': 'file://%s' % host.staging},
                'glance_store': {
                    'stores': 'file',
                    'default_store': 'file',
                    datadir: self.store_path(self.stores[0])},
            }
        options: dict[str, dict[str, typing.Any]] = {
            'DEFAULT': {'enabled_backends': ','.join(
                '%s:file' % store for store in self.stores)},
            'glance_store': {'default_backend': self.stores[0]},
            'os_glance_staging_store': {datadir: host.staging},
            'os_glance_tasks_store': {datadir: host.tasks},
        }
        for store in self.stores:
            options[store] = {datadir: self.store_path(store)}
        return options

    def store_path(self, store: str | None = None) -> pathlib.Path:
        """Return a store's directory, by default the default store's."""
        return self.directory / 'stores' / (store or self.stores[0])

    def stored(self, store: str | None = None) -> list[str]:
        """Return the names of the files in a store."""
        return sorted(os.listdir(self.store_path(store)))

    def staged(self) -> list[str]:
        """Return the names of the files in the staging areas."""
        return sorted(name for host in self._hosts
                      for name in os.listdir(host.staging))

    def env(self, user: str = 'demo') -> dict[str, str]:
        """Return the OS_ variables that clients need."""
        return {
            'OS_AUTH_URL': self.keystone.auth_url,
            'OS_IDENTITY_API_VERSION': '3',
            'OS_REGION_NAME': self.region,
            'OS_USERNAME': user,
            'OS_PASSWORD': keystone.PASSWORD,
            'OS_PROJECT_NAME': user,
            'OS_USER_DOMAIN_ID': 'default',
            'OS_PROJECT_DOMAIN_ID': 'default',
        }

    def client(self, user: str = 'demo') -> typing.Any:
        """Make a python-glanceclient for a user."""
        return glanceclient.Client('2', session=self.keystone.session(user),
                                   region_name=self.region)

    def connection(self, user: str = 'demo') -> typing.Any:
        """Make an openstacksdk connection for a user."""
        return openstack.connection.Connection(
            session=self.keystone.session(user), region_name=self.region)

    def glance_pids(self) -> list[int]:
        """Return Glance's processes: each master, then its workers."""
        return [pid for host in self._hosts for pid in host.service.pids()]

    def converters(self) -> list[int]:
        """Return the process ids of the running conversions."""
        return [pid for pid in services.children(*self.glance_pids())
                if CONVERTER in services.command_line(pid)]

    def kill_glance(self, signal_number: int = signal.SIGKILL,
                    host: int = 0) -> None:
        """Signal a host's processes, but not its workers' children."""
        self._hosts[host].service.kill(signal_number)

    def start_glance(self, host: int = 0) -> None:
        """Start a host again that was killed."""
        self._hosts[host].service.stop()
        self._hosts[host].service.start()
        self._hosts[host].service.wait()

    def restart_glance(self) -> None:
        """Stop Glance in whatever state it is, and start it again."""
        for host in self._hosts:
            host.service.stop()
            host.service.start()
            host.service.wait()

    def edit_pipeline(self, edit_paste: abc.Callable[[str], str]) -> None:
        """Restart Glance with another glance-api-paste.ini.

        :param edit_paste: function that edits the packaged text
        """
        for host in self._hosts:
            host.paste.write_text(edit_paste(_packaged_paste()))
        self.restart_glance()

    def stop_command(self) -> str:
        """Return a shell command that stops and removes a detached cloud."""
        listeners: list[services.Listener] = [
            self.keystone.service, *(host.service for host in self._hosts)]
        if self._balancer:
            listeners.append(self._balancer)
        groups = [listener.group for listener in listeners]
        return 'kill -KILL -- %s; rm -r %s' % (
            ' '.join('-%d' % group for group in groups),
            shlex.quote(str(self.directory)))

    def close(self) -> None:
        """Stop Glance and remove its directory."""
        atexit.unregister(self.close)
        if self._balancer:
            self._balancer.close()
        for host in self._hosts:
            host.service.close()
        own = self._foundation is not Foundation._shared
        if self._foundation is not None and own:
            self._foundation.close()
        elif self.region:
            self.keystone.remove_region(self.region)
            self.region = ''
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> 'Cloud':
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def wait_for_import(client: typing.Any, image_id: str,
                    seconds: float = IMPORT_SECONDS) -> typing.Any:
    """Wait until the image's newest task ends.

    :param client: a python-glanceclient
    :returns: the task, as ``GET /v2/images/{image_id}/tasks`` gives it
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        task = newest_task(client, image_id)
        if task['status'] in ('success', 'failure'):
            return task
        time.sleep(0.2)
    raise TimeoutError('import of %s is still %s' % (
        image_id, task['status']))


def newest_task(client: typing.Any, image_id: str) -> typing.Any:
    """Return the newest task of the image.

    This does not use the client's own method, which assumes that a Glance
    without ``enabled_backends`` does not support it.
    """
    tasks = client.http_client.get(
        '/v2/images/%s/tasks' % image_id)[1]['tasks']
    return max(tasks, key=lambda task: task['created_at'])


def _temporary_directory() -> pathlib.Path:
    return pathlib.Path(tempfile.mkdtemp(prefix='glance-xs-convert-'))


def _database(path: pathlib.Path) -> dict[str, typing.Any]:
    return {'connection': 'sqlite:///%s?timeout=60' % path,
            'sqlite_synchronous': False}


def _packaged_paste() -> str:
    name = 'glance-api-paste.ini'
    for file in importlib.metadata.files('glance') or ():
        if file.name == name:
            return pathlib.Path(str(file.locate())).read_text()
    raise services.ServiceError('the package glance has no %s' % name)
