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

"""Reading the pipelines before Glance's API."""

from glance_xs_convert.deployment import pipelines

from tests.unit import cases


class Read(cases.ScratchCase):

    def read(self, text, flavor=None):
        path = self.scratch / 'glance-api-paste.ini'
        path.write_text(text)
        return pipelines.read(str(path), flavor)

    def test_composite(self):
        found = self.read('''
[DEFAULT]
setting = 1
[composite:api]
paste.composite_factory = glance.api:pipeline_factory
default = cors egg:some#filter uploads rootapp
keystone+caching = Cors rootapp
[filter:cors]
paste.filter_factory = oslo_middleware.cors:filter_factory
[filter:uploads]
use = egg:glance-xs-convert#xs_convert_upload
[filter:Cors]
''', 'keystone+caching')
        self.assertEqual({'default', 'keystone+caching'},
                         set(found.flavors))
        self.assertEqual(
            [('cors', 'oslo_middleware.cors:filter_factory'),
             ('egg:some#filter', 'egg:some#filter'),
             ('uploads', 'egg:glance-xs-convert#xs_convert_upload')],
            [(one.name, one.factory) for one in found.flavors['default']])
        self.assertEqual([pipelines.Filter('Cors', '')], found.used)
        self.assertEqual(['default'], found.with_upload_filter())

    def test_filter_by_its_factory(self):
        self.assertTrue(pipelines.Filter(
            'x', 'glance_xs_convert.plugin.upload_filter:filter_factory',
        ).is_ours)
        self.assertFalse(pipelines.Filter('xs_convert_upload', None).is_ours)

    def test_section_for_each_pipeline(self):
        found = self.read('''
[pipeline:glance-api]
pipeline = cors rootapp
[pipeline:glance-api-keystone]
pipeline = missing rootapp
[filter:cors]
use = egg:oslo.middleware#cors
''', 'keystone')
        self.assertEqual([pipelines.Filter('missing', None)], found.used)
        self.assertEqual(['cors'],
                         [one.name for one in found.flavors['default']])

    def test_no_pipeline(self):
        self.assertIsNone(self.read('[composite:api]\n', 'keystone').used)

    def test_unreadable(self):
        for text in ('no section', '[a]\n[a]\n', '[a]\nb = 1\nb = 2\n'):
            with self.assertRaises(pipelines.Unreadable):
                self.read(text)
        with self.assertRaises(pipelines.Unreadable):
            pipelines.read(str(self.scratch), None)
