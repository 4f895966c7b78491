import pytest
from pydantic import ValidationError

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.serving.config import KEY_VARIABLE, ServingConfig, read_api_key

GOOD_KEY = "q7Zk2mVx9LwT4bRn8cYd"


def test_service_listens_to_this_machine_unless_told():
    assert not ServingConfig().is_public
    assert read_api_key(ServingConfig(), {}) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "scorer.example"])
def test_public_address_needs_a_key_or_permission(host):
    with pytest.raises(ConfigurationError, match="PANTHER_API_KEY is not set"):
        read_api_key(ServingConfig(host=host), {})
    assert read_api_key(ServingConfig(host=host), {KEY_VARIABLE: GOOD_KEY}) == GOOD_KEY
    assert read_api_key(ServingConfig(host=host, allow_public_without_key=True), {}) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_loopback_address_is_not_public(host):
    assert not ServingConfig(host=host).is_public


@pytest.mark.parametrize(
    "key", ["", "q7Zk2mVx9LwT4bR", "changeme-changeme", "aaaaaaaaaaaaaaaaaaaa", "my-PassWord-is-12345", GOOD_KEY + " é"]
)
def test_weak_key_is_refused_and_not_repeated(key):
    with pytest.raises(ConfigurationError) as refused:
        read_api_key(ServingConfig(), {KEY_VARIABLE: key})
    assert not key or key not in str(refused.value)


def test_settings_refuse_what_contradicts():
    with pytest.raises(ValidationError, match="must not be below max_body_bytes"):
        ServingConfig(max_body_bytes=4096, max_body_bytes_many=2048)
    with pytest.raises(ValidationError, match="did you mean 'max_events'"):
        ServingConfig(max_event=3)
    with pytest.raises(ValidationError):
        ServingConfig(port="8080")


def test_every_setting_has_a_comment(project_root):
    source = (project_root / "src/panther_pipeline/serving/config.py").read_text()
    for name in ServingConfig.model_fields:
        line = next(line for line in source.splitlines() if line.startswith(f"    {name}:"))
        assert "#" in line, name
