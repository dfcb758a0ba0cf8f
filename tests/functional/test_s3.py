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

"""Stores other than the file system."""

import boto3
from moto import server

from testbed.clouds import services
from tests.functional import archives
from tests.functional import base

BUCKET = 'images'
_KEY = {'access': 'key', 'secret': 'secret'}


class TestS3(base.ImportCase):
    """An object store that speaks S3, beside a file store."""

    @classmethod
    def start_cloud(cls, **options):
        objects = server.ThreadedMotoServer(services.LOOPBACK, port=0,
                                            verbose=False)
        objects.start()
        cls.addClassCleanup(objects.stop)
        cls.endpoint = 'http://%s:%d' % objects.get_host_and_port()
        return super().start_cloud(options={
            'DEFAULT': {'enabled_backends': 'fast:file,objects:s3'},
            'objects': {
                's3_store_host': cls.endpoint,
                's3_store_access_key': _KEY['access'],
                's3_store_secret_key': _KEY['secret'],
                's3_store_bucket': BUCKET,
                's3_store_bucket_url_format': 'path',
                's3_store_create_bucket_on_put': True,
            },
        }, **options)

    def sizes(self):
        """The sizes of the objects in the bucket, by name."""
        client = boto3.client(
            's3', endpoint_url=self.endpoint, region_name='us-east-1',
            aws_access_key_id=_KEY['access'],
            aws_secret_access_key=_KEY['secret'])
        found = client.list_objects_v2(Bucket=BUCKET)
        return {entry['Key']: entry['Size']
                for entry in found.get('Contents', ())}

    def test_converted(self):
        story = archives.story()
        for stores in (['objects'], ['objects', 'fast'], ['fast', 'objects']):
            with self.new_image(story.name) as image_id:
                task = self.web_download(image_id, story.data, stores=stores)
                self.assert_converted(image_id, task, story, stores)
                self.assertEqual({image_id: story.size}, self.sizes())
            self.assertEqual({}, self.sizes())

    def test_refused(self):
        for image in archives.refused():
            with self.new_image(image.name) as image_id:
                task = self.web_download(image_id, image.data,
                                         stores=['objects'])
                self.assert_refused(image_id, task, image.reason,
                                    ['objects'])
