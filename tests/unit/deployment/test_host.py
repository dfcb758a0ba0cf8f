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

"""The checks of the host, by themselves.

What they say for all kinds of configurations is tested with the command
``status``, which shows it.
"""

import pathlib
from unittest import mock

from glance_xs_convert.deployment import configuration
from glance_xs_convert.deployment import host

from tests.unit import cases


class Converter(cases.ScratchCase):

    def test_wrong_disk(self):
        """The disk is examined, not only what the converter says."""
        def convert_file(source, target, *arguments, **options):
            pathlib.Path(target).write_bytes(bytes(host.SAMPLE_SIZE))

        path = self.scratch / 'glance-api.conf'
        path.write_text('')
        deployment = configuration.Deployment([str(path)], [], {})
        with mock.patch.object(host.parent, 'convert_file', autospec=True,
                               side_effect=convert_file):
            result = host.check_converter(deployment)
        self.assertEqual(host.Code.FAILURE, result.code)
        self.assertIn('converts a sample incorrectly', result.details)
