from typing import ClassVar

from markupsafe import Markup
from starlette.requests import Request

from app.features.attachments.models import Attachment
from app.features.attachments.schemas import AttachmentAdminRead
from app.web.admin_site.view import AdminView
from app.web.links import page_url


def link_to_file(attachment: AttachmentAdminRead, request: Request) -> Markup:
    url = page_url(
        request, "download_attachment", item_id=attachment.item_id, attachment_id=attachment.id
    )
    return Markup('<a href="{}">{}</a>').format(url, attachment.name)


class AttachmentAdmin(AdminView):
    """The read-only view of attachments, which the pages of items change."""

    model = Attachment
    read_schema = AttachmentAdminRead
    columns = ("id", "name", "media_type", "size", "item_id", "owner_id", "created_at")
    search_fields = ("name", "media_type")
    sort_fields = ("id", "name", "size", "owner_id", "created_at")
    title_field = "name"
    formats: ClassVar = {"name": link_to_file}
    filters = ("item_id", "owner_id")


VIEWS = [AttachmentAdmin]
