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

"""A Glance in memory, which breaks off wherever a test wants it to.

What it does was seen of the real one; the functional tests use that.
"""

import copy
import itertools

from glance_xs_convert.migrate import cloud
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import patience

PROJECT = 'p1'
DISK = 5 * 1024 ** 2
LOCK = 'os_glance_import_task'


class Killed(BaseException):
    """The command gets SIGKILL."""


class Glance(cloud.Cloud):
    """Images in a dictionary.

    :param project: the user's
    :param admin: whether the user is an administrator
    :ivar requests: how many there were
    :ivar kill_at: at which request the command is killed
    :ivar kill_before: whether it is killed before Glance has done it
    :ivar messages: what imports fail with, one after the other
    :ivar meanwhile: called with the name of each request
    """

    project_id = PROJECT
    is_admin = True

    def __init__(self):
        self.records = {}
        self.deleted = set()
        self.shares = {}
        self.tasks = {}
        self.requests = 0
        self.kill_at = None
        self.kill_before = False
        self.messages = []
        self.converts = True
        self.meanwhile = None
        self.clock = patience.Clock(0)
        self._count = itertools.count(1)

    def _request(self, call, *arguments):
        self.requests += 1
        hit = self.requests == self.kill_at
        if hit and self.kill_before:
            raise Killed
        if self.meanwhile:
            self.meanwhile(call.__name__, *arguments)
        answer = call(*arguments)
        if hit:
            raise Killed
        return copy.deepcopy(answer)

    def add(self, image_id='old', **attributes):
        """Put an image there that is an archive."""
        self.records[image_id] = self._record(image_id) | {
            'size': 1000, 'status': 'active', 'visibility': 'shared',
            'os_hash_algo': 'sha512', 'os_hash_value': 'archive',
        } | attributes
        return image_id

    def _record(self, image_id):
        stamp = '2026-01-01T00:00:%02dZ' % (next(self._count) % 60)
        return {
            'id': image_id, 'name': None, 'owner': self.project_id,
            'disk_format': 'vhd', 'container_format': 'ovf', 'size': None,
            'virtual_size': None, 'status': 'queued', 'min_disk': 0,
            'min_ram': 0, 'visibility': 'private', 'protected': False,
            'os_hidden': False, 'os_hash_algo': None, 'os_hash_value': None,
            'created_at': stamp, 'updated_at': stamp, 'tags': [],
            'checksum': None, 'self': '/v2/images/' + image_id,
        }

    def image(self, image_id):
        return self._request(self._image, image_id)

    def _image(self, image_id):
        return self.records.get(image_id)

    def _present(self, image_id):
        if image_id not in self.records:
            raise errors.NotFound('gone')
        return self.records[image_id]

    def images(self, **filters):
        hidden = filters['os_hidden'] == 'true'
        return iter([copy.deepcopy(image) for image in self.records.values()
                     if image['os_hidden'] == hidden])

    def create(self, attributes):
        return self._request(self._create, attributes)

    def _create(self, attributes):
        image_id = attributes['id']
        if image_id in self.records or image_id in self.deleted:
            raise errors.Conflict('taken')
        self.records[image_id] = self._record(image_id) | dict(attributes)
        return self.records[image_id]

    def patch(self, image_id, changes):
        return self._request(self._patch, image_id, list(changes))

    def _patch(self, image_id, changes):
        image = self._present(image_id)
        for change in changes:
            name = change['path'][1:]
            if change['op'] != 'add' and name not in image:
                raise errors.Conflict('no ' + name)
            if change['op'] == 'remove':
                del image[name]
            else:
                image[name] = change['value']
        return image

    def delete(self, image_id):
        self._request(self._delete, image_id)

    def _delete(self, image_id):
        image = self.records.get(image_id)
        if image:
            if image['protected']:
                raise errors.NotAllowed('protected')
            if image.get('used'):
                raise errors.Conflict('in use')
            del self.records[image_id]
            self.deleted.add(image_id)

    def set_active(self, image_id, active):
        self._request(self._set_active, image_id, active)

    def _set_active(self, image_id, active):
        self._present(image_id)['status'] = (
            'active' if active else 'deactivated')

    def members(self, image_id):
        return self._request(self._members, image_id)

    def _members(self, image_id):
        return self.shares.get(image_id, {})

    def add_member(self, image_id, project):
        self._request(self._add_member, image_id, project)

    def _add_member(self, image_id, project):
        if self._present(image_id)['visibility'] != 'shared':
            raise errors.NotAllowed('only shared images have members')
        self.shares.setdefault(image_id, {}).setdefault(project, 'pending')

    def set_member_status(self, image_id, project, status):
        if not self.is_admin:
            raise errors.NotAllowed('not yours')
        self._request(self._set_member_status, image_id, project, status)

    def _set_member_status(self, image_id, project, status):
        self.shares[image_id][project] = status

    def newest_task(self, image_id):
        return self._request(self._newest_task, image_id)

    def _newest_task(self, image_id):
        """Each question brings an import on."""
        task = self.tasks.get(image_id)
        image = self.records.get(image_id)
        if task and image and task['status'] == 'processing':
            self._go_on(task, image)
        return task if image else None

    def _go_on(self, task, image):
        task['updated_at'] += 1
        if image['status'] != 'importing':
            image['status'] = 'importing'
            return
        del image[LOCK]
        if self.messages:
            image['status'] = 'queued'
            task |= {'status': 'failure', 'message': self.messages.pop(0)}
            return
        task |= {'status': 'success', 'message': 'Copied 5 MiB'}
        image |= {'status': 'active', 'size': DISK, 'os_hash_algo': 'sha512',
                  'os_hash_value': 'disk'}
        if self.converts:
            image |= {'disk_format': 'raw', 'container_format': 'bare',
                      'virtual_size': DISK}
            image.pop('unwanted', None)

    def begin_import(self, image_id, method, stores=()):
        self._request(self._begin_import, image_id, method['name'])

    def _begin_import(self, image_id, method):
        image = self._present(image_id)
        expected = 'uploading' if method == 'glance-direct' else 'queued'
        if LOCK in image or image['status'] != expected:
            raise errors.Conflict('not now')
        image[LOCK] = 'task'
        self.tasks[image_id] = {
            'id': 'task', 'status': 'processing', 'message': '',
            'updated_at': 0, 'created_at': next(self._count)}

    def stage(self, image_id, data, size):
        self._request(self._stage, image_id, size)

    def _stage(self, image_id, size):
        image = self._present(image_id)
        if image['status'] != 'queued':
            raise errors.Conflict('not now')
        image |= {'status': 'uploading', 'size': size}
