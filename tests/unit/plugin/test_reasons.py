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
"""Errors of all kinds become sentences, and say nothing about the host."""

import errno
import re
import unittest

from glance_xs_convert import exceptions
from glance_xs_convert import text

from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance.async_.flows import api_image_import
    from glance.common import exception as glance_exception
    import glance_store
    from oslo_db import exception as db_exception
    import sqlalchemy.exc
    from taskflow import exceptions as taskflow_exceptions
    import webob.exc

    from glance_xs_convert.plugin import reasons

SECRET = '/srv/secret'


@unittest.skipUnless(base.HAS_GLANCE, 'Glance is not installed')
class Reasons(unittest.TestCase):

    def assert_kind(self, kind, *errors):
        for error in errors:
            with self.subTest(repr(error)):
                found = reasons.explain(error)
                self.assertEqual(kind, found.kind)
                self.assertNotIn(SECRET, str(found))
                message = str(reasons.import_failed('It failed', error))
                self.assertRegex(message, re.compile(
                    r'It failed: [a-z][^\n]*[^\n.]\. \[[A-Za-z]+\]\Z'))
                self.assertEqual(kind, text.tag_of(message))

    def test_our_own(self):
        error = exceptions.WrongParent('it is 3.vhd', member='1.vhd')
        self.assertIs(error, reasons.explain(error))
        self.assertEqual(
            'It failed: 1.vhd: it is 3.vhd. [WrongParent]',
            str(reasons.import_failed('It failed', error)))

    def test_too_large(self):
        self.assert_kind('DiskTooLarge',
                         glance_exception.ImageSizeLimitExceeded())

    def test_quotas(self):
        self.assert_kind(
            'QuotaExceeded',
            glance_exception.ImagePropertyLimitExceeded(
                attempted=129, maximum=128),
            glance_exception.StorageQuotaFull(image_size=2, remaining=1),
            glance_exception.LimitExceeded(SECRET))

    def test_not_permitted(self):
        self.assert_kind(
            'NotPermitted', glance_exception.Forbidden(SECRET),
            webob.exc.HTTPForbidden(SECRET),
            glance_exception.ReservedProperty(property='xs_convert_layers'))

    def test_protected_property_is_named(self):
        self.assertIn('xs_convert_layers', str(reasons.explain(
            glance_exception.ReservedProperty(property='xs_convert_layers'))))

    def test_not_wanted_any_more(self):
        self.assert_kind(
            'ImportAborted', glance_exception.TaskAbortedError(),
            glance_exception.ImageNotFound(SECRET),
            glance_exception.TaskNotFound(task_id='1'),
            glance_exception.Conflict(SECRET),
            webob.exc.HTTPNotFound(SECRET),
            glance_exception.InvalidImageStatusTransition(
                cur_status='queued', new_status='queued'))

    def test_no_space(self):
        self.assert_kind(
            'OutOfSpace', OSError(errno.ENOSPC, 'full', SECRET),
            OSError(errno.EDQUOT, 'full', SECRET),
            glance_store.StorageFull(SECRET),
            webob.exc.HTTPRequestEntityTooLarge(SECRET))

    def test_store(self):
        self.assert_kind(
            'NotStored', glance_store.Duplicate(image=SECRET),
            glance_store.StorageWriteDenied(SECRET),
            webob.exc.HTTPConflict(SECRET),
            webob.exc.HTTPServiceUnavailable(SECRET))

    def test_every_store(self):
        self.assert_kind('NotStored',
                         api_image_import._NoStoresSucceeded(SECRET))

    def test_image_service_fails(self):
        self.assert_kind(
            'ServiceFailed', MemoryError(), RuntimeError(SECRET), KeyError(),
            OSError(errno.EIO, 'Input/output error', SECRET),
            OSError(SECRET), RecursionError(), db_exception.DBDeadlock(),
            db_exception.DBConnectionError(SECRET),
            sqlalchemy.exc.OperationalError(SECRET, {}, None),
            taskflow_exceptions.TaskFlowException(SECRET),
            glance_store.exceptions.RemoteServiceUnavailable(SECRET),
            webob.exc.HTTPBadRequest(SECRET))

    @unittest.skipUnless(
        base.HAS_GLANCE and hasattr(glance_exception, 'InvalidImageData'),
        'this Glance has no such error')
    def test_content_of_the_disk(self):
        error = glance_exception.InvalidImageData('Image failed safety checks')
        self.assert_kind('ContentRefused', error)
        self.assertIn('safety checks', str(reasons.explain(error)))

    def test_first_of_several(self):
        self.assertEqual('OutOfSpace', reasons.explain_first(
            [OSError(errno.ENOSPC, 'full'), KeyError()]).kind)
        for none in ([], [None]):
            self.assertEqual('ServiceFailed',
                             reasons.explain_first(none).kind)
