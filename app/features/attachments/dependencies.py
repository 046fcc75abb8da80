from functools import partial
from typing import Annotated

from fastapi import Depends, Security

from app.accounts.dependencies import Member, PrincipalDep
from app.core.database.unit_of_work import UnitsOfWork
from app.core.resources import Resources, ResourcesDep
from app.core.security.principal import Principal
from app.core.storage.uploads import UploadRules
from app.features.attachments.repository import AttachmentFileRepository, Attachments
from app.features.attachments.service import AttachmentFiles, AttachmentService


def build_service(resources: Resources, principal: Principal) -> AttachmentService:
    settings = resources.settings
    units = UnitsOfWork(partial(Attachments, principal=principal), resources.database)
    rules = UploadRules(settings.max_upload_bytes, settings.upload_types)
    quota = settings.upload_quota_bytes
    return AttachmentService(units, resources.storage, rules, quota)


async def get_attachment_service(
    principal: PrincipalDep, resources: ResourcesDep
) -> AttachmentService:
    """Build the service for a request of the API, with an access token."""
    return build_service(resources, principal)


async def get_member_attachments(member: Member, resources: ResourcesDep) -> AttachmentService:
    """Build the service for a page, whose user is signed in by a cookie."""
    return build_service(resources, member)


def build_files(resources: Resources) -> AttachmentFiles:
    units = UnitsOfWork(AttachmentFileRepository, resources.database)
    return AttachmentFiles(units, resources.storage)


# An attachment is a part of its item, so it takes the scopes of items.
ReadAttachments = Annotated[
    AttachmentService, Security(get_attachment_service, scopes=["items:read"])
]
WriteAttachments = Annotated[
    AttachmentService, Security(get_attachment_service, scopes=["items:write"])
]
MemberAttachments = Annotated[AttachmentService, Depends(get_member_attachments)]
