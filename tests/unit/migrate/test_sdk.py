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

"""The errors of openstacksdk are understood."""

import argparse
import os
import tempfile
import unittest
from unittest import mock

from keystoneauth1 import exceptions as ksa_exceptions
from keystoneauth1 import loading
from openstack import config
from openstack import exceptions as sdk_exceptions

from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import sdk


class TestSdk(unittest.TestCase):
    """Calls of openstacksdk are made."""

    def test_errors(self):
        for raised, kind in (
                (ksa_exceptions.Unauthorized('no'), errors.LoginFailed),
                (ksa_exceptions.BadGateway('no'), errors.Passing),
                (ksa_exceptions.BadRequest('no'), errors.LoginFailed),
                (ksa_exceptions.DiscoveryFailure('no'),
                 errors.CannotMigrate),
                (ConnectionResetError('no'), errors.Passing),
                (sdk_exceptions.SDKException('no\nway'),
                 errors.RequestRefused)):
            with self.assertRaisesRegex(kind, 'no'):
                sdk.checked(mock.Mock(side_effect=raised))
        self.assertEqual(7, sdk.checked(lambda: 7))

    def test_image_service(self):
        class Connection:
            @property
            def image(self):
                raise sdk_exceptions.SDKException('no versions')

        with self.assertRaisesRegex(ConnectionError, 'no versions'):
            sdk.find_images(Connection())

    def test_credentials_are_incomplete(self):
        error = ksa_exceptions.MissingRequiredOptions(
            [loading.Opt('token'), loading.Opt('project-id')])
        with (mock.patch.object(config.OpenStackConfig, 'get_one',
                                autospec=True, side_effect=error),
              self.assertRaisesRegex(errors.WrongArguments,
                                     'set OS_TOKEN, OS_PROJECT_ID$')):
            sdk.connect(argparse.Namespace())

    def connect(self, **settings):
        """Connect as with the environment of an openrc file."""
        with tempfile.TemporaryDirectory() as scratch:
            names = {name: os.environ[name] for name in os.environ
                     if not name.startswith('OS_')}
            names |= {'HOME': scratch, 'XDG_CONFIG_HOME': scratch}
            names |= {f'OS_{name.upper()}': value
                      for name, value in settings.items()}
            with mock.patch.dict(os.environ, names, clear=True):
                parser = argparse.ArgumentParser()
                config.OpenStackConfig().register_argparse_arguments(
                    parser, [], ['image'])
                sdk.connect(parser.parse_args([]))

    def test_what_to_set(self):
        """For whatever is missing, of whatever kind of login."""
        url = {'auth_url': 'http://127.0.0.1:1/v3'}
        user, secret = {'username': 'me'}, {'password': 'secret'}
        credential = {'auth_type': 'v3applicationcredential'}
        for settings, what in (
                (url, 'set OS_USERNAME or OS_USER_ID, OS_PASSWORD'),
                (url | user, 'set OS_PASSWORD'),
                (url | secret, 'set OS_USERNAME or OS_USER_ID'),
                (url | secret | {'auth_type': 'v3password'},
                 'set OS_USERNAME or OS_USER_ID'),
                (url | {'auth_type': 'v3token'}, 'set OS_TOKEN'),
                (url | {'auth_type': 'token'}, 'set OS_TOKEN'),
                (url | credential | {'application_credential_id': 'a'},
                 'set OS_APPLICATION_CREDENTIAL_SECRET'),
                (url | credential | {'application_credential_secret': 's'},
                 'set OS_APPLICATION_CREDENTIAL_ID or '
                 'OS_APPLICATION_CREDENTIAL_NAME'),
                (url | user | {'auth_type': 'v3totp'}, 'set OS_PASSCODE'),
                (url | {'auth_type': 'v3oauth1'}, 'set OS_CONSUMER_KEY, '
                 'OS_CONSUMER_SECRET, OS_ACCESS_KEY, OS_ACCESS_SECRET')):
            with self.assertRaisesRegex(
                    errors.WrongArguments,
                    f'^the credentials for the cloud are incomplete: {what}$'):
                self.connect(**settings)

    def test_what_keystoneauth_explains(self):
        with self.assertRaisesRegex(
                errors.WrongArguments,
                '^the credentials for the cloud are incomplete: .*endpoint'):
            self.connect(auth_url='http://127.0.0.1:1/v3',
                         auth_type='v3oidcpassword')
        with self.assertRaisesRegex(errors.WrongArguments,
                                    'those that its auth type needs$'):
            self.connect(auth_type='admin_token')

    def test_login_without_keystone(self):
        for kind in ('none', 'http_basic'):
            with self.assertRaisesRegex(
                    errors.WrongArguments,
                    f'the auth type {kind} does not log in to Keystone'):
                self.connect(auth_type=kind)

    def test_address_without_scheme(self):
        with self.assertRaisesRegex(
                errors.WrongArguments,
                'is 127.0.0.1:5000/v3, which does not begin with http://'):
            self.connect(auth_url='127.0.0.1:5000/v3', username='me',
                         password='secret', project_name='mine')

    def test_no_project(self):
        with self.assertRaisesRegex(errors.WrongArguments,
                                    'set OS_PROJECT_NAME'):
            sdk.checked(mock.Mock(
                side_effect=ksa_exceptions.EmptyCatalog('empty')))

    def test_unknown_cloud(self):
        with self.assertRaisesRegex(errors.WrongArguments, 'nowhere'):
            sdk.connect(argparse.Namespace(os_cloud='nowhere'))
