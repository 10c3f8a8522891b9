"""stub while host and user are tried"""


def why_not() -> str:
    return "not yet"


def start() -> int:
    raise NotImplementedError
