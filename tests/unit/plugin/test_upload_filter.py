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


import json
import os
from unittest import mock

from tests.unit.plugin import filters

if filters.HAS_GLANCE:
    from glance.common import exception as glance_exception
    import webob
    import webob.dec
    import webob.exc

    from glance_xs_convert.plugin import upload_filter
    from glance_xs_convert.recovery import tickets

OTHER_ID = 'a1b2c3d4-8d4e-4c6f-9a55-0f4f3a7b2c11'


class TestImport(filters.FilterCase):
    """What becomes of an upload to a XenServer image."""

    def assert_imported(self, response, store=None):
        self.assertEqual((204, b''), (response.status_int, response.body))
        self.assertEqual(['GET ', 'PUT /stage', 'POST /import'],
                         self.glance.requests)
        self.assertEqual([self.context] * 3, self.glance.contexts)
        self.assertEqual(self.data, self.glance.received)
        self.assertEqual(
            ('application/json', {'method': {'name': 'glance-direct'}},
             store), self.glance.imported)

    def test_fixed_length(self):
        self.assert_imported(self.upload())

    def test_chunked(self):
        self.assert_imported(self.upload(chunked=True))

    def test_trailing_slash(self):
        """Glance does not know such a path."""
        self.upload(path='/file/')
        self.assertEqual(['PUT /file/'], self.glance.requests)

    def test_newline(self):
        """Glance's router does not mind it."""
        self.assert_imported(self.upload(path='/file\n'))

    def test_many_slashes(self):
        self.assert_imported(self.upload(path='//file',
                                         image=f'/v2//images//{filters.ID}'))

    def test_method_in_the_query(self):
        """Glance's router obeys it, also in the requests of the filter."""
        self.assert_imported(self.upload(method='POST',
                                         query='_method=PUT'))
        self.assertEqual({''}, self.glance.queries)

    def test_id_in_capitals(self):
        """A database may find the image all the same."""
        self.glance.other_ids = (filters.ID.upper(), f'{filters.ID} ')
        for name in self.glance.other_ids:
            self.glance.requests.clear()
            self.glance.received = b''
            response = self.upload(image=f'/v2/images/{name}')
            self.assertEqual(204, response.status_int)
            self.assertEqual(
                ['PUT /stage', 'POST /import'], self.glance.requests[1:])
            self.assertEqual(self.data, self.glance.received)

    def test_body_is_read_in_pieces(self):
        self.upload()
        self.assertLess(self.input.largest, filters.SIZE)

    def test_store(self):
        self.conf.config(enabled_backends={'fast': 'file', 'slow': 'rbd'})
        response = self.upload(headers={'X-Image-Meta-Store': 'slow'})
        self.assert_imported(response, 'slow')

    def test_store_is_nothing_to_a_glance_with_one(self):
        response = self.upload(headers={'X-Image-Meta-Store': 'slow'})
        self.assert_imported(response, 'slow')

    def test_unknown_store(self):
        self.conf.config(enabled_backends={'fast': 'file'})
        self.upload(headers={'X-Image-Meta-Store': 'slow'})
        self.assertEqual(['GET ', 'PUT /file'], self.glance.requests)

    def test_store_that_is_reserved(self):
        """Glance would take it for any store."""
        self.conf.config(enabled_backends={'fast': 'file'})
        for store in ('os_glance_staging_store', 'os_glance_tasks_store'):
            self.glance.requests.clear()
            response = self.upload(headers={'X-Image-Meta-Store': store})
            self.assertEqual(400, response.status_int)
            self.assertIn(f'The store {store} is reserved', response.text)
            self.assertEqual(['GET '], self.glance.requests)

    def test_bare(self):
        self.glance = filters.Glance(container_format='bare')
        self.upload()
        self.assertEqual(['GET ', 'PUT /file'], self.glance.requests)
        self.conf.config(group='xs_convert', convert_bare_vhd=True)
        self.glance = filters.Glance(container_format='bare')
        self.assert_imported(self.upload())

    def test_other_formats(self):
        for formats in (('raw', 'bare'), ('qcow2', 'bare'), ('vmdk', 'ova'),
                        ('vhdx', 'ovf'), (None, None)):
            self.glance = filters.Glance(
                disk_format=formats[0], container_format=formats[1])
            self.assertEqual(204, self.upload().status_int)
            self.assertEqual(['GET ', 'PUT /file'], self.glance.requests)
            self.assertEqual(self.data, self.glance.received)

    def test_every_status_is_for_stage_to_judge(self):
        for status in ('uploading', 'saving', 'importing', 'active'):
            self.glance = filters.Glance(status=status)
            self.glance.answers['PUT /stage'] = webob.exc.HTTPConflict(
                'Image status transition is not allowed')
            self.assertEqual(409, self.upload().status_int)
            self.assertEqual(['GET ', 'PUT /stage'], self.glance.requests)


class TestOtherRequests(filters.FilterCase):
    """They are passed on as they are."""

    def test_untouched(self):
        answer = []
        passed_on = mock.Mock(return_value=answer)
        filter_ = upload_filter.UploadFilter(passed_on, refuses=True)
        for method, path in (
                ('GET', '/file'), ('HEAD', '/file'), ('DELETE', '/file'),
                ('POST', '/file'), ('PUT', '/stage'), ('PUT', ''),
                ('PUT', '/tags/file'), ('PUT', '/members/1/file'),
                ('PATCH', '')):
            environ = webob.Request.blank(
                filters.IMAGE + path, method=method).environ
            copy = dict(environ)
            self.assertIs(answer, filter_(environ, start := mock.Mock()))
            passed_on.assert_called_with(environ, start)
            self.assertIs(environ, passed_on.call_args[0][0])
            self.assertEqual(copy, environ)


class TestErrors(filters.FilterCase):
    """Glance's own errors reach the client."""

    def refusal(self, kind='HTTPRequestEntityTooLarge'):
        return getattr(webob.exc, kind)('the quota is used up')

    def assert_error(self, response, status=413):
        self.assertEqual(status, response.status_int)
        self.assertIn('the quota is used up', response.text)

    def test_no_such_image(self):
        for status in (401, 403, 404, 500, 503):
            self.glance = filters.Glance()
            self.glance.answers['GET '] = webob.Response(status=status)
            self.assertEqual(status, self.upload().status_int)
            self.assertEqual(['GET '], self.glance.requests)

    def test_stage_is_refused(self):
        self.glance.answers['PUT /stage'] = self.refusal()
        self.assert_error(self.upload())
        self.assertEqual(['GET ', 'PUT /stage'], self.glance.requests)

    def test_import_is_refused(self):
        record = self.leave_in_staging()
        self.glance.answers['POST /import'] = self.refusal()
        self.assert_error(self.upload())
        self.assertFalse(os.path.exists(self.staged))
        self.save.assert_called_once_with(record, from_state='uploading')
        self.assertEqual(('queued', {}),
                         (record.status, record.extra_properties))

    def test_import_is_refused_while_another_takes_place(self):
        for before, status, properties in (
                ({}, 'importing', {}),
                ({}, 'active', {}),
                ({}, 'uploading', {'os_glance_import_task': 'other'}),
                ({'os_glance_import_task': 'old'}, 'uploading',
                 {'os_glance_import_task': 'new'})):
            self.glance = filters.Glance(**before)
            self.leave_in_staging(status, **properties)
            self.glance.answers['POST /import'] = self.refusal()
            self.assert_error(self.upload())
            self.assertTrue(os.path.exists(self.staged))
            self.save.assert_not_called()

    def test_import_is_refused_for_an_old_task(self):
        self.glance = filters.Glance(os_glance_import_task='old')
        self.leave_in_staging(os_glance_import_task='old')
        self.glance.answers['POST /import'] = self.refusal()
        self.assert_error(self.upload())
        self.assertFalse(os.path.exists(self.staged))
        self.save.assert_called_once()

    def test_failed_stage_left_data(self):
        self.leave_in_staging('queued')
        self.glance.answers['PUT /stage'] = self.refusal('HTTPConflict')
        self.assert_error(self.upload(), 409)
        self.assertFalse(os.path.exists(self.staged))
        self.save.assert_not_called()

    def test_image_is_deleted_meanwhile(self):
        """It may be before Glance opens the file, and removes none."""
        self.leave_in_staging()
        self.repo.get.side_effect = glance_exception.ImageNotFound
        self.glance.answers['PUT /stage'] = webob.Response(status=404)
        self.assertEqual(404, self.upload().status_int)
        self.assertFalse(os.path.exists(self.staged))
        self.save.assert_not_called()

    def test_data_of_another_upload_stays(self):
        self.leave_in_staging('uploading')
        self.glance.answers['PUT /stage'] = self.refusal('HTTPConflict')
        self.assert_error(self.upload(), 409)
        self.assertTrue(os.path.exists(self.staged))
        self.save.assert_not_called()

    def test_application_breaks_down(self):
        def break_down(request):
            raise RuntimeError

        for action in ('PUT /stage', 'POST /import'):
            self.glance = filters.Glance()
            self.leave_in_staging('queued')
            self.glance.answers[action] = break_down
            self.assertRaises(RuntimeError, self.upload)
            self.assertFalse(os.path.exists(self.staged))

    def test_tidying_up_fails(self):
        self.leave_in_staging()
        self.save.side_effect = RuntimeError
        self.glance.answers['POST /import'] = self.refusal()
        self.assert_error(self.upload())

    def test_broken_connection(self):
        self.data = self.data[:filters.SIZE // 2]
        self.assertRaises(OSError, self.upload)
        self.assertEqual(['GET ', 'PUT /stage'], self.glance.requests)

    def test_not_permitted(self):
        self.refusal_of_upload.return_value = webob.exc.HTTPForbidden('no')
        self.assertEqual(403, self.upload().status_int)
        self.assertEqual(['GET '], self.glance.requests)
        self.refusal_of_upload.assert_called_once_with(
            self.context, filters.ID)

    def test_stranger_does_not_keep_the_owner_out(self):
        application = self.filter()
        responses = []

        def check(context, image_id):
            self.refusal_of_upload.side_effect = None
            responses.append(self.upload(application))
            return webob.exc.HTTPForbidden('no')

        self.refusal_of_upload.side_effect = check
        self.assertEqual(403, self.upload(application).status_int)
        self.assertEqual([204], [one.status_int for one in responses])

    def upload_meanwhile(self, image_id=filters.ID):
        """Upload, and try another worker's filter while data is staged.

        :returns: the responses to both
        """
        other = filters.Glance(id=image_id)
        other.other_ids = (filters.ID,)
        responses = []

        def receive(request):
            responses.append(self.upload(
                upload_filter.UploadFilter(other, refuses=False)))
            return webob.Response(status=204)

        self.glance.answers['PUT /stage'] = receive
        return self.upload(), responses[0], other

    def test_two_at_once(self):
        first, second, other = self.upload_meanwhile()
        self.assertEqual([204, 409], [first.status_int, second.status_int])
        self.assertIn('Another request is uploading data', second.text)
        self.assertEqual(['GET '], other.requests)
        del self.glance.answers['PUT /stage']
        self.assertEqual(204, self.upload().status_int)
        self.assertEqual([], os.listdir(self.tickets))

    def test_two_at_once_to_two_images(self):
        first, second, _ = self.upload_meanwhile(OTHER_ID)
        self.assertEqual([204, 204], [first.status_int, second.status_int])

    def test_upload_whose_worker_was_killed(self):
        box = tickets.Box(self.tickets, tickets.UPLOAD_SUFFIX)
        box.draw(filters.ID).drop()
        self.assertEqual(204, self.upload().status_int)

    def test_tickets_cannot_be_written(self):
        os.mkdir(self.tickets)
        os.chmod(self.tickets, 0o777)
        self.assertEqual(204, self.upload().status_int)


class TestOption(filters.FilterCase):
    """What the operator may choose."""

    def filter(self):
        return upload_filter.filter_factory({})(self.glance)

    def test_convert(self):
        self.assertEqual(204, self.upload().status_int)
        self.assertIn('PUT /stage', self.glance.requests)
        self.keeper.accept.assert_called_once()

    def test_pass(self):
        self.conf.config(group='xs_convert', on_plain_upload='pass')
        self.assertIs(self.glance, self.filter().application)

    def test_recovery_begins_whatever_is_chosen(self):
        for action in ('convert', 'pass', 'refuse'):
            self.conf.config(group='xs_convert', on_plain_upload=action)
            upload_filter.filter_factory({})
        self.assertEqual(3, self.keeper.start.call_count)

    def test_refuse(self):
        self.conf.config(group='xs_convert', on_plain_upload='refuse')
        self.conf.config(enabled_import_methods=['web-download'])
        response = self.upload(headers={'Accept': '*/*'})
        self.assertEqual(409, response.status_int)
        for word in ('vhd/ovf', '--import', 'image-create-via-import'):
            self.assertIn(word, response.text)
        self.assertEqual(['GET '], self.glance.requests)

    def test_refuse_leaves_others_alone(self):
        self.conf.config(group='xs_convert', on_plain_upload='refuse')
        self.glance = filters.Glance(disk_format='raw')
        self.assertEqual(204, self.upload().status_int)

    def test_convert_lacks_something(self):
        for reason, group, values in (
                ('glance-direct is not', None,
                 {'enabled_import_methods': ['web-download']}),
                ('xs_convert is not', 'image_import_opts',
                 {'image_import_plugins': []})):
            with self.subTest(reason):
                self.conf.config(group=group, **values)
                with mock.patch.object(upload_filter.LOG, 'error',
                                       autospec=True) as error:
                    self.assertIs(self.glance, self.filter().application)
                text, *arguments = error.call_args[0]
                self.assertIn(reason, text % tuple(arguments))
                self.conf.conf.reset()

    def test_answer_is_what_the_client_accepts(self):
        self.conf.config(group='xs_convert', on_plain_upload='refuse')
        response = self.upload(headers={'Accept': 'application/json'})
        self.assertIn('--import', json.loads(response.body)['message'])
