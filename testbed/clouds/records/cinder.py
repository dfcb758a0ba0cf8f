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

"""Write records of volumes into Cinder's database, and print their IDs.

    python -m testbed.clouds.records.cinder PROJECT_ID:IMAGE_ID ...
"""

import sys

from cinder import context
from cinder.db import api as db
from cinder import objects
from oslo_config import cfg


def main() -> None:
    objects.register_all()
    cfg.CONF([], project='cinder')
    request = context.get_admin_context()
    for described in sys.argv[1:]:
        project_id, _, image_id = described.partition(':')
        volume = objects.Volume(
            request, project_id=project_id, user_id='somebody', size=1,
            status='available', attach_status='detached',
            display_name='volume', volume_type_id=db.volume_type_get_by_name(
                request, cfg.CONF.default_volume_type)['id'])
        volume.create()
        if image_id:
            db.volume_glance_metadata_create(
                request, volume.id, 'image_id', image_id)
        print(volume.id)


if __name__ == '__main__':
    main()
