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


"""Plain uploads to a real Glance with the filter in its pipeline."""

from concurrent import futures
import io
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time

from testbed.clouds import keystone
from testbed.clouds import services
from testbed.images import chains
from testbed.images import model
from tests.functional import archives
from tests.functional import uploads

MIB = 1024 ** 2


class TestUpload(uploads.UploadCase):
    """The set-up of today: stores with names."""

    SECONDS = 35
    OPTIONS = uploads.UploadCase.OPTIONS | {
        'stores': ('fast', 'slow'), 'xs_convert': {'convert_bare_vhd': True}}

    def test_fixed_length(self):
        for image in (archives.story(), archives.small()):
            with self.new_image(image.name) as image_id:
                task = self.upload(image_id, image.data)
                self.assert_converted(image_id, task, image)
                self.assertEqual('glance-direct', task['input']['import_req']
                                 ['method']['name'])

    def test_chunked(self):
        small = archives.small()
        for size in (1000, 100_000, len(small.data)):
            with self.new_image(small.name) as image_id:
                task = self.upload(image_id, uploads.pieces(small.data, size))
                self.assert_converted(image_id, task, small)

    def test_importing_before_active(self):
        small = archives.small()
        with self.new_image(small.name) as image_id:
            self.assertEqual(204, self.put(image_id, small.data).status_code)
            self.assertIn(self.client.images.get(image_id).status,
                          ('uploading', 'importing', 'active'))
            self.wait_for_status(image_id, 'active')
            # Glance has not done with it yet.
            self.cloud.wait_for_import(self.client, image_id)

    def test_store(self):
        small = archives.small()
        for store in self.cloud.stores:
            for data in (small.data, uploads.pieces(small.data)):
                with self.new_image(small.name) as image_id:
                    task = self.upload(image_id, data, store)
                    self.assert_converted(image_id, task, small, [store])

    def test_unknown_store(self):
        with self.new_image('others', 'raw', 'bare') as image_id:
            expected = self.put(image_id, b'data', store='unknown')
        with self.new_image('ours') as image_id:
            response = self.put(image_id, archives.story().data,
                                store='unknown')
            self.assertEqual((400, uploads.text_of(expected)),
                             (response.status_code, uploads.text_of(response)))
            self.assert_queued(image_id)

    def test_bare(self):
        layer = chains.story_layers()[-1]
        image = archives.Image('bare.vhd', layer.tobytes(),
                               layer.current_size, model.sha256([layer]))
        with self.new_image(image.name, 'vhd', 'bare') as image_id:
            task = self.upload(image_id, image.data)
            self.assert_converted(image_id, task, image)

    def test_other_images_are_left_alone(self):
        data = archives.small().data
        for formats in (('raw', 'bare'), ('raw', 'ovf'), ('vmdk', 'ova')):
            with self.new_image('others', *formats) as image_id:
                response = self.put(image_id, data)
                self.assertEqual(204, response.status_code, response.text)
                self.assert_stored_as_it_came(image_id, data, *formats)

    def test_refused_by_the_plugin(self):
        for image in archives.refused():
            with self.new_image(image.name) as image_id:
                task = self.upload(image_id, image.data)
                self.assert_refused(image_id, task, image.reason)

    def test_refused_then_good(self):
        broken, small = archives.refused()[0], archives.small()
        with self.new_image(small.name) as image_id:
            task = self.upload(image_id, broken.data)
            self.assert_refused(image_id, task, broken.reason)
            task = self.upload(image_id, small.data)
            self.assert_converted(image_id, task, small)

    def test_wrong_content_type(self):
        with self.new_image('ours') as image_id:
            response = self.cloud.keystone.session('demo').put(
                '%s/v2/images/%s/file' % (self.cloud.url, image_id),
                json={}, raise_exc=False)
            self.assertEqual(415, response.status_code)
            self.assert_queued(image_id)

    def test_not_queued(self):
        small = archives.small()
        with self.new_image('others', 'raw', 'bare') as image_id:
            self.put(image_id, b'data')
            expected = self.put(image_id, b'data')
        with self.new_image('active') as image_id:
            task = self.upload(image_id, small.data)
            response = self.put(image_id, small.data)
            self.assertEqual((409, uploads.text_of(expected)),
                             (response.status_code, uploads.text_of(response)))
            self.assert_converted(image_id, task, small)
        with self.new_image('staged') as image_id:
            self.put(image_id, b'data', action='stage')
            response = self.put(image_id, small.data)
            self.assertEqual(409, response.status_code)
            self.assertIn('Image status transition from uploading to '
                          'uploading is not allowed', response.text)
            self.assertEqual([image_id], self.cloud.staged())

    def test_not_the_owner(self):
        data = archives.small().data
        for share, status in ((False, 404), (True, 403)):
            with self.new_image('ours') as image_id:
                if share:
                    self.share(image_id)
                response = self.put(image_id, data, user='other')
                self.assertEqual(status, response.status_code)
                self.assert_queued(image_id)

    def share(self, image_id):
        other = self.cloud.keystone.session('other').get_project_id()
        self.client.image_members.create(image_id, other)
        self.cloud.client('other').image_members.update(
            image_id, other, 'accepted')

    def test_no_such_image(self):
        image_id = '00000000-0000-0000-0000-000000000000'
        self.assertEqual(404, self.put(image_id, b'data').status_code)

    def test_without_token(self):
        with self.new_image('ours') as image_id:
            response = self.cloud.keystone.session('demo').put(
                '%s/v2/images/%s/file' % (self.cloud.url, image_id),
                data=b'data', authenticated=False, raise_exc=False)
            self.assertEqual(401, response.status_code)

    def test_body_is_not_buffered(self):
        size = 192 * MIB
        before = self.peak_memory()
        for data in (io.BytesIO(bytes(size)),
                     (bytes(MIB) for _ in range(size // MIB))):
            with self.new_image('zeros') as image_id:
                task = self.upload(image_id, data)
                self.assert_refused(image_id, task, 'archive')
        self.assertLess(self.peak_memory() - before, 32 * MIB)

    def peak_memory(self):
        """The most memory that a worker has used, in bytes."""
        return max(
            int(re.search(r'VmHWM:\s+([0-9]+) kB', pathlib.Path(
                '/proc/%d/status' % pid).read_text())[1]) * 1024
            for pid in self.cloud.glance_pids())


class TestInterruptions(uploads.UploadCase):
    """Uploads that break off or get in each other's way."""

    def test_broken_connection(self):
        small = archives.small()
        half = small.data[:len(small.data) // 2]
        bodies = {
            'Content-Length: %d' % len(small.data): half,
            'Transfer-Encoding: chunked': b'%x\r\n%s\r\n' % (len(half), half),
        }
        for header, body in bodies.items():
            with self.new_image(small.name) as image_id:
                with self.beginning_of_upload(image_id, header) as connection:
                    connection.sendall(body)
                    self.wait_for_status(image_id, 'uploading')
                self.wait_for_status(image_id, 'queued')
                self.wait_for_uploads()
                self.assert_queued(image_id)
                task = self.upload(image_id, small.data)
                self.assert_converted(image_id, task, small)

    def test_second_upload_meanwhile(self):
        small = archives.small()
        half = len(small.data) // 2
        with self.new_image(small.name) as image_id:
            with self.beginning_of_upload(
                    image_id,
                    'Content-Length: %d' % len(small.data)) as connection:
                connection.sendall(small.data[:half])
                self.wait_for_status(image_id, 'uploading')
                response = self.put(image_id, small.data)
                self.assertEqual(409, response.status_code)
                connection.sendall(small.data[half:])
                self.assertIn(b' 204 ', connection.recv(1000))
            task = self.cloud.wait_for_import(self.client, image_id)
            self.assert_converted(image_id, task, small)

    def wait_for_staged(self, image_id):
        """Wait until there is a file for the image's data."""
        deadline = time.monotonic() + uploads.SECONDS
        while image_id not in self.cloud.staged():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def test_uploads_at_once(self):
        small = archives.small()
        with futures.ThreadPoolExecutor(4) as pool:
            for _ in range(5):
                with self.new_image(small.name) as image_id:
                    responses = list(pool.map(
                        self.put, [image_id] * 4, [small.data] * 4))
                    self.assertEqual(
                        [204, 409, 409, 409],
                        sorted(response.status_code
                               for response in responses))
                    task = self.cloud.wait_for_import(self.client, image_id)
                    self.assert_converted(image_id, task, small)

    def test_deleted_meanwhile(self):
        small = archives.small()
        half = len(small.data) // 2
        image_id = self.client.images.create(
            disk_format='vhd', container_format='ovf').id
        with self.beginning_of_upload(
                image_id,
                'Content-Length: %d' % len(small.data)) as connection:
            connection.sendall(small.data[:half])
            self.wait_for_status(image_id, 'uploading')
            # Glance opens the file after it has said so.
            self.wait_for_staged(image_id)
            self.client.images.delete(image_id)
            connection.sendall(small.data[half:])
            self.assertIn(b' 404 ', connection.recv(1000))
        self.assertEqual([], self.cloud.staged())

    def test_deleted_before_the_file_is_opened(self):
        """Glance's own clean-up comes too early, then."""
        small = archives.small()
        image_id = self.client.images.create(
            disk_format='vhd', container_format='ovf').id
        with self.beginning_of_upload(
                image_id,
                'Content-Length: %d' % len(small.data)) as connection:
            connection.sendall(small.data[:1])
            self.wait_for_staged(image_id)
            os.unlink(self.cloud.staging / image_id)
            self.client.images.delete(image_id)
            # This is what Glance leaves if it opens the file only now.
            self.cloud.staging.joinpath(image_id).write_bytes(b'')
            connection.sendall(small.data[1:])
            self.assertIn(b' 404 ', connection.recv(1000))
        self.assertEqual([], self.cloud.staged())


class TestAttacks(uploads.UploadCase):
    """Ways to get a XenServer image past the filter."""

    OPTIONS = TestUpload.OPTIONS

    def send(self, method, path, data, **headers):
        """Send data to a path of the API as it stands."""
        return self.cloud.keystone.session('demo').request(
            self.cloud.url + path, method, data=data, raise_exc=False,
            headers={'Content-Type': 'application/octet-stream'} | headers)

    def test_paths(self):
        small = archives.small()
        for method, path in (
                ('PUT', '/v2/images/%s/file%%0a'),
                ('PUT', '/v2//images/%s//file'),
                ('PUT', '/v2.7/images/%s/file%%0A'),
                ('PUT', '/v2/images/%s/f%%69le'),
                ('POST', '/v2/images/%s/file?_method=PUT'),
                ('GET', '/v2/images/%s/file?_method=put')):
            with self.new_image(path) as image_id:
                self.send(method, path % image_id, small.data)
                task = self.cloud.wait_for_import(self.client, image_id)
                self.assert_converted(image_id, task, small)

    def test_reserved_stores(self):
        for store in ('os_glance_staging_store', 'os_glance_tasks_store'):
            with self.new_image(store) as image_id:
                response = self.put(image_id, archives.small().data,
                                    store=store)
                self.assertEqual(400, response.status_code)
                self.assertIn('reserved', response.text)
                self.assert_queued(image_id)

    def test_id_in_capitals(self):
        """MariaDB finds the image, and nothing is left in staging."""
        small = archives.small()
        with self.new_image('capitals') as image_id:
            self.put(image_id.upper(), small.data)
            task = self.cloud.wait_for_import(self.client, image_id)
            self.assert_converted(image_id, task, small)

    def test_stage_with_id_in_capitals(self):
        small = archives.small()
        for stage, begin in ((str.upper, str), (str, str.upper),
                             (str.upper, str.upper)):
            with self.new_image('capitals') as image_id:
                response = self.put(stage(image_id), small.data,
                                    action='stage')
                self.assertEqual(204, response.status_code, response.text)
                self.assertEqual([image_id], self.cloud.staged())
                response = self.cloud.keystone.session('demo').post(
                    '%s/v2/images/%s/import' % (
                        self.cloud.url, begin(image_id)),
                    json={'method': {'name': 'glance-direct'}},
                    raise_exc=False)
                self.assertEqual(202, response.status_code, response.text)
                task = self.cloud.wait_for_import(self.client, image_id)
                self.assert_converted(image_id, task, small)

    def test_stranger_does_not_keep_the_owner_out(self):
        """A member of a shared image may read it, but not upload."""
        small = archives.small()
        with self.new_image('ours') as image_id, \
                futures.ThreadPoolExecutor(1) as pool:
            other = self.cloud.keystone.session('other').get_project_id()
            self.client.images.update(image_id, visibility='shared')
            self.client.image_members.create(image_id, other)
            self.cloud.client('other').image_members.update(
                image_id, other, 'accepted')
            refused = pool.submit(lambda: {
                self.put(image_id, small.data, user='other').status_code
                for _ in range(30)})
            for _ in range(3):
                response = self.put(image_id, small.data[:1000])
                self.assertEqual(204, response.status_code, response.text)
                self.cloud.wait_for_import(self.client, image_id)
            self.assertEqual({403}, refused.result())


class TestClients(uploads.UploadCase):
    """The programs that people upload images with."""

    def setUp(self):
        super().setUp()
        self.image = archives.story()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.file = os.path.join(scratch.name, self.image.name)
        with open(self.file, 'wb') as file:
            file.write(self.image.data)

    def run_program(self, *argv):
        """Run a program, and return the image id that it prints."""
        done = subprocess.run(
            [services.script(argv[0]), *argv[1:]], capture_output=True,
            text=True, env=self.cloud.env())
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout

    def assert_imported(self, image_id):
        self.addCleanup(self.client.images.delete, image_id)
        task = self.cloud.wait_for_import(self.client, image_id)
        self.assert_converted(image_id, task, self.image)

    def test_openstack_image_create(self):
        output = self.run_program(
            'openstack', 'image', 'create', '--file', self.file,
            '--disk-format', 'vhd', '--container-format', 'ovf',
            '-f', 'json', 'story')
        self.assert_imported(json.loads(output)['id'])

    def test_glance_image_create(self):
        output = self.run_program(
            'glance', 'image-create', '--file', self.file,
            '--disk-format', 'vhd', '--container-format', 'ovf',
            '--name', 'story')
        self.assert_imported(re.search(r'\| id +\| (\S+)', output)[1])

    def test_openstacksdk(self):
        connection = self.cloud.connection()
        for source in ({'filename': self.file}, {'data': self.image.data}):
            image = connection.create_image(
                'story', disk_format='vhd', container_format='ovf',
                wait=True, allow_duplicates=True, **source)
            connection.image.wait_for_status(
                image, 'active', failures=['queued'], wait=uploads.SECONDS)
            task = self.cloud.wait_for_import(self.client, image.id)
            self.assert_converted(image.id, task, self.image)
            connection.delete_image(image.id)


class TestQuota(uploads.UploadCase):
    """Glance takes the data into staging, but refuses the import."""

    LIMITS = {'image_size_total': 1, 'image_stage_total': 1000,
              'image_count_total': 100, 'image_count_uploading': 100}

    @classmethod
    def get_cloud(cls, **options):
        # No other class is to have these limits.
        return cls.start_cloud(**options)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.identity = cls.cloud.keystone.session('admin')
        endpoint = cls.endpoint()
        limits = cls.request(
            'POST', 'registered_limits', {'registered_limits': [
                {'service_id': endpoint['service_id'],
                 'region_id': endpoint['region_id'],
                 'resource_name': name, 'default_limit': limit}
                for name, limit in cls.LIMITS.items()]})
        for limit in limits['registered_limits']:
            cls.addClassCleanup(
                cls.request, 'DELETE', 'registered_limits/' + limit['id'])
        with cls.cloud.import_config.open('a') as config:
            config.write(cls.options(endpoint['id']))
        cls.cloud.restart_glance()

    @classmethod
    def request(cls, method, path, body=None):
        response = cls.identity.request(
            '%s/%s' % (cls.cloud.keystone.auth_url, path), method, json=body)
        return response.json() if response.content else None

    @classmethod
    def endpoint(cls):
        """Glance's public endpoint in the catalog."""
        endpoints = cls.request(
            'GET', 'endpoints?interface=public&region_id=' + cls.cloud.region)
        return next(endpoint for endpoint in endpoints['endpoints']
                    if endpoint['url'] == cls.cloud.url)

    @classmethod
    def options(cls, endpoint_id):
        """What makes Glance ask Keystone for limits."""
        return '''
[DEFAULT]
use_keystone_limits = true

[oslo_limit]
auth_type = password
auth_url = %s
username = admin
password = %s
system_scope = all
user_domain_id = default
endpoint_id = %s
''' % (cls.cloud.keystone.auth_url, keystone.PASSWORD, endpoint_id)

    def test_import_is_refused(self):
        small = archives.small()
        with self.new_image(small.name) as image_id:
            with self.new_image('others', 'raw', 'bare') as other:
                self.put(other, uploads.pieces(bytes(2 * MIB)))
                with self.new_image('others', 'raw', 'bare') as another:
                    expected = self.put(another, small.data)
                response = self.put(image_id, small.data)
                self.assertEqual(
                    (413, uploads.text_of(expected)),
                    (response.status_code, uploads.text_of(response)))
            self.assert_queued(image_id)
            task = self.upload(image_id, small.data)
            self.assert_converted(image_id, task, small)


class TestRefuse(uploads.UploadCase):
    """Uploads are refused."""

    OPTIONS = uploads.UploadCase.OPTIONS | {
        'xs_convert': {'on_plain_upload': 'refuse'},
        'import_methods': ('web-download',)}

    def test_refused(self):
        data = archives.small().data
        for body in (data, uploads.pieces(data)):
            with self.new_image('ours') as image_id:
                response = self.put(image_id, body)
                self.assertEqual(409, response.status_code)
                self.assertIn('openstack image create --import',
                              response.text)
                self.assert_queued(image_id)

    def test_import(self):
        small = archives.small()
        with self.new_image(small.name) as image_id:
            task = self.web_download(image_id, small.data)
            self.assert_converted(image_id, task, small)
            response = self.put(image_id, small.data)
            self.assertNotIn('--import', response.text)

    def test_other_images_are_left_alone(self):
        with self.new_image('others', 'raw', 'bare') as image_id:
            self.assertEqual(204, self.put(image_id, b'data').status_code)
            self.assert_stored_as_it_came(image_id, b'data', 'raw', 'bare')


class NoImports:
    """Uploads of XenServer images are stored as they come."""

    REASON: str | None = None

    def test_stored_as_it_came(self):
        data = archives.small().data
        with self.new_image('ours') as image_id:
            self.assertEqual(204, self.put(image_id, data).status_code)
            self.assert_stored_as_it_came(image_id, data, 'vhd', 'ovf')
        log = self.cloud.log.read_text(errors='replace')
        found = re.search('ERROR .*images unconverted, because (.*)', log)
        self.assertEqual(self.REASON, found and found[1])


class TestPass(NoImports, uploads.UploadCase):
    """That is what the operator wants."""

    OPTIONS = uploads.UploadCase.OPTIONS | {
        'xs_convert': {'on_plain_upload': 'pass'}}


class TestNoGlanceDirect(NoImports, uploads.UploadCase):
    """Glance has no import method that would do."""

    OPTIONS = uploads.UploadCase.OPTIONS | {
        'import_methods': ('web-download',)}
    REASON = 'glance-direct is not among the enabled_import_methods'


class TestNoPlugin(NoImports, uploads.UploadCase):
    """Imports would not be converted either."""

    OPTIONS = uploads.UploadCase.OPTIONS | {'image_import_plugins': ()}
    REASON = 'xs_convert is not among the image_import_plugins'


class TestSingleStore(uploads.UploadCase):
    """The old set-up: one store without a name, node_staging_uri."""

    OPTIONS = uploads.UploadCase.OPTIONS | {'single_store': True}

    def test_converted(self):
        small = archives.small()
        for data in (small.data, uploads.pieces(small.data)):
            with self.new_image(small.name) as image_id:
                task = self.upload(image_id, data)
                self.assert_converted(image_id, task, small)

    def test_refused_then_good(self):
        broken, small = archives.refused()[0], archives.small()
        with self.new_image(small.name) as image_id:
            task = self.upload(image_id, broken.data)
            self.assert_refused(image_id, task, broken.reason)
            task = self.upload(image_id, small.data)
            self.assert_converted(image_id, task, small)


class TestUwsgi(uploads.UploadCase):
    """Glance runs under uWSGI."""

    OPTIONS = uploads.UploadCase.OPTIONS | {'server': 'uwsgi'}

    def test_converted(self):
        small = archives.small()
        with self.new_image(small.name) as image_id:
            task = self.upload(image_id, small.data)
            self.assert_converted(image_id, task, small)

    def test_broken_connection(self):
        small = archives.small()
        with self.new_image(small.name) as image_id:
            with self.beginning_of_upload(
                    image_id,
                    'Content-Length: %d' % len(small.data)) as connection:
                connection.sendall(small.data[:len(small.data) // 2])
                self.wait_for_status(image_id, 'uploading')
            self.wait_for_status(image_id, 'queued')
            self.assert_queued(image_id)
