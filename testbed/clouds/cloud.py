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


"""A cloud for tests: a real Glance that is set up as others set it up.

It has several worker processes and a database on MariaDB. What Glance may
download from is its own default, plus what the documentation tells operators
to set: the ports of the cloud's image endpoints and of the users' servers.
Clouds of one process share the database server and Keystone.

Everything that a service reads and writes (configuration, database, keys,
logs, staging area, stores) is below a temporary directory. To see or change
what only an operator can, use ``Cloud.change_database``; to make requests
fail, :mod:`testbed.clouds.failing`; to make snapshots as Nova and Cinder do,
:mod:`testbed.clouds.snapshots`.
"""

import atexit
from collections import abc
import contextlib
import importlib.metadata
import os
import pathlib
import shlex
import shutil
import signal
import sys
import time
import typing
import urllib.parse

import glanceclient
import openstack

from testbed.clouds import ceph
from testbed.clouds import databases
from testbed.clouds import failing
from testbed.clouds import forking
from testbed.clouds import foundation
from testbed.clouds import haproxy
from testbed.clouds import holding
from testbed.clouds import keystone
from testbed.clouds import services

IMPORT_METHODS = ('glance-direct', 'web-download', 'glance-download',
                  'copy-image')
#: How long an import may take on a machine that is busy with other things.
IMPORT_SECONDS = 600
#: How long a process may take to stop.
_STOP_SECONDS = 120
#: The states in which a task has ended.
FINAL = ('success', 'failure')
CONVERTER = 'glance_xs_convert.worker.child'
#: The first number of Glance's version.
RELEASE = int(importlib.metadata.version('glance').partition('.')[0])
#: How many worker processes a host of Glance has, on MariaDB.
WORKERS = 2
#: The ports from which Glance downloads by default.
WEB_PORTS = (80, 443)

_ROOT = pathlib.Path(__file__).parents[2]
_HEALTH = '/healthcheck'
_APPLICATION = 'glance.wsgi.api:application'
_ON_SQLITE = 'testbed.clouds.glance_wsgi:application'
_LOCK = 'os_glance_import_task'
#: The states of an image's tasks, and the task that locks it.
_IMPORT_STATES = f'''
    SELECT id, status FROM tasks WHERE image_id = %s
    UNION ALL SELECT name, value FROM image_properties
    WHERE image_id = %s AND name = '{_LOCK}' AND deleted = 0
'''
_UPLOAD_FILTER = '''
[filter:xs_convert_upload]
use = egg:glance-xs-convert#xs_convert_upload
'''

forking.preload(
    'glance.common.wsgi_app', 'glance.api.v2.router',
    'glance.async_.flows.api_image_import',
    'glance.db.sqlalchemy.models', 'keystonemiddleware.auth_token',
    'oslo_middleware.healthcheck',
    # Glance loads all drivers. That of RBD depends on the cloud.
    'glance_store._drivers.cinder.store', 'glance_store._drivers.s3',
    'glance_store._drivers.swift.store',
    'glance_store._drivers.vmware_datastore')


def with_upload_filter(paste: str) -> str:
    """Put the upload filter before the API in every pipeline.

    :param paste: text of glance-api-paste.ini
    """
    return paste.replace(
        ' rootapp\n', ' xs_convert_upload rootapp\n') + _UPLOAD_FILTER


class _Host:
    """A host of Glance's API, with a staging area of its own.

    :param number: 0 for the first one
    :param demo: whether it is that of a demonstration
    """

    def __init__(self, number: int, directory: pathlib.Path, server: str,
                 demo: bool, detach: bool) -> None:
        suffix = '-%d' % number if number else ''
        self.etc = directory / 'etc' / ('glance' + suffix)
        self.paste = self.etc / 'glance-api-paste.ini'
        self.staging = directory / ('staging' + suffix)
        self.tasks = directory / ('tasks' + suffix)
        self.turns = directory / ('turns' + suffix)
        self.service = services.Service(
            'glance-api' + suffix, _ON_SQLITE if demo else _APPLICATION,
            directory, services.environment(
                directory, OS_GLANCE_CONFIG_DIR=str(self.etc),
                PYTHONPATH=str(_ROOT)),
            _HEALTH, server, detach,
            services.LOOPBACK if demo else services.own_address(),
            1 if demo else WORKERS, forked=not demo)


class Cloud:
    """A Glance with a Keystone, as a context manager.

    :param stores: names of filesystem stores; the first is the default one
    :param rbd_stores: names of further stores, which are on RBD: each has a
                       pool of the Ceph that the clouds of a process share
    :param single_store: whether to use the old setup without store names, in
        which ``node_staging_uri`` is the staging area
    :param image_import_plugins: names of the plugins in their order
    :param xs_convert: options in the group ``[xs_convert]``
    :param options: further groups and options of Glance
    :param import_methods: import methods that users can choose from
    :param sources: URLs of the servers that users may import from
    :param allow_endpoint: whether the operator has let Glance download from
        the port of its endpoint, as ``glance-download`` needs it
    :param server: ``gunicorn`` or ``uwsgi``
    :param staging: existing directory to use as the staging area
    :param edit_paste: function that edits the text of glance-api-paste.ini
    :param demo: have a cloud for a demonstration, on SQLite, with one worker
                 process and on the loopback interface
    :param detach: whether the services outlive this process; for the
                   demonstration only
    :param hosts: how many there are of Glance; several share the database
                  and the stores, and are behind an HAProxy
    :param token_seconds: for how long a token is good; if it is not the
                          usual time, the cloud has a Keystone of its own
    """

    def __init__(
        self, *,
        stores: abc.Sequence[str] = ('fast',),
        rbd_stores: abc.Sequence[str] = (),
        single_store: bool = False,
        image_import_plugins: abc.Sequence[str] = ('xs_convert',),
        xs_convert: abc.Mapping[str, typing.Any] | None = None,
        options: services.Options | None = None,
        import_methods: abc.Sequence[str] = IMPORT_METHODS,
        sources: abc.Sequence[str] = (),
        allow_endpoint: bool = True,
        server: str = 'gunicorn',
        staging: str | os.PathLike[str] | None = None,
        edit_paste: abc.Callable[[str], str] = str,
        demo: bool = False,
        detach: bool = False,
        hosts: int = 1,
        token_seconds: int = foundation.TOKEN_SECONDS,
    ) -> None:
        self.directory = foundation.temporary_directory()
        self.stores = (('images',) if single_store
                       else (*stores, *rbd_stores))
        self._pools = dict.fromkeys(rbd_stores, '')
        self._hosts = [_Host(number, self.directory, server, demo, detach)
                       for number in range(hosts)]
        self._balancer: haproxy.Balancer | None = None
        if hosts > 1:
            self._balancer = haproxy.Balancer(
                self.directory, [host.service.url for host in self._hosts],
                _HEALTH, services.own_address())
        if staging:
            self._hosts[0].staging = pathlib.Path(staging)
        self.region = ''
        self.names_stores = not single_store
        self._demo = demo
        self._detach = detach
        self._foundation: foundation.Foundation | None = None
        self._database = ''
        self._token_seconds = token_seconds
        #: Plans failures of requests; not in a demonstration.
        self.failing = failing.Failing(self.directory / 'failing')
        #: Holds conversions; not in a demonstration.
        self.hold = holding.Hold(self.directory / 'hold')
        self._import_config: dict[str, dict[str, typing.Any]] = {
            'image_import_opts': {
                'image_import_plugins': services.bounded(
                    image_import_plugins)},
        }
        if sources or allow_endpoint:
            self._import_config['import_filtering_opts'] = self._filtering(
                [*sources, self.url] if allow_endpoint else sources)
        if xs_convert:
            self._import_config['xs_convert'] = dict(xs_convert)
        self._import_methods = import_methods
        self._options = options or {}
        self._edit_paste = edit_paste

    def _filtering(self, urls: abc.Sequence[str],
                   ) -> dict[str, typing.Any]:
        """What the documentation tells operators to set.

        :param urls: what Glance is to be allowed to download from
        """
        ports = {urllib.parse.urlsplit(url).port or 80 for url in urls}
        options = {'allowed_ports': services.bounded(
            [*WEB_PORTS, *sorted(ports.difference(WEB_PORTS))])}
        hosts = {urllib.parse.urlsplit(url).hostname for url in urls}
        if services.LOOPBACK in hosts:
            # Otherwise Glance does not download from there at all.
            options['allowed_hosts'] = services.bounded(sorted(
                str(host) for host in hosts))
        return options

    @property
    def keystone(self) -> keystone.Identity:
        """The Keystone of this Glance."""
        return self.base.keystone

    @property
    def base(self) -> foundation.Foundation:
        """What this cloud shares with others."""
        assert self._foundation is not None
        return self._foundation

    @property
    def turns(self) -> pathlib.Path:
        """The ``lock_path`` of the first host's plugin."""
        return self._hosts[0].turns

    def tickets(self) -> list[str]:
        """Return the names of the tickets of all hosts' imports."""
        return sorted(path.name for host in self._hosts
                      for path in host.turns.glob('*/*'))

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
        own = self._token_seconds != foundation.TOKEN_SECONDS
        if self._demo or own:
            self._foundation = foundation.OwnFoundation(
                self.directory, self._demo, self._detach, self._token_seconds)
        else:
            self._foundation = foundation.Foundation.shared()
        if self._pools:
            # What is registered first is closed last.
            ceph.Ceph.shared()
        if not self._detach:
            atexit.register(self.close)
        self._make_directories()
        if self._pools:
            self._make_pools()
        self._database = self._foundation.new_database()
        for host in self._hosts:
            self._write_configuration(host)
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
            if store not in self._pools:
                self.store_path(store).mkdir(parents=True)
        for host in self._hosts:
            for path in (host.staging, host.tasks):
                path.mkdir(exist_ok=True)

    def _make_pools(self) -> None:
        for store in self._pools:
            self._pools[store] = self.ceph.create_pool()
        for host in self._hosts:
            host.service.env['PYTHONPATH'] = os.pathsep.join(
                [host.service.env['PYTHONPATH'], self.ceph.modules()])

    @property
    def ceph(self) -> ceph.Ceph:
        """The Ceph of the stores on RBD."""
        return ceph.Ceph.shared()

    def pool(self, store: str) -> str:
        """Return the name of the pool of a store on RBD."""
        return self._pools[store]

    def _paste(self, edit_paste: abc.Callable[[str], str]) -> str:
        """Return the text of glance-api-paste.ini."""
        paste = edit_paste(_packaged_paste())
        if self._demo:
            return paste
        return failing.with_filter(paste, self.failing.directory)

    def _write_configuration(self, host: _Host) -> None:
        host.etc.mkdir(parents=True)
        host.paste.write_text(self._paste(self._edit_paste))
        imports = dict(self._import_config)
        if not self._demo:
            # Clouds of one machine must not wait for each other.
            imports['xs_convert'] = {
                'lock_path': host.turns} | imports.get('xs_convert', {})
        services.write_config(host.etc / 'glance-image-import.conf', imports)
        config = {
            'DEFAULT': {
                'enabled_import_methods': services.bounded(
                    self._import_methods),
                'worker_self_reference_url': host.service.url,
                # Otherwise each worker loads the driver for RabbitMQ.
                'transport_url': 'fake:/',
            },
            'database': self.base.databases.options(self._database),
            'keystone_authtoken': self.keystone.middleware_options(),
            'oslo_concurrency': {'lock_path': self.directory / 'lock'},
            'paste_deploy': {'flavor': 'keystone', 'config_file': host.paste},
            'wsgi': {'python_interpreter': (
                sys.executable if self._demo else self.hold.interpreter)},
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
                '%s:%s' % (store, 'rbd' if store in self._pools else 'file')
                for store in self.stores)},
            'glance_store': {'default_backend': self.stores[0]},
            'os_glance_staging_store': {datadir: host.staging},
            'os_glance_tasks_store': {datadir: host.tasks},
        }
        for store in self.stores:
            options[store] = (
                self.ceph.store_options(self._pools[store])
                if store in self._pools
                else {datadir: self.store_path(store)})
        return options

    def store_path(self, store: str | None = None) -> pathlib.Path:
        """Return a store's directory, by default the default store's."""
        return self.directory / 'stores' / (store or self.stores[0])

    def stored(self, store: str | None = None) -> list[str]:
        """Return the names of the files or RBD images in a store."""
        store = store or self.stores[0]
        if store in self._pools:
            return self.ceph.images(self._pools[store])
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

    def client(self, user: str = 'demo',
               request_id: str | None = None) -> typing.Any:
        """Make a python-glanceclient for a user.

        :param request_id: the id that each of its requests bears, as those of
                           a client with a global request id do
        """
        return glanceclient.Client(
            '2', session=self.keystone.session(user),
            region_name=self.region, global_request_id=request_id)

    def connection(self, user: str = 'demo') -> typing.Any:
        """Make an openstacksdk connection for a user."""
        return openstack.connection.Connection(
            session=self.keystone.session(user), region_name=self.region)

    def glance_pids(self) -> list[int]:
        """Return Glance's processes: each master, then its workers."""
        return [pid for host in self._hosts for pid in host.service.pids()]

    def converters(self) -> list[int]:
        """Return the process ids of the running conversions."""
        parents = services.parents()
        glance = {host.service.group for host in self._hosts}
        glance.update([pid for pid, parent in parents.items()
                       if parent in glance])
        return sorted(pid for pid, parent in parents.items()
                      if parent in glance
                      and CONVERTER in services.command_line(pid))

    def hang_converters(self) -> list[int]:
        """Stop the running conversions as if their files did not answer.

        A conversion has two processes, the second of which is a copy of the
        first.

        :returns: the process ids of both
        """
        stopped = []
        for pid in self.converters():
            if _stop(pid):
                copies = services.children(pid)
                stopped += [pid, *filter(_stop, copies)]
        return stopped

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
            host.paste.write_text(self._paste(edit_paste))
        self.restart_glance()

    def change_database(self, *statements: databases.Statement) -> None:
        """Change Glance's database, as only an operator can.

        :param statements: each a statement, and the values for its ``%s``
        """
        self._mariadb.change(self._database, *statements)

    def rows(self, statement: str, *values: typing.Any,
             ) -> abc.Sequence[tuple[typing.Any, ...]]:
        """Return what a statement finds in Glance's database."""
        return self._mariadb.rows(self._database, statement, *values)

    @property
    def _mariadb(self) -> databases.MariaDB:
        assert isinstance(self.base.databases, databases.MariaDB)
        return self.base.databases

    def wait_for_import(self, client: typing.Any, image_id: str,
                        seconds: float = IMPORT_SECONDS) -> typing.Any:
        """Wait until the image's newest task ends, and the image is released.

        Glance ends the task and releases the image one after the other. It is
        asked when its database says that something has changed.

        :param client: a python-glanceclient
        :returns: the task, as ``GET /v2/images/{image_id}/tasks`` gives it
        """
        deadline = time.monotonic() + seconds
        pauses = services.pauses(0.25)
        before = None
        while True:
            states = dict(self.rows(_IMPORT_STATES, image_id, image_id))
            if _LOCK not in states and states != before:
                task = newest_task(client, image_id)
                if task is not None and task['status'] in FINAL:
                    _seen.setdefault(task['id'], len(_seen))
                    return task
                before = states
            if time.monotonic() > deadline:
                raise TimeoutError('import of %s is not over: %s' % (
                    image_id, states))
            time.sleep(next(pauses))

    def stop_command(self) -> str:
        """Return a shell command that stops and removes a detached cloud."""
        groups = [*self.base.groups(),
                  *(host.service.group for host in self._hosts)]
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
        for pool in filter(None, self._pools.values()):
            self.ceph.remove_pool(pool)
        self._pools.clear()
        if self._foundation is not None:
            self._release_foundation(self._foundation)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _release_foundation(self, base: foundation.Foundation) -> None:
        if not base.is_shared():
            base.close()
            return
        if self.region:
            self.keystone.remove_region(self.region)
            self.region = ''
        if self._database:
            base.databases.drop(self._database)
            self._database = ''

    def __enter__(self) -> 'Cloud':
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _stop(pid: int) -> bool:
    """Stop a process, and return whether it was still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + _STOP_SECONDS
    while (found := services.state(pid)) not in 'TZX':
        if time.monotonic() > deadline:
            raise TimeoutError('process %d does not stop' % pid)
        time.sleep(0.001)
    return found == 'T'


def resume(pids: abc.Iterable[int]) -> None:
    """Let stopped processes go on, as far as they are still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


#: The IDs of tasks that a caller has seen to have ended, in this order.
_seen: dict[str, int] = {}


def newest_task(client: typing.Any, image_id: str) -> typing.Any:
    """Return the newest task of the image, or None if it has none.

    This does not use the client's own method, which assumes that a Glance
    without ``enabled_backends`` does not support it.
    """
    tasks = client.http_client.get(
        '/v2/images/%s/tasks' % image_id)[1]['tasks']
    # Some databases keep whole seconds, in which two imports may fit. The one
    # that has not been seen yet is the newer one then.
    return max(tasks, key=lambda task: (
        task['created_at'], task['status'] not in FINAL,
        task.get('updated_at') or '', _seen.get(task['id'], len(_seen))),
        default=None)


def _packaged_paste() -> str:
    name = 'glance-api-paste.ini'
    for file in importlib.metadata.files('glance') or ():
        if file.name == name:
            return pathlib.Path(str(file.locate())).read_text()
    raise services.ServiceError('the package glance has no %s' % name)
