"""The option that stores what was measured."""


def pytest_addoption(parser):
    parser.addoption(
        "--rewrite-ratios",
        action="store_true",
        help="Store the measured ratios instead of comparing with the stored ones.",
    )
