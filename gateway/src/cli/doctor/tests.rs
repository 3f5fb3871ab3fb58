#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

#[test]
fn only_its_own_answer_counts() {
    for other in [json!({"id": 2, "ok": {}}), json!({"channel": "a", "data": 1}), Value::Null] {
        assert!(answer(&other).is_none(), "{other}");
    }
    assert_eq!(answer(&json!({"id": 1, "ok": {"channel": "a"}})), Some(Ok(())));
}

#[test]
fn a_refusal_says_why_and_whether_to_wait() {
    let error = |retry| json!({"id": 1, "error": {"code": "c", "message": "why", "retry": retry}});
    assert_eq!(answer(&error(false)), Some(Err(Failure::Refused("why (c)".to_owned()))));
    assert_eq!(answer(&error(true)), Some(Err(Failure::Unreachable("why (c)".to_owned()))));
}
