from typing import Any, ClassVar

from markupsafe import Markup
from starlette.requests import Request

from app.features.attachments.models import Attachment
from app.features.attachments.schemas import AttachmentAdminRead
from app.web.admin_site.filters import ValueFilter
from app.web.admin_site.view import AdminView
from app.web.links import page_url


def link_to_file(attachment: Any, _: str, request: Request) -> Markup:
    url = page_url(
        request, "download_attachment", item_id=attachment.item_id, attachment_id=attachment.id
    )
    return Markup('<a href="{}">{}</a>').format(url, attachment.name)


class AttachmentAdmin(AdminView, model=Attachment):
    """The read-only view of attachments, which the pages of items change."""

    icon = "fa-solid fa-paperclip"
    can_create = can_edit = can_delete = False
    read_schema = AttachmentAdminRead
    column_list = ("id", "name", "media_type", "size", "item_id", "owner_id", "created_at")
    column_searchable_list = ("name", "media_type")
    column_sortable_list = ("id", "name", "size", "owner_id", "created_at")
    column_default_sort = ("id", True)
    column_formatters: ClassVar = {"name": link_to_file}
    column_formatters_detail: ClassVar = column_formatters
    column_filters: ClassVar = [
        ValueFilter(Attachment.item_id, "Item", int),
        ValueFilter(Attachment.owner_id, "Owner", int),
    ]


VIEWS = [AttachmentAdmin]
