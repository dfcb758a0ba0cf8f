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

"""Fetch an image as Nova does when it starts a server from one.

    python -m tests.functional.consumers.nova_fetch IMAGE_ID DISK

``DISK`` is the path of a file, ``OS_IMAGE_URL`` the address of Glance and
``OS_TOKEN`` a token of the image's owner.
"""

import os
import sys

import nova.conf
from nova import context
from nova.virt import images


def main() -> None:
    image_id, disk = sys.argv[1:]
    conf = nova.conf.CONF
    conf([], project='nova', default_config_files=[])
    conf.set_override('endpoint_override', os.environ['OS_IMAGE_URL'],
                      group='glance')
    images.fetch_to_raw(
        context.RequestContext(auth_token=os.environ['OS_TOKEN']), image_id,
        disk)


if __name__ == '__main__':
    main()
