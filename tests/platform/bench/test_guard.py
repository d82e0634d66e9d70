"""The guard against slowing down: what fails, what passes, what is skipped."""

import json

from stridelab.bench.guard import judge, read_ratios, rewrite_ratios
from stridelab.bench.suites import Ratio, Suite

SUITE = Suite("train", (), {"peer": Ratio("ours", ("peer_fp32", "peer_bf16"))})


def record(skipped=None, **ratios):
    return {"ratios": ratios, "skipped": skipped or {}}


def test_19_percent_less_passes_and_21_fails_with_both_numbers():
    assert judge(SUITE, "peer", 2.0, record(peer=2.0 * 0.81)).failure == ""
    assert judge(SUITE, "peer", 2.0, record(peer=5.0)).failure == ""
    verdict = judge(SUITE, "peer", 2.0, record(peer=2.0 * 0.79))
    assert verdict.failure == (
        "train: ratio peer is 1.580, 21% below the stored 2.000 (allowed: 20%)"
    )
    assert verdict.skipped == ""


def test_who_is_not_installed_is_skipped_with_the_reason():
    reasons = dict.fromkeys(("peer_bf16", "peer_fp32"), "not installed: rsl_rl")
    verdict = judge(SUITE, "peer", 2.0, record(reasons))
    assert verdict.failure == ""
    assert verdict.skipped == (
        "train: peer: peer_fp32: not installed: rsl_rl; peer_bf16: not installed: rsl_rl"
    )


def test_our_own_breakdown_is_a_failure():
    verdict = judge(SUITE, "peer", 2.0, record({"ours": "ValueError: no", "peer_fp32": "gone"}))
    assert "ours: ValueError: no" in verdict.failure
    assert verdict.skipped == ""


def test_a_stored_ratio_that_is_no_more_is_a_failure():
    assert "no ratio gone" in judge(SUITE, "gone", 2.0, record()).failure


def test_rewriting_keeps_what_was_not_measured(tmp_path):
    path = tmp_path / "ratios.json"
    path.write_text(json.dumps({"env": {"physics": 0.9}, "train": {"a": 1.0, "b": 2.0}}))
    rewrite_ratios(path, "train", {"a": 1.23456})
    rewrite_ratios(path, "physics", {"batch": 1.0})
    assert read_ratios(path) == {
        "env": {"physics": 0.9},
        "train": {"a": 1.235, "b": 2.0},
        "physics": {"batch": 1.0},
    }
    assert [file.name for file in tmp_path.iterdir()] == ["ratios.json"]
