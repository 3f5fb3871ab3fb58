#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

fn following(names: &[&str], since: Option<&str>, last: Option<usize>) -> Following {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    Following::new(&names, since, last)
}

fn publication(line: &str) -> Vec<Told> {
    vec![Told::Publication(line.to_owned())]
}

#[test]
fn it_asks_for_each_channel_once_from_where_it_was_told() {
    assert_eq!(
        following(&["a", "b", "a"], None, None).requests(),
        [r#"{"id":0,"subscribe":{"channel":"a"}}"#, r#"{"id":1,"subscribe":{"channel":"b"}}"#]
    );
    assert_eq!(
        following(&["a"], Some("1-2-3"), None).requests(),
        [r#"{"id":0,"subscribe":{"channel":"a","since":"1-2-3"}}"#]
    );
    assert_eq!(
        following(&["say \"hi\""], None, Some(5)).requests(),
        [r#"{"id":0,"subscribe":{"channel":"say \"hi\"","last":5}}"#]
    );
}

#[test]
fn a_publication_is_one_line_with_its_data_as_it_was_sent() {
    let mut following = following(&["a"], None, None);
    assert_eq!(
        following.hear(r#"{"channel":"a","event":"e","data":{"n":12345678901234567890.10}}"#),
        publication(r#"a e {"n":12345678901234567890.10}"#)
    );
    assert_eq!(
        following.hear("{\"channel\":\"a\",\"event\":\"e\",\"data\":{\n  \"n\":\t1\n}}"),
        publication(r#"a e {   "n": 1 }"#)
    );
    assert_eq!(
        following.hear(r#"{"channel":"a","event":"e","args":[1,"x"]}"#),
        publication(r#"a e [1,"x"]"#)
    );
    assert_eq!(
        following.hear("{\"channel\":\"a\",\"event\":\"e\",\"data\":\"\u{9b}31m\"}"),
        publication(r#"a e "\u009b31m""#),
        "what a terminal would obey is escaped"
    );
}

#[test]
fn after_a_break_it_resumes_each_channel_from_its_last_offset() {
    let mut following = following(&["a", "b", "plain"], None, None);
    following.requests();
    following.hear(r#"{"id":0,"ok":{"channel":"a","offset":"1-5-9","recovered":true}}"#);
    following.hear(r#"{"id":1,"ok":{"channel":"b","offset":"1-5-9","recovered":true}}"#);
    following.hear(r#"{"id":2,"ok":{"channel":"plain"}}"#);
    following.hear(r#"{"channel":"a","event":"e","data":1,"offset":"1-6-9"}"#);
    following.hear(r#"{"channel":"plain","event":"e","data":1}"#);
    assert_eq!(
        following.requests(),
        [
            r#"{"id":0,"subscribe":{"channel":"a","since":"1-6-9"}}"#,
            r#"{"id":1,"subscribe":{"channel":"b","since":"1-5-9"}}"#,
            r#"{"id":2,"subscribe":{"channel":"plain"}}"#
        ]
    );
    following.hear(r#"{"offset":"1-8-9"}"#);
    assert_eq!(
        following.requests(),
        [
            r#"{"id":0,"subscribe":{"channel":"a","since":"1-8-9"}}"#,
            r#"{"id":1,"subscribe":{"channel":"b","since":"1-8-9"}}"#,
            r#"{"id":2,"subscribe":{"channel":"plain"}}"#
        ],
        "a notice moves the channels with history and no other"
    );
}

#[test]
fn a_break_in_the_middle_of_a_replay_skips_nothing() {
    let mut following = following(&["a"], Some("1-2-3"), None);
    following.requests();
    following.hear(r#"{"id":0,"ok":{"channel":"a","offset":"1-9-9","recovered":true}}"#);
    assert_eq!(following.requests(), [r#"{"id":0,"subscribe":{"channel":"a","since":"1-2-3"}}"#]);
    following.hear(r#"{"channel":"a","event":"e","data":1,"offset":"1-9-9;a:3"}"#);
    assert_eq!(
        following.requests(),
        [r#"{"id":0,"subscribe":{"channel":"a","since":"1-9-9;a:3"}}"#]
    );
}

#[test]
fn a_loss_is_said_once_and_the_new_start_is_kept() {
    let mut following = following(&["a"], Some("1-2-3"), None);
    following.requests();
    let told =
        following.hear(r#"{"id":0,"ok":{"channel":"a","offset":"2-9-9","recovered":false}}"#);
    assert!(matches!(&told[..], [Told::Note(note)] if note.contains("are lost")), "{told:?}");
    assert_eq!(following.requests(), [r#"{"id":0,"subscribe":{"channel":"a","since":"2-9-9"}}"#]);
}

#[test]
fn a_refusal_says_which_channel_and_whether_to_try_again() {
    let mut following = following(&["a", "$secret"], None, None);
    assert!(!following.was_served());
    assert_eq!(
        following
            .hear(r#"{"id":1,"error":{"code":"forbidden","message":"not allowed","retry":false}}"#),
        [Told::Refused("$secret: not allowed (forbidden)".to_owned())]
    );
    assert_eq!(
        following.hear(r#"{"error":{"code":"unavailable","message":"not now","retry":true}}"#),
        [Told::Retry("not now (unavailable)".to_owned())]
    );
    assert!(!following.was_served());
    following.hear(r#"{"id":0,"ok":{"channel":"a"}}"#);
    assert!(following.was_served());
}

#[test]
fn what_it_does_not_know_is_shown_and_not_swallowed() {
    let mut following = following(&["a"], None, None);
    for text in ["not JSON", r#"{"expiring":{"in":60}}"#, "[]"] {
        assert!(matches!(&following.hear(text)[..], [Told::Note(_)]), "{text}");
    }
}
