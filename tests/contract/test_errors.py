import pytest

from stenograf.contract import errors


@pytest.mark.parametrize("cls", errors.all_errors(), ids=lambda cls: cls.__name__)
def test_every_error_answers_for_itself(cls: type[errors.StenografError]) -> None:
    error = cls("what went wrong", hint="what to do", param="file", retry_after_s=0.2)
    assert 400 <= cls.status < 600
    assert errors.error_json(error, "r1")["error"] == {
        "code": cls.code,
        "message": "what went wrong",
        "hint": "what to do",
        "param": "file",
        "request_id": "r1",
    }
    assert error.headers() == {"Retry-After": "1"}
    assert errors.by_code(cls.code) is cls


def test_codes_are_unique_and_an_unknown_one_is_the_base() -> None:
    codes = [cls.code for cls in errors.all_errors()]
    assert len(set(codes)) == len(codes)
    assert errors.by_code("never heard of") is errors.StenografError


def test_retry_policy_belongs_to_the_class() -> None:
    policy = {cls.__name__: cls.retry for cls in errors.all_errors() if cls.retry}
    assert {name: (p.delay_s, p.count) for name, p in policy.items()} == {
        "NetworkTimeout": (30, 1),
        "Unavailable": (300, 2),
        "ModelNotReady": (300, 2),
        "Overloaded": (300, 2),
        "RateLimited": (300, 2),
        "OutOfResources": (1800, 3),
        "TextServiceUnavailable": (300, 2),
        "TextServiceTimeout": (30, 1),
    }
