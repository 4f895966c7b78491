import json
import logging
import sys

from panther_pipeline.serving.logs import JsonFormatter, TurnedAwayLog, configure_logging, known_method

SECRET = "user-4711"


def record_of(message, exc_info=None, **fields):
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "x.py", 1, message, (), exc_info)
    record.fields = fields
    return record


def test_record_is_one_line_of_json():
    line = JsonFormatter().format(record_of("ready", load_s=0.5))
    assert "\n" not in line
    read = json.loads(line)
    assert (read["message"], read["level"], read["load_s"]) == ("ready", "error", 0.5)


def test_exception_is_written_without_its_message():
    try:
        raise KeyError(SECRET)
    except KeyError:
        line = JsonFormatter().format(record_of("failed", sys.exc_info()))
    assert json.loads(line)["exception"] == "KeyError"
    assert "test_logs.py" in line
    assert SECRET not in line


def test_lines_below_the_first_are_dropped():
    assert SECRET not in JsonFormatter().format(record_of(f"Task exception was never retrieved\nfuture: {SECRET}"))


def test_invented_method_is_not_written():
    assert [known_method(name) for name in ("GET", SECRET)] == ["GET", "other"]


def test_logging_writes_json_and_no_access_log(capsys):
    root = logging.getLogger()
    before = root.handlers, root.level
    access = logging.getLogger("uvicorn.access")
    try:
        configure_logging()
        access.info(SECRET)
        logging.getLogger("uvicorn.error").info("started")
    finally:
        root.handlers, root.level = before
        access.disabled = False
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["started"]


def test_turned_away_are_one_line_a_second(caplog):
    now_s = [100.0]
    log = TurnedAwayLog(clock=lambda: now_s[0])
    caplog.set_level(logging.INFO)
    for _ in range(5):
        log.add()
    now_s[0] += 0.99
    log.write_if_due()
    assert [record.fields for record in caplog.records] == [{"num_requests": 1}]
    now_s[0] += 0.02
    log.write_if_due()
    log.write_if_due()
    assert [record.fields for record in caplog.records] == [{"num_requests": 1}, {"num_requests": 4}]
