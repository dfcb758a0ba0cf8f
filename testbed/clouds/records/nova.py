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

"""Write records of servers into Nova's databases, and print their IDs.

    python -m testbed.clouds.records.nova PROJECT_ID:IMAGE_ID ...
"""

import sys

from nova import config
from nova import context
from nova.network import model
from nova import objects
from oslo_utils import uuidutils


def main() -> None:
    described = sys.argv[1:]
    del sys.argv[1:]
    config.parse_args(sys.argv, prog='nova')
    objects.register_all()
    request = context.get_admin_context()
    cell, = (mapping for mapping in objects.CellMappingList.get_all(request)
             if not mapping.is_cell0())
    for project_id, _, image_id in (
            text.partition(':') for text in described):
        print(_server(request, cell, project_id, image_id))


def _server(request: context.RequestContext, cell: 'objects.CellMapping',
            project_id: str, image_id: str) -> str:
    """Write one record, and return its ID."""
    flavor = objects.Flavor(
        request, flavorid='tiny', name='tiny', memory_mb=64, vcpus=1,
        root_gb=1, ephemeral_gb=0, swap=0, rxtx_factor=1.0, vcpu_weight=0,
        disabled=False, is_public=True, extra_specs={})
    with context.target_cell(request, cell) as there:
        server = objects.Instance(
            there, uuid=uuidutils.generate_uuid(), project_id=project_id,
            user_id='somebody', image_ref=image_id, display_name='server',
            host='nowhere', vm_state='active', flavor=flavor,
            instance_type_id=1, memory_mb=64, vcpus=1, root_gb=1,
            ephemeral_gb=0, key_data=None, key_name=None,
            availability_zone='nova', system_metadata={}, metadata={},
            info_cache=objects.InstanceInfoCache(
                network_info=model.NetworkInfo()),
            keypairs=objects.KeyPairList(objects=[]))
        server.create()
    objects.InstanceMapping(
        request, instance_uuid=server.uuid, project_id=project_id,
        user_id='somebody', cell_mapping=cell, queued_for_delete=False,
    ).create()
    return str(server.uuid)


if __name__ == '__main__':
    main()
