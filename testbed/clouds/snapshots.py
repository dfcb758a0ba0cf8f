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

"""Snapshots and volume images, made as Nova and Cinder make them.

Both services give what they make the properties of the image that a server or
volume was made of, whoever wrote them and for whatever purpose. It belongs to
the same project, is younger, and with disks on RBD it is raw and bare::

    snapshot_id = snapshots.of_server(cloud.client(), new_id)
    volume_image_id = snapshots.of_volume(cloud.client(), new_id)

The rules are those of ``nova.compute.utils`` and ``cinder.volume.api`` with
their default configurations.
"""

from collections import abc
import datetime
import io
import json
import os
import time
import typing
import uuid

#: What Nova never gives to snapshots, or not in its default configuration.
_NOVA_KEEPS = {
    'cache_in_nova', 'bittorrent', 'cinder_encryption_key_id',
    'cinder_encryption_key_deletion_policy', 'img_signature',
    'img_signature_hash_method', 'img_signature_key_type',
    'img_signature_certificate_uuid', 'mappings', 'block_device_mapping',
    'img_mappings', 'img_block_device_mapping'}
_RESERVED = 'os_glance'
#: So many characters of a value are in Nova's database.
_NOVA_LENGTH = 255
_SECTOR = 512


def of_server(client: typing.Any, image_id: str, *, name: str = 'snapshot',
              data: bytes | None = None, instance_id: str = '',
              volume_backed: bool = False, **properties: str) -> str:
    """Snapshot a server that was booted from an image.

    :param client: a python-glanceclient of the server's owner
    :param image_id: the image that the server was booted from
    :param data: disk of the server; by default one as large as the image's
    :param instance_id: ID of the server; by default a new one
    :param volume_backed: whether the server's disk is a volume, so that the
        snapshot is a record without data
    :param properties: further properties of the snapshot
    :returns: ID of the snapshot
    """
    base = client.images.get(image_id)
    inherited = {name: value[:_NOVA_LENGTH]
                 for name, value in _properties(client, base)
                 if name not in _NOVA_KEEPS}
    inherited.setdefault('base_image_ref', image_id)
    made = {
        'instance_uuid': instance_id or str(uuid.uuid4()),
        'user_id': client.http_client.get_user_id(),
        'image_type': 'snapshot', 'image_location': 'snapshot',
        'image_state': 'available', 'owner_id': base.owner}
    if volume_backed:
        made = {'bdm_v2': 'True', 'root_device_name': '/dev/vda',
                'block_device_mapping': _block_devices()}
    return _store(
        client, base, b'' if volume_backed else data, name=name,
        min_disk=base.min_disk, min_ram=base.min_ram, visibility='private',
        disk_format='raw',
        **inherited | made | properties)


def of_volume(client: typing.Any, image_id: str, *,
              name: str = 'volume image', data: bytes | None = None,
              **properties: str) -> str:
    """Upload a volume that was made of an image to the image service.

    :param client: a python-glanceclient of the volume's owner
    :param image_id: the image that the volume was made of
    :param data: the volume's data; by default as large as the image's
    :param properties: further properties of the volume image
    :returns: ID of the volume image
    """
    base = client.images.get(image_id)
    inherited = {'signature_verified': 'False',
                 **dict(_properties(client, base))}
    return _store(client, base, data, name=name, visibility='shared',
                  disk_format='raw', **inherited | properties)


def _properties(client: typing.Any, image: typing.Any,
                ) -> abc.Iterator[tuple[str, str]]:
    """Give the properties that are not part of the image schema."""
    known = client.schemas.get('image').raw()['properties']
    for name, value in image.items():
        if name not in known and not name.startswith(_RESERVED):
            yield name, str(value)


def _block_devices() -> str:
    return json.dumps([{
        'boot_index': 0, 'source_type': 'snapshot',
        'destination_type': 'volume', 'device_name': '/dev/vda',
        'snapshot_id': str(uuid.uuid4()), 'volume_size': 1,
        'delete_on_termination': False}])


def _store(client: typing.Any, base: typing.Any, data: bytes | None,
           **attributes: typing.Any) -> str:
    _wait_until_after(base.created_at)
    made: str = client.images.create(
        container_format='bare', **attributes).id
    if data is None:
        data = _changed_disk(base.virtual_size or base.size)
    client.images.upload(made, io.BytesIO(data), len(data))
    return made


def _changed_disk(size: int) -> bytes:
    """A disk of a size on which somebody has worked."""
    return os.urandom(min(size, _SECTOR)).ljust(size, b'\0')


def _wait_until_after(created_at: str) -> None:
    """Wait until what is made now is younger, in a clock of whole seconds."""
    then = datetime.datetime.fromisoformat(created_at.replace('Z', '+00:00'))
    while int(time.time()) <= then.timestamp():
        time.sleep(0.05)
