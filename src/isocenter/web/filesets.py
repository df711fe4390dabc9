"""A study or series as a file-set with its DICOMDIR, zipped: what goes onto a disc or a stick (PS3.10 section 8, PS3.12
Annex V). Not of PS3.18, where a ZIP file has no directory: it is asked for by `dicomdir=true` beside
`accept=application/zip`.

It is a picture of one moment: the list is made once, of the instances whose headers make the directory. What comes
later is not in it. What is deleted before its turn cannot be: the directory, which is written last, does not list it,
and a text file beside the directory names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from starlette.requests import Request
from starlette.responses import Response

from isocenter.errors import BadRequest, IsocenterError, NotFound
from isocenter.media.fileset import DIRECTORY, SYNTAX, File, FileSet, file_set
from isocenter.std.implementation import IMPLEMENTATION_VERSION_NAME as VERSION
from isocenter.web.body import in_threads, primed, streamed
from isocenter.web.caching import unchanged, validated
from isocenter.web.context import Context, base_url, context_of, scope_of
from isocenter.web.negotiate import DICOM, ZIP, Offer, Range, require
from isocenter.web.transcoding import instance_pieces, targets
from isocenter.web.zipped import Entry, begun, missing, zipped


def written_in(transfer_syntax: str) -> str:
    """The transfer syntax that an object goes onto a medium in: that of the profile, or its own where it must."""
    return SYNTAX if SYNTAX in targets(transfer_syntax) else transfer_syntax


async def answer_file_set(request: Request, ranges: Sequence[Range]) -> Response:
    """All instances of the scope, each in the transfer syntax of the general purpose profiles if it can be had in that.
    Its record tells."""
    if request.query_params["dicomdir"] != "true":
        raise BadRequest("dicomdir is true, or not given")
    require(ranges, [Offer(ZIP)])
    context, scope = context_of(request), scope_of(request)
    while True:
        headers = await context.archive.metadata(scope)
        versions = (f"{ref.digest} {ref.header_digest}" for ref in headers.refs)
        fields = validated(context, *versions, DIRECTORY, VERSION, weak=True)
        if answer := unchanged(request, fields):
            return answer
        try:
            made = await file_set(headers.refs, headers.texts(base_url(request)), written_in)
            break
        except NotFound:
            # Deleted since the list was made: another list. A file that the same list has was lost.
            if (await context.archive.metadata(scope)).digest == headers.digest:
                raise
    fields["content-disposition"] = f'attachment; filename="{scope.study}-dicomdir.zip"'
    body = in_threads(zipped(_entries(context, made)), context.decoding)
    return streamed(request, await primed(body), ZIP, None, fields)


def _entries(context: Context, made: FileSet) -> Iterator[Entry]:
    for file in made.files:
        pieces = begun(context, file.ref, _pieces(context, file))
        if pieces is None:
            file.gone = True
        else:
            yield file.path, pieces
    gone = [file.ref.instance for file in made.files if file.gone]
    if gone:
        yield missing(gone)
    # Last, when it is known in what each file was written.
    yield DIRECTORY, [made.directory()]


def _pieces(context: Context, file: File) -> Iterator[bytes]:
    """The file in the profile's transfer syntax; as it is stored if its pixels turn out not to be had in that."""
    pieces = instance_pieces(context, file.ref, Offer(DICOM, False, file.transfer_syntax))
    try:
        first = next(pieces, b"")
    except NotFound:
        raise
    except IsocenterError:
        if file.transfer_syntax == file.ref.transfer_syntax:
            raise
        file.keep()
        pieces = instance_pieces(context, file.ref, Offer(DICOM, False, file.transfer_syntax))
        first = b""
    yield first
    yield from pieces
