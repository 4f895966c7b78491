import json

import pytest

from panther_pipeline.serving.answers import MAX_REFUSAL_BYTES, JsonAnswer, refusal


def test_refusal_stays_small():
    problems = [{"where": f"attributes.a{i}", "reason": "not_text"} for i in range(1000)]
    answer = refusal(422, "invalid", problems=problems)
    assert len(answer.body) <= MAX_REFUSAL_BYTES
    assert len(json.loads(answer.body)["problems"]) == 5
    long_names = [{"where": "a" * 400, "reason": "not_text"}] * 5
    assert len(refusal(422, "invalid", problems=long_names).body) <= MAX_REFUSAL_BYTES


def test_answer_is_never_null_for_a_number():
    with pytest.raises(ValueError, match="JSON compliant"):
        JsonAnswer({"probability": float("nan")})
