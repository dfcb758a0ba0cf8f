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

"""Who the user is, and what the cloud has."""

import types
import unittest
from unittest import mock

from openstack import exceptions as sdk_exceptions

from glance_xs_convert.migrate import cloud
from glance_xs_convert.migrate import errors
from tests.unit.migrate import responses


class Connection:
    """Stands for openstacksdk's connection."""

    def __init__(self):
        self.access = types.SimpleNamespace(
            project_id='p', role_names=['member'],
            service_catalog=types.SimpleNamespace(
                get_endpoints_data=self.endpoints))
        self.session = types.SimpleNamespace(
            timeout=None, auth=types.SimpleNamespace(
                get_access=lambda session: self.access))
        self.config = types.SimpleNamespace(
            name='envvars', auth={'auth_url': 'https://keystone.example/v3'},
            get_region_name=lambda service: None,
            get_interface=lambda service: None)
        self.regions = ['One']
        self.failures = 0
        self.asked = 0

    def endpoints(self, **query):
        return {'image': [types.SimpleNamespace(region_id=region)
                          for region in self.regions]}

    @property
    def image(self):
        self.asked += 1
        if self.asked <= self.failures:
            raise sdk_exceptions.SDKException('no versions')
        return responses.Proxy()

    def has_service(self, kind):
        return kind == 'block-storage'

    block_storage = None


class TestCloud(unittest.TestCase):
    """The user has logged in."""

    def setUp(self):
        super().setUp()
        self.connection = Connection()
        self.cloud = cloud.Cloud(self.connection, responses.Clock())

    def test_roles(self):
        self.cloud.log_in()
        self.assertEqual(('p', False),
                         (self.cloud.project_id, self.cloud.is_admin))
        self.connection.access.role_names = ['admin']
        self.assertTrue(self.cloud.is_admin)
        self.assertIsNotNone(self.connection.session.timeout)

    def test_service_that_is_not_found_at_once(self):
        self.connection.failures = 2
        said = []
        self.cloud.log_in(said.append)
        self.assertEqual(3, self.connection.asked)
        self.assertEqual(
            ['The cloud does not answer properly yet: no versions'], said)
        self.connection.failures = 100
        with self.assertRaisesRegex(errors.Unreachable, 'no versions'):
            self.cloud.log_in()

    def test_region(self):
        self.cloud.log_in()
        self.assertEqual('One', self.cloud.region())
        self.connection.regions.append('Two')
        self.assertIsNone(self.cloud.region())
        self.connection.config.get_region_name = lambda service: 'Three'
        self.assertEqual('Three', self.cloud.region())

    def test_name(self):
        self.cloud.log_in()
        self.assertEqual('keystone.example, region One', self.cloud.name)
        self.connection.config.name = 'mine'
        self.connection.regions.append('Two')
        self.assertEqual('mine', self.cloud.name)

    def test_services(self):
        self.assertIsNone(self.cloud.service('compute'))
        self.assertIsNotNone(self.cloud.service('block-storage'))

    def test_projects(self):
        self.assertEqual('x', self.cloud.find_project('x'))
        self.connection.identity = types.SimpleNamespace(
            find_project=lambda name: types.SimpleNamespace(
                id='id of ' + name))
        self.assertEqual('id of x', self.cloud.find_project('x'))
        self.connection.identity.find_project = mock.Mock(
            side_effect=sdk_exceptions.DuplicateResource)
        with self.assertRaisesRegex(errors.WrongArguments, 'several .* x:'):
            self.cloud.find_project('x')
