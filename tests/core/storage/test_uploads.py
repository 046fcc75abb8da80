from io import BytesIO
from typing import get_args
from unicodedata import normalize

import pytest
from PIL import Image

from app.core.config import UploadType
from app.core.errors import Invalid, TooLarge
from app.core.storage import images
from app.core.storage.images import UnusableImage, make_thumbnail
from app.core.storage.uploads import SUFFIXES, FileInfo, Upload, UploadRules, clean_name

RULES = UploadRules(max_bytes=200_000, types=[*SUFFIXES])
EXECUTABLE = b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff"


def image(format_: str, size: tuple[int, int] = (640, 320), **options: object) -> bytes:
    file = BytesIO()
    Image.new("RGB", size, "teal").save(file, format_, **options)
    return file.getvalue()


async def check(name: str, content: bytes) -> FileInfo:
    return await RULES.check(Upload(name, BytesIO(content)))


def test_each_type_of_the_settings_has_a_suffix() -> None:
    assert [*SUFFIXES] == [*get_args(UploadType)]


@pytest.mark.parametrize(
    ("name", "content", "media_type", "stored_name"),
    [
        ("lamp.png", image("PNG"), "image/png", "lamp.png"),
        ("lamp.JPEG", image("JPEG"), "image/jpeg", "lamp.JPEG"),
        ("lamp.png", image("WEBP"), "image/webp", "lamp.png.webp"),
        ("lamp.gif", image("GIF"), "image/gif", "lamp.gif"),
        ("offer.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "application/pdf", "offer.pdf"),
        ("prices.csv", "name,price\nLampe für Öl,19.99\n".encode(), "text/csv", "prices.csv"),
        ("page.html", b"<script>alert(1)</script>", "text/plain", "page.html.txt"),
        ("lamp.png", b"ID;name\n1;no image\n", "text/plain", "lamp.png.txt"),
        ("notes", "가".encode() * 50_000, "text/plain", "notes.txt"),
    ],
)
async def test_type_is_found_out_from_the_content(
    name: str, content: bytes, media_type: str, stored_name: str
) -> None:
    info = await check(name, content)
    assert (info.media_type, info.name, info.size) == (media_type, stored_name, len(content))


@pytest.mark.parametrize(
    "content",
    [
        EXECUTABLE,
        b"PK\x03\x04\x14\x00\x00\x00\x08\x00",
        b"RIFF$\x00\x00\x00WAVEfmt \x10\x00",
        b"text\x00",
        b"\xff\xfetext",
        b"text\xe4",
    ],
)
async def test_file_of_another_type_is_refused(content: bytes) -> None:
    with pytest.raises(Invalid, match="Files of this type are not accepted"):
        await check("lamp.png", content)


async def test_empty_and_large_files_are_refused() -> None:
    with pytest.raises(Invalid, match="Choose a file that is not empty"):
        await check("lamp.txt", b"")
    with pytest.raises(TooLarge, match="The file is too large: the limit is 200,000 bytes"):
        await check("lamp.txt", b"x" * 200_001)


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("", "file.png"),
        (" . ", "file.png"),
        ("../../etc/passwd", "passwd.png"),
        ("C:\\photos\\lamp.png", "lamp.png"),
        ("la\x00mp\r\n.png", "lamp.png"),
        ("lamp\u202egnp.exe", "lampgnp.exe.png"),
        ("\ud800lamp.png", "lamp.png"),
        (normalize("NFD", "램프.png"), "램프.png"),
        ("מנורה.png", "מנורה.png"),
        ("x" * 1000 + ".png", "x" * 251 + ".png"),
        ("." + "x" * 5000, "x" * 251 + ".png"),
        ("x" * 5000 + ".PNG", "x" * 251 + ".PNG"),
    ],
)
def test_name_is_cleaned(name: str, cleaned: str) -> None:
    assert clean_name(name, "image/png") == cleaned


async def test_thumbnail_is_small_and_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was held upright.
    thumbnail = await make_thumbnail(image("JPEG", (1000, 500), exif=exif))
    assert (thumbnail.width, thumbnail.height) == (1000, 500)
    with Image.open(BytesIO(thumbnail.content)) as small:
        assert (small.format, small.size) == ("WEBP", (160, 320))


async def test_image_that_is_broken_or_too_large_gets_no_thumbnail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for broken in (image("PNG")[:200], b"GIF89a, says this text"):
        with pytest.raises(UnusableImage, match="broken"):
            await make_thumbnail(broken)
    monkeypatch.setattr(images, "MAX_PIXELS", 640 * 320 - 1)
    with pytest.raises(UnusableImage, match="too_many_pixels"):
        await make_thumbnail(image("PNG"))
