import logging
import os

import pytest

from app.core.config import get_settings
from app.core.observability.logging import configure_logging


@pytest.mark.usefixtures("empty_working_directory")
def test_log_records_have_the_process_id_that_other_servers_log() -> None:
    configure_logging(get_settings())
    record = logging.LogRecord("hypercorn", logging.INFO, "", 0, "Running", (), None)
    assert logging.Formatter("%(process)d %(message)s").format(record) == f"{os.getpid()} Running"
