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

What it does was seen of the real one, its faults included; the functional
tests use that.
"""

import copy
import io
import itertools
import uuid

from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import patience
from glance_xs_convert.migrate import tasks

PROJECT = 'p1'
DISK = 5 * 1024 ** 2
ARCHIVE = 1000
LOCK = 'os_glance_import_task'


def uid(name):
    """The id of an image, always the same for a name."""
    return str(uuid.uuid3(uuid.NAMESPACE_DNS, name))


class Killed(BaseException):
    """The command gets SIGKILL."""


class Response:
    """Data that is downloaded."""

    def __init__(self, data):
        self._data = io.BytesIO(data)

    def iter_content(self, size):
        while chunk := self._data.read(size):
            yield chunk

    def close(self):
        """Nothing is open."""


class Glance:
    """A cloud, and its images and imports.

    :ivar requests: how many there were
    :ivar kill_at: at which request the command is killed
    :ivar kill_before: whether it is killed before Glance has done it
    :ivar failures: messages of imports that fail, one after the other
    :ivar download_fails: message of each import that the hosts download
    :ivar meanwhile: called with the name of each request
    :ivar orphans: ids that a store holds data of already
    """

    project_id = PROJECT
    is_admin = True
    interface = 'public'
    name = 'cloud, region Region'

    def __init__(self):
        self.images = self.imports = self
        self.records = {}
        self.deleted = set()
        self.shares = {}
        self.jobs = {}
        self.requests = 0
        self.kill_at = None
        self.kill_before = False
        self.failures = []
        self.download_fails = None
        self.converts = True
        self.meanwhile = None
        self.orphans = set()
        self.data = b'x' * ARCHIVE
        self.staged = []
        self.clock = patience.Clock(0)
        self._count = itertools.count(1)

    def find_project(self, name):
        return name

    def service(self, kind):
        """There is neither a Nova nor a Cinder."""

    def methods(self):
        return ['glance-download', 'glance-direct']

    def region(self):
        return 'Region'

    def usage(self):
        return {}

    def stores(self):
        return ['fast', 'slow']

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

    def add(self, key='old', /, image_id=None, **attributes):
        """Put an image there that is an archive, and return its id."""
        image_id = image_id or uid(key)
        self.records[image_id] = self._record(image_id) | {
            'size': ARCHIVE, 'status': 'active', 'visibility': 'shared',
            'os_hash_algo': 'sha512', 'os_hash_value': '0' * 128,
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

    def get(self, image_id, once=False):
        return self._request(self._get, image_id)

    def _get(self, image_id):
        return self.records.get(image_id)

    def _present(self, image_id):
        if image_id not in self.records:
            raise errors.NotFound('gone')
        return self.records[image_id]

    def listed_both(self, **filters):
        owner = filters.get('owner')
        return iter([copy.deepcopy(image) for image in self.records.values()
                     if owner is None or image['owner'] == owner])

    def existing(self, ids):
        return {*ids} & set(self.records)

    def create(self, attributes):
        return self._request(self._create, attributes)

    def _create(self, attributes):
        image_id = attributes['id']
        if image_id in self.records or image_id in self.deleted:
            raise errors.Conflict('taken')
        self.records[image_id] = self._record(image_id) | dict(attributes)
        return self.records[image_id]

    def patch(self, image_id, changes, once=False):
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
        image['updated_at'] = '2026-01-01T00:01:%02dZ' % (
            next(self._count) % 60)
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

    def open_data(self, image_id, offset=0):
        return Response(self.data[offset:])

    def tasks(self, image_id):
        return self._request(self._tasks, image_id)

    def _tasks(self, image_id):
        """Each question brings an import on."""
        image = self.records.get(image_id)
        jobs = self.jobs.get(image_id, [])
        if image and jobs and jobs[-1]['status'] == 'processing':
            self._go_on(jobs[-1], image)
        return [tasks.Task.of(job) for job in jobs] if image else []

    def _go_on(self, job, image):
        job['updated_at'] = str(next(self._count))
        if image['status'] != 'importing':
            image['status'] = 'importing'
            return
        del image[LOCK]
        message = self._failure(job, image)
        if message is not None:
            image['status'] = 'queued'
            image['size'] = None
            job |= {'status': 'failure', 'message': message}
            return
        job |= {'status': 'success', 'message': 'Copied 5 MiB'}
        image |= {'status': 'active', 'size': DISK, 'os_hash_algo': 'sha512',
                  'os_hash_value': 'd' * 128}
        if self.converts:
            image |= {'disk_format': 'raw', 'container_format': 'bare',
                      'virtual_size': DISK}
            image.pop('unwanted', None)

    def _failure(self, job, image):
        if image['id'] in self.orphans:
            return 'Task failed due to Internal Error'
        if self.download_fails and job['method'] == 'glance-download':
            return self.download_fails
        return self.failures.pop(0) if self.failures else None

    def begin(self, image_id, method, stores=()):
        self._request(self._begin, image_id, method['name'])

    def _begin(self, image_id, method):
        image = self._present(image_id)
        expected = 'uploading' if method == 'glance-direct' else 'queued'
        if LOCK in image or image['status'] != expected:
            raise errors.Conflict('not now')
        number = next(self._count)
        image[LOCK] = f'task {number}'
        self.jobs.setdefault(image_id, []).append({
            'id': f'task {number}', 'status': 'processing', 'message': '',
            'method': method, 'updated_at': '', 'created_at': 'same'})

    def stage(self, image_id, data, size):
        self._request(self._stage, image_id, data, size)

    def _stage(self, image_id, data, size):
        image = self._present(image_id)
        if image['status'] != 'queued':
            # So Glance does: it destroys the upload that goes on.
            image['status'] = 'queued'
            raise errors.Conflict('not now')
        if image_id in self.staged:
            raise errors.Conflict('The image has data on staging')
        self.staged.append(image_id)
        image['status'] = 'uploading'
        received = len(data.read())
        image['size'] = received
