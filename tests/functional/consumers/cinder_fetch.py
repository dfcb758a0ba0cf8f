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

"""Fetch an image as Cinder does when it makes a volume of one.

    python -m tests.functional.consumers.cinder_fetch IMAGE_ID VOLUME

``VOLUME`` is the path of a file or block device, ``OS_IMAGE_URL`` the
address of Glance and ``OS_TOKEN`` a token of the image's owner.
"""

import os
import sys
import tempfile

from cinder import context
from cinder.image import image_utils
from cinder import privsep
from oslo_config import cfg

_BLOCK_SIZE = '1M'


def main() -> None:
    image_id, volume = sys.argv[1:]
    conf = cfg.CONF
    conf([], project='cinder', default_config_files=[])
    # What Cinder does as root is done by this process: the volume is a file.
    privsep.sys_admin_pctxt.set_client_mode(False)
    with tempfile.TemporaryDirectory() as directory:
        conf.set_override('glance_api_servers', [os.environ['OS_IMAGE_URL']])
        conf.set_override('image_conversion_dir', directory)
        image_utils.fetch_to_raw(
            context.RequestContext(auth_token=os.environ['OS_TOKEN']),
            image_utils.glance.get_default_image_service(), image_id, volume,
            _BLOCK_SIZE, run_as_root=False)


if __name__ == '__main__':
    main()
