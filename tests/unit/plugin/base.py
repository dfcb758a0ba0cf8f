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

"""What the tests of the plugin have in common: Glance's own objects.

Images and tasks are in a database of Glance's, in SQLite; the stores and the
staging area are directories. Whoever tests with them needs Glance.
"""

import functools
import importlib.util
import os
import pathlib
import tempfile
import unittest

import testtools

HAS_GLANCE = importlib.util.find_spec('glance') is not None
if HAS_GLANCE:
    from glance.async_.flows import api_image_import
    from glance.common import wsgi_app
    from glance import context
    from glance.db.sqlalchemy import api as db_api
    from glance.db.sqlalchemy import models
    from glance import gateway
    import glance_store
    from glance_store import multi_backend
    from oslo_config import cfg
    from oslo_config import fixture
    from oslo_db import options as db_options
    import sqlalchemy

    from glance_xs_convert import options
    from glance_xs_convert.plugin import keeping
    # It registers what it reads: both this package's and Glance's options.
    from glance_xs_convert.plugin import task as _  # noqa: F401
    from glance_xs_convert.recovery import keeper

OWNER = 'c3d6a4f6f0d94b6b8a0c4e5e0a7a7a10'


@functools.cache
def empty_database():
    """Return the bytes of a database of Glance's without any rows."""
    with tempfile.TemporaryDirectory() as directory:
        engine = sqlalchemy.create_engine(f'sqlite:///{directory}/glance.db')
        models.register_models(engine)
        engine.dispose()
        return pathlib.Path(directory, 'glance.db').read_bytes()


@unittest.skipUnless(HAS_GLANCE, 'Glance is not installed')
class GlanceCase(testtools.TestCase):
    """Has a Glance, but for its API.

    :ivar conf: a fixture with which options are set
    :ivar image_repo: where Glance keeps its images
    :ivar task_repo: where it keeps its tasks
    :ivar keeper: has the tickets of imports, and checks them when told to
    """

    STORES = ('fast', 'slow')

    def setUp(self):
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)
        self.staging = self.scratch / 'staging'
        self.staging.mkdir()
        self.conf = self.useFixture(fixture.Config(cfg.CONF))
        cfg.CONF([], project='glance', default_config_files=[])
        db_options.set_defaults(cfg.CONF)
        self.conf.config(group='database',
                         connection=f'sqlite:///{self.scratch}/glance.db')
        self.conf.config(group=options.GROUP,
                         lock_path=str(self.scratch / 'lock'), niceness=0)
        self.keeper = keeper.Keeper(keeping.tickets)
        self.addCleanup(self.keeper.forget)
        self.start = self.useFixture(fixture.fixtures.MockPatchObject(
            self.keeper, 'start')).mock
        self.useFixture(fixture.fixtures.MockPatchObject(
            keeping, 'keeper', self.keeper))
        self._make_database()
        self._make_stores()
        self.context = context.RequestContext(
            user_id='uploader', project_id=OWNER, is_admin=False,
            overwrite=False)
        self.gateway = gateway.Gateway()
        self.image_repo = self.gateway.get_repo(self.context)
        self.task_repo = self.gateway.get_task_repo(self.context)

    def _make_database(self):
        db_api.clear_db_env()
        self.addCleanup(db_api.clear_db_env)
        self.scratch.joinpath('glance.db').write_bytes(empty_database())
        self.addCleanup(db_api.get_engine().dispose)

    def _make_stores(self):
        self.conf.config(enabled_backends=dict.fromkeys(
            self.STORES, 'file'))
        reserved = wsgi_app.RESERVED_STORES
        multi_backend.register_store_opts(cfg.CONF, reserved_stores=reserved)
        self.conf.config(group='glance_store',
                         default_backend=self.STORES[0])
        paths = {'os_glance_staging_store': self.staging,
                 'os_glance_tasks_store': self.scratch / 'tasks',
                 **{store: self.store_path(store) for store in self.STORES}}
        for store, path in paths.items():
            path.mkdir(exist_ok=True)
            self.conf.config(group=store, filesystem_store_datadir=str(path))
        glance_store.create_multi_stores(cfg.CONF, reserved_stores=reserved)

    def store_path(self, store):
        return self.scratch / f'store-{store}'

    def new_image(self, status='queued', **attributes):
        """An image's record, and the id of it."""
        image = self.gateway.get_image_factory(self.context).new_image(
            **{'name': self.id(), 'disk_format': 'vhd',
               'container_format': 'ovf', 'owner': OWNER} | attributes)
        self.image_repo.add(image)
        if status != 'queued':
            stored = self.image_repo.get(image.image_id)
            stored.status = status
            self.image_repo.save(stored)
        return image.image_id

    def new_import(self, image_id, method='web-download', stores=('fast',),
                   request_id='req-1', status='processing'):
        """A task that imports an image, and has locked it.

        :returns: its id
        """
        body = {'method': {'name': method}}
        task = self.gateway.get_task_factory(self.context).new_task(
            task_type='api_image_import', owner=OWNER, image_id=image_id,
            user_id='uploader', request_id=request_id, task_input={
                'image_id': image_id, 'import_req': body,
                'backend': list(stores)})
        self.image_repo.set_property_atomic(
            self.image_repo.get(image_id), 'os_glance_import_task',
            task.task_id)
        self.task_repo.add(task)
        if status == 'processing':
            task.begin_processing()
            self.task_repo.save(task)
        return task.task_id

    def wrapper(self, image_id, task_id):
        """What a plugin changes the image's record with."""
        return api_image_import.ImportActionWrapper(
            self.image_repo, image_id, task_id)

    def begin(self, image_id, task_id, stores=('fast',)):
        """Let an image be importing, as Glance's get_flow does."""
        with self.wrapper(image_id, task_id) as action:
            action.set_image_attribute(status='importing')
            action.add_importing_stores(stores)
            action.pop_extra_property('os_glance_stage_host')

    def stage(self, image_id, data):
        """Put data in staging.

        :returns: the path
        """
        path = self.staging / image_id
        path.write_bytes(data)
        return path

    def delete(self, image_id):
        image = self.image_repo.get(image_id)
        image.delete()
        self.image_repo.remove(image)

    def tickets(self):
        """The names of the files in the directory of the tickets."""
        directory = keeping.tickets()
        return sorted(os.listdir(directory)) if os.path.isdir(
            directory) else []

    def staged(self):
        return sorted(os.listdir(self.staging))

    def flow_arguments(self, image_id, task_id, method='web-download',
                       stores=('fast',)):
        """What Glance gives a plugin's ``get_flow``."""
        return {
            'task_id': task_id, 'task_type': 'api_image_import',
            'task_repo': self.task_repo, 'image_repo': self.image_repo,
            'image_id': image_id, 'backend': list(stores),
            'context': self.context,
            'import_req': {'method': {'name': method}},
            'action_wrapper': self.wrapper(image_id, task_id)}
